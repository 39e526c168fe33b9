"""World: one mine scene as a colored, classified triangle mesh, and an ego drive through it.

All objects are static. Only the ego vehicle moves, and it is not part of the mesh.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32, UInt8

from dataset.minesim.scene.drive import Drive, draw_speed, drive_along
from dataset.minesim.scene.environment import Environment, Sky, draw_environment
from dataset.minesim.scene.ground import build_ground
from dataset.minesim.scene.locations import REGIONS, location
from dataset.minesim.scene.mesh import merge
from dataset.minesim.scene.placement import place_objects
from dataset.minesim.scene.placer import SceneObject
from dataset.minesim.scene.road import Waves, draw_road
from dataset.minesim.scene.terrain import Terrain

__all__ = [
    "Drive",
    "Environment",
    "SceneObject",
    "World",
    "WorldOptions",
    "build_world",
    "world_of_scene",
]

LOCATIONS = tuple(region.name for region in REGIONS)
"""Names of the mine regions."""
WORLD_STREAM = 0
"""Random stream, within a data set, that draws the worlds."""
BACKGROUND = 0
"""Class of faces that stay unlabeled."""
_BEHIND_M = 12.0  # Fine ground behind the first pose.
_AHEAD_M = 84.0  # Fine ground beyond the last pose: slightly more than the label grid covers.


@dataclass(frozen=True)
class WorldOptions:
    """Options of a scene; ``None`` means drawn from the seed.

    Attributes:
        duration_s: Length of the drive [s]; must be >= 0.1.
        cell_m: Edge of the ground triangles on the road [m]; they grow with distance from it.
            0.4 is full size; 0.8 has a quarter of the triangles.
        extent_m: How far the mine extends beyond the drive [m]; must be >= 150.
        location: One of ``LOCATIONS``.
        sky: Kind of sky.
        snow: Whether there is snow.

    Raises:
        ValueError: If a number is out of range or the location is unknown.
    """

    duration_s: float = 12.0
    cell_m: float = 0.4
    extent_m: float = 900.0
    location: str | None = None
    sky: Sky | None = None
    snow: bool | None = None

    def __post_init__(self) -> None:
        """Validate the ranges and the location's name."""
        if self.duration_s < 0.1:
            raise ValueError(f"duration_s must be >= 0.1, got {self.duration_s}")
        if not 0.1 <= self.cell_m <= 2.0:
            raise ValueError(f"cell_m must be between 0.1 and 2.0 m, got {self.cell_m}")
        if self.extent_m < 150.0:
            raise ValueError(f"extent_m must be >= 150 m, got {self.extent_m}")
        if self.location is not None:
            location(self.location)


@dataclass(frozen=True)
class World:
    """One mine scene.

    Attributes:
        vertices: Vertex positions, world frame [m].
        faces: Vertex indices of each triangle, counterclockwise seen from outside.
        face_class: ``UNSCENES3D`` label; 0 is background.
        face_material: Index into ``MATERIALS``.
        face_color: Linear (not sRGB) RGB albedo, 0–1.
        objects: The named objects of the scene.
        drive: Motion of the ego vehicle, which is not part of the mesh.
        environment: Light and weather.
        location: Mine region that the scene imitates.
        height_m: Height of the ground [m] at points (N, 2) [m], ignoring water.
    """

    vertices: Float[np.ndarray, "V 3"]
    faces: Int32[np.ndarray, "F 3"]
    face_class: UInt8[np.ndarray, "F"]
    face_material: UInt8[np.ndarray, "F"]
    face_color: Float[np.ndarray, "F 3"]
    objects: tuple[SceneObject, ...]
    drive: Drive
    environment: Environment
    location: str
    height_m: Callable[[np.ndarray], np.ndarray]


def world_of_scene(seed: int, number: int, *, duration_s: float, cell_m: float) -> World:
    """Build a scene of a data set; its scenes cycle through all regions.

    Args:
        seed: Seed of the data set.
        number: Index of the scene in the data set.
        duration_s: Length of the drive [s].
        cell_m: Edge of the ground triangles on the road [m].
    """
    rng = np.random.default_rng((seed, WORLD_STREAM, number))
    order = np.random.default_rng((seed, WORLD_STREAM)).permutation(len(LOCATIONS))
    region = LOCATIONS[order[number % len(LOCATIONS)]]
    options = WorldOptions(duration_s=duration_s, cell_m=cell_m, location=region)
    return build_world(int(rng.integers(2**31)), options)


def build_world(seed: int, options: WorldOptions | None = None) -> World:
    """Build a scene; the same seed and options give identical arrays.

    Args:
        seed: Random seed; must be >= 0.
        options: Options of the scene.
    """
    options = options or WorldOptions()
    course_rng, terrain_rng, place_rng, light_rng, drive_rng = (
        np.random.default_rng((seed, stream)) for stream in range(5)
    )
    drawn = REGIONS[int(course_rng.integers(len(REGIONS)))]
    region = location(options.location) if options.location else drawn
    environment = draw_environment(light_rng, region.snow_share, options.sky, options.snow)
    speed = draw_speed(drive_rng)
    end_m = float(speed.distance_m(np.array([options.duration_s]))[0])
    road = draw_road(course_rng, region, (0.0, end_m + 80.0))
    terrain = Terrain(terrain_rng, region, road, (0.0, end_m + 80.0))
    ground = build_ground(
        terrain,
        region,
        (-_BEHIND_M, end_m + _AHEAD_M),
        cell_m=options.cell_m,
        extent_m=options.extent_m,
        snow=environment.snow,
    )
    sway = Waves.draw(drive_rng, (90.0, 47.0), 0.02)
    drive = drive_along(road, ground.height_m, speed, sway, options.duration_s)
    placer = place_objects(place_rng, ground, terrain, end_m, plants=not environment.snow)
    mesh = merge([ground.mesh, *placer.meshes])
    return World(
        vertices=mesh.vertices.astype(np.float32),
        faces=mesh.faces.astype(np.int32),
        face_class=np.concatenate([ground.face_class, placer.face_class()]),
        face_material=mesh.face_material,
        face_color=mesh.face_color.astype(np.float32),
        objects=tuple(placer.objects),
        drive=drive,
        environment=environment,
        location=region.name,
        height_m=ground.height_m,
    )
