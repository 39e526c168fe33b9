"""The mine regions that scenes imitate: soil, wall layout, and road width and curvature."""

from dataclasses import dataclass
from typing import Literal

from dataset.minesim.scene.materials import Color, linear_rgb

SideKind = Literal["wall", "floor", "drop"]


@dataclass(frozen=True)
class Location:
    """Properties shared by all scenes of a region.

    Attributes:
        name: Name in ``scene_info.json``.
        soil: Albedo of loose soil.
        road: Albedo of the compacted road.
        rock: Albedo of walls and rocks.
        dark: Albedo of coal or ore patches.
        layouts: (right, left) pairs of road sides; each scene uses one of them.
        road_width_m: Range of the road width [m].
        wall_m: Range of the bench face height [m].
        bend: Largest slope of the road's course relative to the x axis.
        grade: Largest uphill or downhill slope of the road.
        rim_m: Range of the height of each of the four benches of the far rim [m].
        snow_share: Share of scenes with snow.
    """

    name: str
    soil: Color
    road: Color
    rock: Color
    dark: Color
    layouts: tuple[tuple[SideKind, SideKind], ...]
    road_width_m: tuple[float, float]
    wall_m: tuple[float, float]
    bend: float
    grade: float
    rim_m: tuple[float, float]
    snow_share: float


REGIONS: tuple[Location, ...] = (
    Location(
        name="location_1",
        soil=linear_rgb(190, 181, 156),
        road=linear_rgb(178, 173, 152),
        rock=linear_rgb(183, 177, 158),
        dark=linear_rgb(70, 70, 74),
        layouts=(("wall", "floor"), ("wall", "floor"), ("wall", "drop")),
        road_width_m=(25.0, 31.0),
        wall_m=(10.0, 14.0),
        bend=0.18,
        grade=0.025,
        rim_m=(1.0, 4.0),
        snow_share=0.05,
    ),
    Location(
        name="location_2",
        soil=linear_rgb(172, 160, 140),
        road=linear_rgb(160, 152, 136),
        rock=linear_rgb(150, 142, 130),
        dark=linear_rgb(64, 62, 62),
        layouts=(("drop", "wall"), ("floor", "wall")),
        road_width_m=(23.0, 29.0),
        wall_m=(9.0, 13.0),
        bend=0.24,
        grade=0.04,
        rim_m=(2.0, 7.0),
        snow_share=0.1,
    ),
    Location(
        name="location_3",
        soil=linear_rgb(158, 132, 106),
        road=linear_rgb(146, 126, 106),
        rock=linear_rgb(140, 118, 98),
        dark=linear_rgb(82, 66, 58),
        layouts=(("wall", "wall"), ("wall", "drop"), ("wall", "floor")),
        road_width_m=(22.0, 26.0),
        wall_m=(6.0, 10.0),
        bend=0.30,
        grade=0.05,
        rim_m=(3.0, 9.0),
        snow_share=0.0,
    ),
    Location(
        name="location_4_5",
        soil=linear_rgb(148, 146, 142),
        road=linear_rgb(134, 133, 130),
        rock=linear_rgb(126, 124, 122),
        dark=linear_rgb(52, 52, 56),
        layouts=(("floor", "wall"), ("wall", "floor"), ("floor", "floor")),
        road_width_m=(25.0, 31.0),
        wall_m=(10.0, 15.0),
        bend=0.15,
        grade=0.03,
        rim_m=(1.5, 6.0),
        snow_share=0.35,
    ),
    Location(
        name="location_6",
        soil=linear_rgb(190, 172, 138),
        road=linear_rgb(176, 163, 136),
        rock=linear_rgb(180, 160, 128),
        dark=linear_rgb(96, 80, 62),
        layouts=(("drop", "wall"), ("wall", "floor"), ("floor", "wall")),
        road_width_m=(23.0, 29.0),
        wall_m=(8.0, 12.0),
        bend=0.32,
        grade=0.055,
        rim_m=(3.0, 8.0),
        snow_share=0.0,
    ),
)
"""All regions, named as in the mini release."""


def location(name: str) -> Location:
    """Look up a region by name.

    Raises:
        ValueError: If the name is unknown.
    """
    found = {region.name: region for region in REGIONS}
    if name not in found:
        raise ValueError(f"unknown location '{name}'; known: {tuple(found)}")
    return found[name]
