"""World: one mine scene as a colored, classified triangle mesh, and an ego drive through it.

All objects are static. Only the ego vehicle moves, and it is not part of the mesh.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from dataset.minesim.scene.conditions import apply_condition, sky_of, snow_of
from dataset.minesim.scene.drive import Drive, draw_speed, drive_along
from dataset.minesim.scene.environment import Condition, Environment, Sky, draw_environment
from dataset.minesim.scene.ground import build_ground
from dataset.minesim.scene.locations import REGIONS, location
from dataset.minesim.scene.mesh import merge
from dataset.minesim.scene.patches import Surface, add_patches, add_rain, dry_surface
from dataset.minesim.scene.placement import place_light_masts, place_objects
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
_CONDITION_STREAM, _PATCH_STREAM, _RAIN_STREAM = 5, 6, 7
"""Random streams of a scene that only its options use; 0 to 4 draw the scene itself."""
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
        condition: The condition; it overrides sky and snow where it needs to.
        patches: Whether patches of mud, water, oil and gravel lie on the ground.
        density: Factors of the mean number of objects by class; None for the usual numbers.

    Raises:
        ValueError: If a number is out of range or the location is unknown.
    """

    duration_s: float = 12.0
    cell_m: float = 0.4
    extent_m: float = 900.0
    location: str | None = None
    sky: Sky | None = None
    snow: bool | None = None
    condition: Condition = "standard"
    patches: bool = False
    density: Mapping[str, float] | None = None

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
        face_film: Share of each face that a film of water or oil covers, 0–1; None if all are dry.
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
    face_film: Float32[np.ndarray, "F"] | None = None


def world_of_scene(
    seed: int,
    number: int,
    *,
    duration_s: float,
    cell_m: float,
    condition: Condition = "standard",
    patches: bool = False,
    density: Mapping[str, float] | None = None,
) -> World:
    """Build a scene of a data set; its scenes cycle through all regions.

    Args:
        seed: Seed of the data set.
        number: Index of the scene in the data set.
        duration_s: Length of the drive [s].
        cell_m: Edge of the ground triangles on the road [m].
        condition: The condition of the scene.
        patches: Whether patches of mud, water, oil and gravel lie on the ground.
        density: Factors of the mean number of objects by class; None for the usual numbers.
    """
    rng = np.random.default_rng((seed, WORLD_STREAM, number))
    order = np.random.default_rng((seed, WORLD_STREAM)).permutation(len(LOCATIONS))
    region = LOCATIONS[order[number % len(LOCATIONS)]]
    options = WorldOptions(
        duration_s=duration_s,
        cell_m=cell_m,
        location=region,
        condition=condition,
        patches=patches,
        density=density,
    )
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
    condition_rng = np.random.default_rng((seed, _CONDITION_STREAM))
    sky = sky_of(options.condition, condition_rng) or options.sky
    snow = options.snow if snow_of(options.condition) is None else snow_of(options.condition)
    environment = draw_environment(light_rng, region.snow_share, sky, snow)
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
    plants, density = not environment.snow, options.density
    placer = place_objects(place_rng, ground, terrain, end_m, plants=plants, density=density)
    if options.condition == "night":
        place_light_masts(placer, condition_rng)
    mesh = merge([ground.mesh, *placer.meshes])
    label = np.concatenate([ground.face_class, placer.face_class()])
    surface = _surface(dry_surface(mesh, label), drive, seed, options)
    objects = tuple(placer.objects)
    return World(
        vertices=mesh.vertices.astype(np.float32),
        faces=mesh.faces.astype(np.int32),
        face_class=surface.label,
        face_material=mesh.face_material,
        face_color=surface.color.astype(np.float32),
        face_film=surface.film if surface.film.any() else None,
        objects=objects,
        drive=drive,
        environment=apply_condition(environment, options.condition, drive, objects, condition_rng),
        location=region.name,
        height_m=ground.height_m,
    )


def _surface(surface: Surface, drive: Drive, seed: int, options: WorldOptions) -> Surface:
    """Lay the patches and the rain that the options ask for on the ground."""
    if options.patches:
        path_m = drive.world_from_vehicle[:, :3, 3]
        surface = add_patches(surface, path_m, np.random.default_rng((seed, _PATCH_STREAM)))
    if options.condition == "wet":
        surface = add_rain(surface, np.random.default_rng((seed, _RAIN_STREAM)))
    return surface
