"""Labels made as for the recorded data: accumulate the scans of a drive, then crop every frame.

The accumulated map is noise-free and knows the class of each point. It is always scanned by the
default LiDAR through clean air, so that labels do not depend on the sensors and the weather. It
yields the occupancy rows, depth image, elevation image and local map of every labeled frame.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8, UInt16

from dataset.map_labels import DEPTH_RANGE_M, LOCAL_MAP_X_M, LOCAL_MAP_Y_M, splatted_depth
from dataset.minesim.sensors.lidar import detection_probability, rosette
from dataset.minesim.sensors.rig import Rig, vehicle_from_lidar
from dataset.minesim.sensors.stage import Stage

_SCAN_STEP_M = 5.0
_SCAN_RAYS = 45_000
_SCAN_RANGE_M = 55.0
_SCAN_PATTERNS = 12
"""Number of ray patterns that scans cycle through; a new one per scan would only cost time."""
_SCANS_PER_CHUNK = 24


@dataclass(frozen=True)
class ClipMap:
    """Noise-free LiDAR map of a whole drive.

    Attributes:
        points: World frame [m]; at most one per voxel of the map.
        label: Class of each point; 0 is background.
    """

    points: Float32[np.ndarray, "M 3"]
    label: UInt8[np.ndarray, "M"]


def accumulate(
    stage: Stage,
    rng: np.random.Generator,
    *,
    voxel_m: float = 0.1,
    num_rays: int = _SCAN_RAYS,
    range_m: float = _SCAN_RANGE_M,
) -> ClipMap:
    """Accumulate noise-free scans along the drive.

    Args:
        stage: The scene.
        rng: Draws which pulses are detected.
        voxel_m: Voxel size of the map, which keeps one point per voxel [m].
        num_rays: Pulses per scan.
        range_m: Range of a scan [m].
    """
    points: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    merged = ClipMap(np.empty((0, 3), np.float32), np.empty(0, np.uint8))
    patterns = [rosette(0.1 * turn, num_rays) for turn in range(_SCAN_PATTERNS)]
    ticks = _scan_ticks(stage.world.drive.world_from_vehicle)
    for count, tick in enumerate(ticks, start=1):
        pose = stage.world.drive.world_from_vehicle[tick] @ vehicle_from_lidar()
        pattern = patterns[count % _SCAN_PATTERNS]
        scan_points, scan_label = _clean_scan(stage, pose, pattern, rng, range_m)
        points.append(scan_points)
        labels.append(scan_label)
        if count % _SCANS_PER_CHUNK == 0 or count == len(ticks):
            everything = np.concatenate([merged.points, *points])
            keep = voxel_downsample(everything, voxel_m)
            every_label = np.concatenate([merged.label, *labels])
            merged = ClipMap(everything[keep], every_label[keep])
            points, labels = [], []
    return merged


def _scan_ticks(world_from_vehicle: Float[np.ndarray, "T 4 4"]) -> Int64[np.ndarray, "S"]:
    """Return poses about ``_SCAN_STEP_M`` apart along the drive, including both ends."""
    steps = np.linalg.norm(np.diff(world_from_vehicle[:, :3, 3], axis=0), axis=1)
    traveled = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.arange(0.0, traveled[-1] + _SCAN_STEP_M, _SCAN_STEP_M)
    ticks = np.minimum(np.searchsorted(traveled, wanted), len(traveled) - 1)
    return np.unique(ticks).astype(np.int64)


def _clean_scan(
    stage: Stage,
    world_from_lidar: Float[np.ndarray, "4 4"],
    pattern: Float32[np.ndarray, "R 3"],
    rng: np.random.Generator,
    range_m: float,
) -> tuple[Float32[np.ndarray, "N 3"], UInt8[np.ndarray, "N"]]:
    """Return noise-free points in the world frame, and their classes; weak points are dropped."""
    directions = pattern @ world_from_lidar[:3, :3].T.astype(np.float32)
    origin = world_from_lidar[:3, 3].astype(np.float32)
    hits = stage.caster.first_hits(origin, directions)
    detection, _ = detection_probability(stage, hits, directions)
    is_seen = rng.random(len(pattern), dtype=np.float32) < detection
    is_seen &= hits.distance < range_m
    points = origin + directions[is_seen] * hits.distance[is_seen, None]
    return points, stage.face_label[hits.face[is_seen]]


def voxel_downsample(points: Float32[np.ndarray, "N 3"], voxel_m: float) -> Int64[np.ndarray, "K"]:
    """Return indices of the first point in each voxel of size ``voxel_m``, in voxel order.

    Raises:
        ValueError: If the points span too many voxels to index.
    """
    if len(points) == 0:
        return np.empty(0, np.int64)
    cells = np.floor(points / np.float32(voxel_m)).astype(np.int64)
    cells -= cells.min(axis=0)
    size_x, size_y, size_z = (int(n) + 1 for n in cells.max(axis=0))
    index_bits = len(points).bit_length()
    if (size_x * size_y * size_z).bit_length() + index_bits > 63:
        raise ValueError(
            f"{len(points)} points over {size_x}×{size_y}×{size_z} voxels of {voxel_m} m are too "
            "many; use a larger voxel_m"
        )
    key = (cells[:, 0] * size_y + cells[:, 1]) * size_z + cells[:, 2]
    # The index is in the low bits: a plain sort is several times faster than a stable argsort.
    packed = np.sort((key << index_bits) | np.arange(len(points)))
    is_first = np.empty(len(points), dtype=bool)
    is_first[0] = True
    np.not_equal(packed[1:] >> index_bits, packed[:-1] >> index_bits, out=is_first[1:])
    return packed[is_first] & ((1 << index_bits) - 1)


def local_map(
    clip: ClipMap, world_from_lidar: Float[np.ndarray, "4 4"]
) -> tuple[Float32[np.ndarray, "N 3"], UInt8[np.ndarray, "N"]]:
    """Crop the map around a frame; return points in its LiDAR frame, and their classes."""
    reach = float(np.hypot(max(np.abs(LOCAL_MAP_X_M)), max(np.abs(LOCAL_MAP_Y_M))))
    origin = world_from_lidar[:3, 3]
    offset = clip.points - origin.astype(np.float32)
    near = np.flatnonzero((np.abs(offset[:, 0]) < reach) & (np.abs(offset[:, 1]) < reach))
    points = offset[near] @ world_from_lidar[:3, :3].astype(np.float32)
    inside = (points[:, 0] >= LOCAL_MAP_X_M[0]) & (points[:, 0] < LOCAL_MAP_X_M[1])
    inside &= (points[:, 1] >= LOCAL_MAP_Y_M[0]) & (points[:, 1] < LOCAL_MAP_Y_M[1])
    return points[inside], clip.label[near[inside]]


def depth_image(
    points: Float32[np.ndarray, "N 3"],
    surface_depth_m: Float32[np.ndarray, "H W"],
    rig: Rig,
) -> UInt16[np.ndarray, "H W"]:
    """Make the depth label: visible map points, each splatted over a small window.

    Args:
        points: Points of the map and of the frame's own scan, LiDAR frame [m].
        surface_depth_m: Camera depth of the first surface in each pixel, inf if there is none;
            points beyond it are hidden.
        rig: The camera and the LiDAR.

    Returns:
        Depth [m] times 256. The nearest point wins where windows overlap. 0 means no label, which
        includes a border of half a window.
    """
    camera = rig.camera
    column, row, depth = _project(points, rig)
    shown = (depth >= DEPTH_RANGE_M[0]) & (depth <= DEPTH_RANGE_M[1])
    shown &= (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    column, row, depth = (a[shown] for a in (column, row, depth))
    flat = row.astype(np.int64) * camera.width + column.astype(np.int64)
    surface = surface_depth_m.reshape(-1)[flat]
    # A pixel on the ground spans a range of depth itself, which grows with distance.
    visible = depth < surface * 1.03 + 0.3
    flat = flat[visible]
    return splatted_depth(flat, depth[visible], (camera.height, camera.width))


def _project(
    points: Float32[np.ndarray, "N 3"], rig: Rig
) -> tuple[Float32[np.ndarray, "N"], Float32[np.ndarray, "N"], Float32[np.ndarray, "N"]]:
    """Return column, row [px] and camera depth [m]; pixels are invalid at depths below 0.1 m."""
    matrix = rig.pixel_from_lidar.astype(np.float32)
    homogeneous = points @ matrix[:3, :3].T + matrix[:3, 3]
    depth = homogeneous[:, 2]
    safe = np.maximum(depth, 0.1)
    return homogeneous[:, 0] / safe, homogeneous[:, 1] / safe, depth
