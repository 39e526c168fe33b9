"""The static map of a clip, with classes, and the evidence of free space around it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from dataset import layout
from dataset.labeling.cells import CellMap, MapPoints
from dataset.labeling.evidence import Evidence, SilentDirections, thin_rays
from dataset.labeling.ground import Ground, fit_ground
from dataset.labeling.movers import MovedVoxels, find_moved
from dataset.labeling.options import LabelOptions
from dataset.labeling.sweeps import SweepReader
from utils.labels import IGNORE, UNSCENES3D

_AHEAD_M = 12.0
"""Way ahead of the last pose that counts as driven: the ground below the vehicle is out of view."""
_KEPT_M = 0.1
"""Points up to this height above the ground never move: rays at grazing angles pass there, too."""
_MOST = 0.5
"""Share of the points above a cell of ground that, once removed, takes the others along."""
_ROOM_M = 12.0
"""Space of the evidence above and below the path of the LiDAR."""


@dataclass(frozen=True)
class ClipMap:
    """What a clip knows of the static world.

    Attributes:
        origin_m: World position that coordinates of the clip are relative to.
        static: Points that do not move, with their class; 255 is unknown.
        is_pseudo: Points whose class is a guess from the geometry.
        evidence: Hits and passes of all clouds.
        ground: The ground.
        moved: Where things moved; None if they are not removed.
        options: How it was made.
    """

    origin_m: Float64[np.ndarray, "3"]
    static: MapPoints
    is_pseudo: Bool[np.ndarray, " M"]
    evidence: Evidence
    ground: Ground
    moved: "Moved | None"
    options: LabelOptions

    def clip_from_lidar(
        self, world_from_lidar: Float64[np.ndarray, "4 4"]
    ) -> Float64[np.ndarray, "4 4"]:
        """Return a pose in the coordinates of the clip."""
        pose = world_from_lidar.copy()
        pose[:3, 3] -= self.origin_m
        return pose

    def has_moved(self, points_m: Float32[np.ndarray, "N 3"]) -> Bool[np.ndarray, " N"]:
        """Return the points where things moved, and that are not on the ground."""
        if self.moved is None:
            return np.zeros(len(points_m), bool)
        return self.moved.hold(points_m, self.ground)

    def guess(self, points_m: Float32[np.ndarray, "N 3"]) -> UInt8[np.ndarray, " N"]:
        """Return a class from the geometry alone."""
        return _guess(points_m, self.ground, self.options)


@dataclass(frozen=True)
class Moved:
    """Where things moved.

    Attributes:
        voxels: Voxels that were passed too often.
        columns: Cells of the ground above which most points are in such voxels.
    """

    voxels: MovedVoxels
    columns: Bool[np.ndarray, "X Y"]

    def hold(self, points_m: Float32[np.ndarray, "N 3"], ground: Ground) -> Bool[np.ndarray, " N"]:
        """Return the points there, without those on the ground."""
        there = self.voxels.hold(points_m) | self.columns[ground.cells_of(points_m)]
        return there & _is_above(points_m, ground)


def build_clip_map(reader: SweepReader, frames: Sequence[int], options: LabelOptions) -> ClipMap:
    """Accumulate the clouds of a clip.

    Args:
        reader: Reads the clouds and their labels.
        frames: Frames of the drive whose clouds count, in time order.
        options: How the map is made.

    Raises:
        ValueError: If no cloud has a point, or one is invalid.
    """
    poses = reader.drive.world_from_lidar[list(frames)]
    origin = poses[0, :3, 3].copy()
    path = poses[:, :3, 3] - origin
    cells = CellMap(options.map_voxel_m)
    room = np.array([options.range_m, options.range_m, _ROOM_M])
    evidence = Evidence(path.min(axis=0) - room, path.max(axis=0) + room, options.evidence_m)
    silent_directions = SilentDirections()
    for frame, pose, position in zip(frames, poses, path, strict=True):
        sweep = reader.read(frame)
        points = _placed(sweep.points, pose, position)
        is_static = ~sweep.is_moving & ~sweep.is_dust
        cells.add(points[is_static], sweep.label[is_static])
        rays = points[thin_rays(points, options.evidence_m, options.rays)]
        silent = silent_directions.find(sweep.points[~sweep.is_dust, :3], options.silent_m)
        evidence.add(
            position.astype(np.float32),
            points[is_static],
            rays,
            _placed(silent, pose, position),
            options.ray_margin_m,
        )
    merged = cells.finish()
    if not len(merged.points):
        raise ValueError(
            f"{reader.drive.root}: expected points within {options.range_m:g} m that are not on "
            "your vehicle, found none: check the clouds, and range and vehicle of the options"
        )
    down = poses[:, :3, :3] @ np.array([0.0, 0.0, -layout.LIDAR_HEIGHT_M])
    ahead = path[-1] + down[-1] + poses[-1, :3, 0] * _AHEAD_M
    wheels = np.vstack([path + down, ahead])
    ground = fit_ground(merged.points, wheels, options)
    kept = np.ones(len(merged.points), bool)
    moved = None
    if options.remove_movers:
        # What moved may have passed for ground: both are found once more without it.
        first = _find_moved(merged.points, evidence, ground, options)
        kept = ~first.hold(merged.points, ground)
        ground = fit_ground(merged.points[kept], wheels, options)
        moved = _find_moved(merged.points, evidence, ground, options)
        kept &= ~moved.hold(merged.points, ground)
    points = merged.points[kept]
    is_pseudo = merged.label[kept] == 0
    label = np.where(is_pseudo, _guess(points, ground, options), merged.label[kept])
    static = replace(merged, points=points, count=merged.count[kept], label=label.astype(np.uint8))
    return ClipMap(origin, static, is_pseudo, evidence, ground, moved, options)


def _placed(
    points: Float32[np.ndarray, "P C"],
    pose: Float64[np.ndarray, "4 4"],
    position: Float64[np.ndarray, "3"],
) -> Float32[np.ndarray, "P 3"]:
    rotation = pose[:3, :3].astype(np.float32)
    return points[:, :3] @ rotation.T + position.astype(np.float32)


def _find_moved(
    points_m: Float32[np.ndarray, "N 3"], evidence: Evidence, ground: Ground, options: LabelOptions
) -> Moved:
    """Find where points moved, and columns of which the rest was out of view later."""
    points = points_m[_is_above(points_m, ground)]
    voxels = find_moved(points, evidence, options)
    x, y = ground.cells_of(points)
    cell = x * ground.height_m.shape[1] + y
    size = ground.height_m.size
    every = np.bincount(cell, minlength=size)
    gone = np.bincount(cell[voxels.hold(points)], minlength=size)
    return Moved(voxels, ((gone > _MOST * every) & (gone > 0)).reshape(ground.height_m.shape))


def _is_above(points_m: Float32[np.ndarray, "N 3"], ground: Ground) -> Bool[np.ndarray, " N"]:
    """Return the points that are not on the ground."""
    height, _ = ground.at(points_m)
    with np.errstate(invalid="ignore"):
        return ~(points_m[:, 2] - height <= _KEPT_M)


def _is_ground(
    points_m: Float32[np.ndarray, "N 3"], ground: Ground, options: LabelOptions
) -> tuple[Bool[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
    """Return which points are on the ground, and on ground to drive on."""
    height, is_driveable = ground.at(points_m)
    with np.errstate(invalid="ignore"):
        is_ground = points_m[:, 2] - height <= options.ground_height_m
    return is_ground, is_ground & is_driveable


def _guess(
    points_m: Float32[np.ndarray, "N 3"], ground: Ground, options: LabelOptions
) -> UInt8[np.ndarray, " N"]:
    is_ground, is_driveable = _is_ground(points_m, ground, options)
    rest = IGNORE if options.rest == "unknown" else UNSCENES3D.index(options.rest)
    label = np.where(is_ground, UNSCENES3D.index("terrain"), rest)
    return np.where(is_driveable, UNSCENES3D.index("driveable_surface"), label).astype(np.uint8)
