"""Labels of one frame: occupied, free and unobserved voxels, depth, elevation and local map."""

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
_FEWER, _FAR_FEWER = 2, 10
"""A voxel that holds only noise of its neighbor has this many times fewer points, or far fewer."""


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
    options = clip.options
    clip_from_lidar = clip.clip_from_lidar(world_from_lidar)
    points, label, is_pseudo = _crop(clip, clip_from_lidar)
    movers, mover_label, stays = _movers(clip, sweep, clip_from_lidar)
    shown = np.concatenate([points, movers])
    occupancy = np.full(_GRID.shape, IGNORE, np.uint8)
    cloud = sweep.points[~sweep.is_dust, :3]
    overhead = overhead_of_lidar(movers, cloud)
    free = _free_voxels(clip, clip_from_lidar)
    centers = _GRID.meters_from_voxel(np.stack(np.unravel_index(free, _GRID.shape), axis=1) + 0.5)
    hidden = overhead.hides(centers.astype(np.float32), options.mover_shadow_m)
    occupancy.reshape(-1)[free[~hidden]] = FREE
    _hide_behind(occupancy, movers, options)
    voxel, inside = _voxels_of(shown)
    surface = _voted(
        voxel,
        np.concatenate([label, mover_label])[inside],
        shown[inside],
        options.boundary_m,
    )
    occupancy.reshape(-1)[surface.voxel] = surface.label
    guessed = np.zeros(occupancy.size, bool)
    guessed[_voxels_of(points[is_pseudo])[0]] = True
    occupied = (occupancy.reshape(-1) != FREE) & (occupancy.reshape(-1) != IGNORE)
    in_map = _between(points[:, 0], LOCAL_MAP_X_M) & _between(points[:, 1], LOCAL_MAP_Y_M)
    depth, in_camera = None, None
    if view is not None:
        eye = _position(view.pixel_from_lidar)
        beyond_top = overhead_of_camera(rim_of(movers, cloud) - eye)
        shown, static = (
            seen[~beyond_top.hides(seen - eye, np.inf)]
            for seen in (points, sweep.points[stays, :3])
        )
        own = np.concatenate([static, movers])
        every = np.concatenate([shown, own])
        spacing = np.concatenate(
            [
                np.full(len(shown), options.map_voxel_m, np.float32),
                np.linalg.norm(own, axis=1) * np.float32(_RAY_SPACING),
            ]
        )
        depth = visible_depth(every, spacing, view.pixel_from_lidar, view.size, options)
        in_camera = seen_by_camera(occupancy, view.pixel_from_lidar, view.size)
    return FrameLabels(
        occupancy=occupancy,
        in_camera=in_camera,
        depth=depth,
        elevation=elevation_image(points),
        local_map=points[in_map],
        pseudo_share=float(guessed[occupied].mean()) if occupied.any() else 0.0,
    )


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


@dataclass(frozen=True)
class _Surface:
    """Occupied voxels and their labels; 255 where a class is unknown or points are noise."""

    voxel: Int64[np.ndarray, " V"]
    label: UInt8[np.ndarray, " V"]


def _voted(
    voxel: Int64[np.ndarray, " N"],
    label: UInt8[np.ndarray, " N"],
    points: Float32[np.ndarray, "N 3"],
    boundary_m: float,
) -> _Surface:
    """Vote on the class of each voxel, and ignore voxels that hold only noise of a neighbor."""
    order = np.argsort(voxel * 256 + label, kind="stable")
    pair = (voxel * 256 + label)[order]
    first = np.flatnonzero(np.concatenate([[True], pair[1:] != pair[:-1]])[: len(pair)])
    votes = np.diff(np.append(first, len(pair)))
    owner, vote_label = pair[first] // 256, pair[first] % 256
    starts = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]])[: len(owner)])
    if not len(starts):
        return _Surface(np.zeros(0, np.int64), np.zeros(0, np.uint8))
    # Points of unknown class lose to any other; the smaller class wins if votes are equal.
    rank = np.where(vote_label == IGNORE, 0, votes * 256 + 255 - vote_label)
    best = np.maximum.reduceat(rank, starts)
    winner = np.where(best > 0, 255 - best % 256, IGNORE).astype(np.uint8)
    count = np.add.reduceat(votes, starts)
    is_noise = _is_noise(owner[starts], count, voxel, points, boundary_m)
    return _Surface(owner[starts], np.where(is_noise, IGNORE, winner).astype(np.uint8))


def _is_noise(
    voxel: Int64[np.ndarray, " V"],
    count: Int64[np.ndarray, " V"],
    voxel_of_point: Int64[np.ndarray, " N"],
    points: Float32[np.ndarray, "N 3"],
    boundary_m: float,
) -> Bool[np.ndarray, " V"]:
    """Return voxels whose points all lie at the face of a fuller neighbor, or that have few.

    Both hold noise of the surface in the neighbor.
    """
    grid = np.zeros(np.array(_GRID.shape) + 2, np.int32)
    x, y, z = np.unravel_index(voxel, _GRID.shape)
    grid[x + 1, y + 1, z + 1] = count
    number = np.zeros(int(np.prod(_GRID.shape)), np.int32)
    number[voxel] = np.arange(len(voxel))
    unit = _GRID.voxel_from_meters(points)
    inner = unit - np.floor(unit)
    of_point = number[voxel_of_point]
    is_noise = np.zeros(len(voxel), bool)
    limit = boundary_m / _GRID.voxel_m
    for axis in range(3):
        for side in (-1, 1):
            away = inner[:, axis] if side < 0 else 1 - inner[:, axis]
            beyond = np.bincount(of_point[away > limit], minlength=len(voxel))
            shift = np.eye(3, dtype=int)[axis] * side + 1
            neighbor = grid[x + shift[0], y + shift[1], z + shift[2]]
            is_noise |= (beyond == 0) & (neighbor >= _FEWER * count)
            is_noise |= neighbor >= _FAR_FEWER * count
    return is_noise


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
