"""Occupancy in nuScenes classes: the surfaces of the world, voxelized on each benchmark's grid.

Each UnScenes3D class maps to one of nuScenes, in some cases depending on the material:

| UnScenes3D | made of | nuScenes |
| --- | --- | --- |
| barrier | | barrier |
| UnScenes3D | material | nuScenes |
| car | | car |
| excavator, machinery | | construction_vehicle |
| pedestrian | | pedestrian |
| traffic_cone | | traffic_cone |
| muddy | | other_flat |
| driveable_surface | | driveable_surface |
| terrain | soil, rock, mud, water, snow | terrain |
| terrain | anything else: offices, huts | manmade |
| background | plant | vegetation |
| background | rubber: worn tires | others |
| background | anything else: poles, wires, masts | manmade |
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped, UInt8

from dataset.map_labels import occupancy_rows
from dataset.minesim.scene.materials import MATERIALS, material_index
from dataset.minesim.scene.world import BACKGROUND, World
from dataset.minesim.sensors.raycast import Caster
from dataset.minesim.write.nuscenes.rig import BEAMS_DEG, RigCamera, directions
from utils.geometry import VoxelGrid
from utils.labels import FREE, NUSCENES, UNSCENES3D

NUSCENES_CLASS = {
    "barrier": "barrier",
    "truck": "truck",
    "widebody": "truck",
    "car": "car",
    "excavator": "construction_vehicle",
    "machinery": "construction_vehicle",
    "pedestrian": "pedestrian",
    "traffic_cone": "traffic_cone",
    "muddy": "other_flat",
    "driveable_surface": "driveable_surface",
    "terrain": "terrain",
}
"""nuScenes class of each UnScenes3D class, before the material is considered."""
_NATURAL = ("soil", "rock", "mud", "water", "snow")
"""Materials of natural terrain; terrain of any other material is a building."""
_BACKGROUND_CLASS = {"plant": "vegetation", "rubber": "others"}
"""Class of background by material; all other background is manmade."""

_SURFACE_SHARE, _SURFACE_M = 0.03, 0.3
"""Tolerance of visibility: a surface counts as seen if a ray gets this close to it, as a share of
the distance plus meters [m], since voxels are not flat."""
_MIN_DEPTH_M = 0.1
_LIDAR_STEP_DEG = 0.5
_PLASTIC = (0.7548776662466927, 0.5698402909980532)
"""Steps of the R2 low-discrepancy sequence: powers of the inverse plastic number."""


@dataclass(frozen=True)
class Surface:
    """Points spread evenly over the faces of the world.

    Attributes:
        points: World frame [m].
        label: ``NUSCENES`` label of each.
    """

    points: Float32[np.ndarray, "M 3"]
    label: UInt8[np.ndarray, "M"]


@dataclass(frozen=True)
class RigView:
    """Depth image of a camera and its pose.

    Attributes:
        camera: The camera.
        world_from_cam: Its pose.
        depth_m: Camera depth of the first surface in each pixel [m]; inf in the sky.
    """

    camera: RigCamera
    world_from_cam: Float[np.ndarray, "4 4"]
    depth_m: Float32[np.ndarray, "H W"]


def nuscenes_labels(world: World) -> UInt8[np.ndarray, "F"]:
    """Return the ``NUSCENES`` label of each face of a world, by the table above."""
    by_class = np.full(UNSCENES3D.num_classes, NUSCENES.index("manmade"), dtype=np.uint8)
    for name, other in NUSCENES_CLASS.items():
        by_class[UNSCENES3D.index(name)] = NUSCENES.index(other)
    table = np.tile(by_class[:, None], (1, len(MATERIALS)))
    built = [material.name not in _NATURAL for material in MATERIALS]
    table[UNSCENES3D.index("terrain"), built] = NUSCENES.index("manmade")
    for material, name in _BACKGROUND_CLASS.items():
        table[BACKGROUND, material_index(material)] = NUSCENES.index(name)
    return table[world.face_class, world.face_material]


def sample_surface(
    world: World, centers: Float[np.ndarray, "S 3"], reach_m: float, step_m: float
) -> Surface:
    """Sample points on all faces near some positions, one per square of ``step_m``.

    Args:
        world: The world.
        centers: The positions [m].
        reach_m: Faces and points farther than this from all centers, along x or y, are skipped.
        step_m: Edge of the square [m]; each face gets at least one point.

    Raises:
        ValueError: If ``step_m`` is not positive.
    """
    if step_m <= 0:
        raise ValueError(f"step_m must be positive, got {step_m}")
    lower, upper = centers.min(axis=0)[:2] - reach_m, centers.max(axis=0)[:2] + reach_m
    corners = world.vertices[world.faces].astype(np.float32)
    is_near = (corners[..., :2].max(axis=1) >= lower).all(axis=1)
    is_near &= (corners[..., :2].min(axis=1) <= upper).all(axis=1)
    corners, label = corners[is_near], nuscenes_labels(world)[is_near]
    edges = corners[:, 1:] - corners[:, :1]
    area = 0.5 * np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    counts = np.maximum(np.ceil(area / step_m**2), 1.0).astype(np.int64)
    face = np.repeat(np.arange(len(counts)), counts)
    turn = np.arange(len(face)) - np.repeat(np.cumsum(counts) - counts, counts)
    u, v = (np.mod(0.5 + step * turn, 1.0).astype(np.float32)[:, None] for step in _PLASTIC)
    beyond = u + v > 1.0  # The other half of the parallelogram is folded back.
    u, v = np.where(beyond, 1.0 - u, u), np.where(beyond, 1.0 - v, v)
    points = corners[face, 0] + u * edges[face, 0] + v * edges[face, 1]
    inside = ((points[:, :2] >= lower) & (points[:, :2] <= upper)).all(axis=1)
    return Surface(points[inside], label[face[inside]])


def occupancy(
    surface: Surface, world_from_grid: Float[np.ndarray, "4 4"], grid: VoxelGrid
) -> UInt8[np.ndarray, "X Y Z"]:
    """Return the most frequent label in each voxel, or free if it holds no point.

    Args:
        surface: Surface of the world.
        world_from_grid: Pose of the grid's frame.
        grid: Voxel grid.
    """
    volume = np.full(grid.shape, FREE, dtype=np.uint8)
    rows = occupancy_rows(_in_frame(world_from_grid, surface.points), surface.label, grid)
    volume[tuple(rows[:, :3].T)] = rows[:, 3]
    return volume


def targets(
    surface: Surface, world_from_grid: Float[np.ndarray, "4 4"], grid: VoxelGrid
) -> tuple[Float32[np.ndarray, "V 3"], Bool[np.ndarray, "V"]]:
    """Return a point in each voxel to test for visibility, and whether it is on a surface.

    Args:
        surface: Surface of the world.
        world_from_grid: Pose of the grid's frame.
        grid: Voxel grid; voxels are ordered by x, y, z.

    Returns:
        Points, world frame [m]: on the surface if the voxel holds any of it, else the voxel center.
    """
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    centers = grid.meters_from_voxel(index.reshape(-1, 3) + 0.5)
    points = centers @ world_from_grid[:3, :3].T + world_from_grid[:3, 3]
    found = points.astype(np.float32)
    voxel = np.floor(grid.voxel_from_meters(_in_frame(world_from_grid, surface.points)))
    inside = ((voxel >= 0) & (voxel < np.array(grid.shape))).all(axis=1)
    flat = np.ravel_multi_index(tuple(voxel[inside].astype(np.int64).T), grid.shape)
    found[flat] = surface.points[inside]
    is_surface = np.zeros(len(found), dtype=bool)
    is_surface[flat] = True
    return found, is_surface


def seen_by_cameras(
    caster: Caster,
    views: Sequence[RigView],
    points: Float32[np.ndarray, "V 3"],
    is_surface: Bool[np.ndarray, "V"],
) -> Bool[np.ndarray, "V"]:
    """Return which points are in view of a camera and not occluded.

    Args:
        caster: Ray casting against the world.
        views: The depth images.
        points: World frame [m].
        is_surface: Which points are on a surface, which must not occlude itself. These are tested
            with a ray of their own, and points in the air against the depth of their pixel.
    """
    seen = np.zeros(len(points), dtype=bool)
    for view in views:
        camera, unseen = view.camera, np.flatnonzero(~seen)
        local = _in_frame(view.world_from_cam, points[unseen])
        in_front = local[:, 2] > _MIN_DEPTH_M
        unseen, depth = unseen[in_front], local[in_front, 2]
        u, v = np.floor(
            local[in_front] @ camera.intrinsic[:2].T.astype(np.float32) / depth[:, None]
        ).T
        shown = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
        looked_at, row, column = unseen[shown], v[shown].astype(int), u[shown].astype(int)
        seen[looked_at] = depth[shown] <= view.depth_m[row, column]
        looked_at = looked_at[is_surface[looked_at]]
        seen[looked_at] = _in_sight(caster, view.world_from_cam[:3, 3], points[looked_at])
    return seen


def seen_by_lidar(
    caster: Caster,
    world_from_lidar: Float[np.ndarray, "4 4"],
    points: Float32[np.ndarray, "V 3"],
    is_surface: Bool[np.ndarray, "V"],
) -> Bool[np.ndarray, "V"]:
    """Return which points are between the lowest and the highest beam and not occluded.

    Gaps between beams count as seen, as the sweeps of a scene fill them.

    Args:
        caster: Ray casting against the world.
        world_from_lidar: Pose of the LiDAR.
        points: World frame [m].
        is_surface: Which points are on a surface, which must not occlude itself. These are tested
            with a ray of their own, and points in the air against the nearest direction.
    """
    local = _in_frame(world_from_lidar, points)
    flat = np.hypot(local[:, 0], local[:, 1])
    elevation = np.rad2deg(np.arctan2(local[:, 2], flat))
    azimuth = np.rad2deg(np.arctan2(local[:, 0], local[:, 1]))
    row = np.floor((elevation - BEAMS_DEG[0]) / _LIDAR_STEP_DEG).astype(np.int64)
    ranges = _range_image(caster, world_from_lidar)
    seen = (row >= 0) & (row < len(ranges))
    looked_at = np.flatnonzero(seen)
    column = np.floor((azimuth[looked_at] + 180.0) / _LIDAR_STEP_DEG).astype(np.int64)
    distance = np.hypot(flat[looked_at], local[looked_at, 2])
    seen[looked_at] = distance <= ranges[row[looked_at], column % ranges.shape[1]]
    looked_at = looked_at[is_surface[looked_at]]
    seen[looked_at] = _in_sight(caster, world_from_lidar[:3, 3], points[looked_at])
    return seen


def _range_image(
    caster: Caster, world_from_lidar: Float[np.ndarray, "4 4"]
) -> Float32[np.ndarray, "rows columns"]:
    """Return the range of the first surface in all directions between the outermost beams."""
    rows = int((BEAMS_DEG[1] - BEAMS_DEG[0]) / _LIDAR_STEP_DEG)
    columns = round(360.0 / _LIDAR_STEP_DEG)
    elevation = np.deg2rad(BEAMS_DEG[0] + _LIDAR_STEP_DEG * (np.arange(rows) + 0.5))[:, None]
    azimuth = np.deg2rad(-180.0 + _LIDAR_STEP_DEG * (np.arange(columns) + 0.5))[None]
    rays = directions(azimuth, elevation).reshape(-1, 3) @ world_from_lidar[:3, :3].T
    hits = caster.first_hits(world_from_lidar[:3, 3].astype(np.float32), rays.astype(np.float32))
    return hits.distance.reshape(rows, columns)


def _in_sight(
    caster: Caster, eye: Float[np.ndarray, "3"], points: Float32[np.ndarray, "V 3"]
) -> Bool[np.ndarray, "V"]:
    """Return which surface points are visible from the eye."""
    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    origin = eye.astype(np.float32)
    rays = points - origin
    distance = np.linalg.norm(rays, axis=1)
    near = 1.0 - _SURFACE_SHARE - _SURFACE_M / np.maximum(distance, _SURFACE_M)
    return caster.first_hits(origin, rays).distance >= near


def _in_frame(
    world_from_frame: Float[np.ndarray, "4 4"], points: Shaped[np.ndarray, "V 3"]
) -> Float32[np.ndarray, "V 3"]:
    """Transform points from the world to another frame [m]."""
    rotation, place = world_from_frame[:3, :3], world_from_frame[:3, 3]
    return (points - place.astype(np.float32)) @ rotation.astype(np.float32)
