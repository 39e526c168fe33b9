"""Labels of one frame: occupied, free and unobserved voxels, depth, elevation and local map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8, UInt16

from dataset import layout
from dataset.labeling.clip_map import ClipMap
from dataset.labeling.evidence import ray_samples
from dataset.labeling.options import LabelOptions
from dataset.labeling.overhead import overhead_of_camera, overhead_of_lidar, rim_of
from dataset.labeling.sweeps import Sweep
from dataset.labeling.visibility import seen_by_camera, visible_depth
from dataset.labeling.votes import voted
from dataset.map_labels import LOCAL_MAP_X_M, LOCAL_MAP_Y_M, elevation_image
from utils.labels import FREE, IGNORE

_GRID = layout.LABEL_GRID
_NEAR_MOVERS = 3
"""Points that something that moves needs in the voxels around one of them; fewer are noise."""
_BIN_DEG = 1.0
_SOLID_SHARE = 0.25
"""Share of the points in a direction, this wide, that must be on something that moves: dust lets
most rays through."""
_RAY_SPACING = 0.01
"""Distance between the rays of a cloud, as a share of the range."""


@dataclass(frozen=True)
class FrameLabels:
    """Labels of a frame.

    Attributes:
        occupancy: Label of each voxel; 0 is free, 255 is unobserved or unknown.
        in_camera: Voxels that the camera sees; None without a camera.
        depth: Depth [m] times 256; None without a camera.
        elevation: (1 − z)·256.
        local_map: Points in the LiDAR frame [m].
        pseudo_share: Share of the occupied voxels whose class is a guess from the geometry.
    """

    occupancy: UInt8[np.ndarray, "X Y Z"]
    in_camera: Bool[np.ndarray, "X Y Z"] | None
    depth: UInt16[np.ndarray, "H W"] | None
    elevation: UInt16[np.ndarray, "rows cols"]
    local_map: Float32[np.ndarray, "M 3"]
    pseudo_share: float


@dataclass(frozen=True)
class View:
    """A camera: its projection, and the height and width of its images."""

    pixel_from_lidar: Float64[np.ndarray, "4 4"]
    size: tuple[int, int]


def label_frame(
    clip: ClipMap,
    sweep: Sweep,
    world_from_lidar: Float64[np.ndarray, "4 4"],
    view: View | None,
) -> FrameLabels:
    """Make the labels of a frame.

    Args:
        clip: The static map around it.
        sweep: The cloud of the frame.
        world_from_lidar: Its pose.
        view: The camera, if any.
    """
    clip_from_lidar = clip.clip_from_lidar(world_from_lidar)
    points, label, is_pseudo = _crop(clip, clip_from_lidar)
    movers, mover_label, stays = _movers(clip, sweep, clip_from_lidar)
    cloud = sweep.points[~sweep.is_dust, :3]
    occupancy = _free_space(clip, clip_from_lidar, movers, cloud)
    shown, classes = np.concatenate([points, movers]), np.concatenate([label, mover_label])
    voxel, inside = _voxels_of(shown)
    surface = voted(voxel, classes[inside], shown[inside], clip.options.boundary_m)
    occupancy.reshape(-1)[surface.voxel] = surface.label
    in_map = _between(points[:, 0], LOCAL_MAP_X_M) & _between(points[:, 1], LOCAL_MAP_Y_M)
    depth, in_camera = None, None
    if view is not None:
        static = [points, sweep.points[stays, :3]]
        depth = _depth(view, static, movers, cloud, clip.options)
        in_camera = seen_by_camera(occupancy, view.pixel_from_lidar, view.size)
    return FrameLabels(
        occupancy=occupancy,
        in_camera=in_camera,
        depth=depth,
        elevation=elevation_image(points),
        local_map=points[in_map],
        pseudo_share=_guessed_share(occupancy, points[is_pseudo]),
    )


def _free_space(
    clip: ClipMap,
    clip_from_lidar: Float64[np.ndarray, "4 4"],
    movers: Float32[np.ndarray, "M 3"],
    cloud: Float32[np.ndarray, "P 3"],
) -> UInt8[np.ndarray, "X Y Z"]:
    """Return a grid that is free where nothing is or was, and unobserved elsewhere."""
    occupancy = np.full(_GRID.shape, IGNORE, np.uint8)
    free = _free_voxels(clip, clip_from_lidar)
    centers = _GRID.meters_from_voxel(np.stack(np.unravel_index(free, _GRID.shape), axis=1) + 0.5)
    overhead = overhead_of_lidar(movers, cloud)
    hidden = overhead.hides(centers.astype(np.float32), clip.options.mover_shadow_m)
    occupancy.reshape(-1)[free[~hidden]] = FREE
    _hide_behind(occupancy, movers, clip.options)
    return occupancy


def _depth(
    view: View,
    static: Sequence[Float32[np.ndarray, "_ 3"]],
    movers: Float32[np.ndarray, "M 3"],
    cloud: Float32[np.ndarray, "P 3"],
    options: LabelOptions,
) -> UInt16[np.ndarray, "H W"]:
    """Make the depth label, without what may be behind a mover's unseen top.

    Args:
        view: The camera.
        static: Static points of the map, and of the frame's own cloud.
        movers: Points on things that move.
        cloud: All points of the frame's own cloud but dust.
        options: Options of the labels.
    """
    eye = _position(view.pixel_from_lidar)
    beyond_top = overhead_of_camera(rim_of(movers, cloud) - eye)
    of_map, of_cloud = (seen[~beyond_top.hides(seen - eye, np.inf)] for seen in static)
    own = np.concatenate([of_cloud, movers])
    spacing_m = np.concatenate(
        [
            np.full(len(of_map), options.map_voxel_m, np.float32),
            np.linalg.norm(own, axis=1) * np.float32(_RAY_SPACING),
        ]
    )
    every = np.concatenate([of_map, own])
    return visible_depth(every, spacing_m, view.pixel_from_lidar, view.size, options)


def _guessed_share(
    occupancy: UInt8[np.ndarray, "X Y Z"], guessed: Float32[np.ndarray, "N 3"]
) -> float:
    """Return the share of the occupied voxels with points whose class is guessed."""
    is_guessed = np.zeros(occupancy.size, bool)
    is_guessed[_voxels_of(guessed)[0]] = True
    is_occupied = (occupancy.reshape(-1) != FREE) & (occupancy.reshape(-1) != IGNORE)
    return float(is_guessed[is_occupied].mean()) if is_occupied.any() else 0.0


def _free_voxels(
    clip: ClipMap, clip_from_lidar: Float64[np.ndarray, "4 4"]
) -> Int64[np.ndarray, " V"]:
    """Return the voxels that enough rays passed through and whose center is above the ground."""
    centers = _centers(clip_from_lidar)
    passes = clip.evidence.passes_at(centers)
    passed = np.flatnonzero(passes >= clip.options.min_passes)
    centers, passes = centers[passed], passes[passed]
    height, _ = clip.ground.at(centers)
    is_free = ~(centers[:, 2] < height)  # Where the ground is unknown, it is NaN.
    is_free &= passes > clip.options.free_ratio * clip.evidence.at(centers).hits
    return passed[is_free]


def _crop(
    clip: ClipMap, clip_from_lidar: Float64[np.ndarray, "4 4"]
) -> tuple[Float32[np.ndarray, "N 3"], UInt8[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
    """Return static points around the frame in its coordinates, their class, and if guessed.

    Gaps of the ground are closed with points of their own.
    """
    filled = clip.ground.filled_points()
    points = np.concatenate([clip.static.points, filled])
    label = np.concatenate([clip.static.label, clip.guess(filled)])
    is_pseudo = np.concatenate([clip.is_pseudo, np.ones(len(filled), bool)])
    reach = float(np.hypot(LOCAL_MAP_X_M[1], LOCAL_MAP_Y_M[1]))
    offset = points - clip_from_lidar[:3, 3].astype(np.float32)
    near = np.flatnonzero((np.abs(offset[:, 0]) < reach) & (np.abs(offset[:, 1]) < reach))
    local = offset[near] @ clip_from_lidar[:3, :3].astype(np.float32)
    ahead = (local[:, 0] > LOCAL_MAP_X_M[0]) & (local[:, 0] < LOCAL_MAP_X_M[1])
    return local[ahead], label[near[ahead]], is_pseudo[near[ahead]]


def _movers(
    clip: ClipMap, sweep: Sweep, clip_from_lidar: Float64[np.ndarray, "4 4"]
) -> tuple[Float32[np.ndarray, "N 3"], UInt8[np.ndarray, " N"], Bool[np.ndarray, " P"]]:
    """Return the points of the frame's own cloud on things that move, and their class.

    The last is which points of the cloud are static. Others, neither one nor the other, are dust.
    """
    own = sweep.points[:, :3]
    placed = own @ clip_from_lidar[:3, :3].T.astype(np.float32)
    placed += clip_from_lidar[:3, 3].astype(np.float32)
    moved = sweep.is_moving.copy()
    if clip.options.remove_movers:
        moved |= clip.has_moved(placed) & ~sweep.is_dust
    points, placed, label = own[moved], placed[moved], sweep.label[moved]
    dense = _is_dense(points) & _is_solid(own, moved)
    points, placed, label = points[dense], placed[dense], label[dense]
    guess = clip.guess(placed)
    return points, np.where(label > 0, label, guess).astype(np.uint8), ~moved & ~sweep.is_dust


def _is_dense(points: Float32[np.ndarray, "N 3"]) -> Bool[np.ndarray, " N"]:
    """Return the points with enough others in the voxels around them."""
    voxel, inside = _voxels_of(points)
    count = np.zeros(_GRID.shape, np.int32)
    np.add.at(count.reshape(-1), voxel, 1)
    padded = np.pad(count, 1)
    x, y, z = np.unravel_index(voxel, _GRID.shape)
    around = sum(
        padded[x + dx, y + dy, z + dz] for dx in range(3) for dy in range(3) for dz in range(3)
    )
    dense = np.zeros(len(points), bool)
    dense[inside] = np.asarray(around) >= _NEAR_MOVERS
    return dense


def _is_solid(
    points: Float32[np.ndarray, "P 3"], moved: Bool[np.ndarray, " P"]
) -> Bool[np.ndarray, " N"]:
    """Return which of the moving points are where most rays of the cloud end on such points."""
    x, y, z = points.T
    columns = round(360 / _BIN_DEG)
    column = np.floor(np.degrees(np.arctan2(y, x)) / _BIN_DEG).astype(np.int64) % columns
    row = np.floor((np.degrees(np.arctan2(z, np.hypot(x, y))) + 90) / _BIN_DEG).astype(np.int64)
    direction = row * columns + column
    every = np.bincount(direction)
    moving = np.bincount(direction[moved], minlength=len(every))
    solid: Bool[np.ndarray, " N"] = (moving >= _SOLID_SHARE * every)[direction[moved]]
    return solid


def _hide_behind(
    occupancy: UInt8[np.ndarray, "X Y Z"],
    movers: Float32[np.ndarray, "N 3"],
    options: LabelOptions,
) -> None:
    """Mark free voxels right behind moving points as unobserved: they can be inside the thing."""
    if not len(movers) or options.mover_shadow_m == 0:
        return
    range_m = np.linalg.norm(movers, axis=1, keepdims=True)
    ends = movers * (1 + options.mover_shadow_m / np.maximum(range_m, 0.1)).astype(np.float32)
    for start, end in zip(movers, ends, strict=True):
        for samples in ray_samples(start, end[None], 0.0, _GRID.voxel_m):
            voxel, _ = _voxels_of(samples)
            occupancy.reshape(-1)[voxel] = IGNORE


def _centers(clip_from_lidar: Float64[np.ndarray, "4 4"]) -> Float32[np.ndarray, "V 3"]:
    """Return the centers of all voxels of a frame in the coordinates of the clip [m]."""
    axes = [
        (np.arange(n, dtype=np.float32) + np.float32(0.5)) * np.float32(_GRID.voxel_m)
        + np.float32(low)
        for n, low in zip(_GRID.shape, _GRID.origin_m, strict=True)
    ]
    rotation = clip_from_lidar[:3, :3].astype(np.float32)
    centers = (
        axes[0][:, None, None, None] * rotation[:, 0]
        + axes[1][:, None, None] * rotation[:, 1]
        + axes[2][:, None] * rotation[:, 2]
    )
    centers += clip_from_lidar[:3, 3].astype(np.float32)
    return centers.reshape(-1, 3)


def _position(pixel_from_lidar: Float64[np.ndarray, "4 4"]) -> Float32[np.ndarray, "3"]:
    """Return the position of a camera in the LiDAR frame [m]."""
    center = np.linalg.solve(pixel_from_lidar[:3, :3], -pixel_from_lidar[:3, 3])
    return center.astype(np.float32)


def _voxels_of(
    points: Float32[np.ndarray, "N 3"],
) -> tuple[Int64[np.ndarray, " M"], Bool[np.ndarray, " N"]]:
    """Return the flat index of the voxel of each point in the grid, and which points are."""
    index = np.floor(_GRID.voxel_from_meters(points)).astype(np.int32)
    inside = ((index >= 0) & (index < np.array(_GRID.shape))).all(axis=1)
    x, y, z = index[inside].T.astype(np.int64)
    return (x * _GRID.shape[1] + y) * _GRID.shape[2] + z, inside


def _between(values: Float32[np.ndarray, " N"], ends: tuple[float, float]) -> Bool[np.ndarray, "N"]:
    return (values > ends[0]) & (values < ends[1])
