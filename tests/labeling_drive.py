"""A recording cut out of boxes by exact rays: a road, a wall, and a box that drives by."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

LIDAR_HEIGHT_M = 2.7
ROAD = ((-30.0, -20.0, -0.1), (90.0, 20.0, 0.0))
WALL = ((5.0, 8.1, 0.0), (60.0, 8.4, 3.0))
MOVER_SIZE_M = (3.0, 2.0, 1.6)
SPEED_MPS, MOVER_MPS = 4.0, 6.0
IMAGE_SIZE = (60, 96)
P2 = np.array([[84.0, 0, 48], [0, 84, 24], [0, 0, 1]])
CAM_FROM_LIDAR = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
START_S = 1_000.0


def mover(frame: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Corners of the box that comes toward the vehicle on the left lane."""
    x = 30.0 - MOVER_MPS * 0.1 * frame
    length, width, height = MOVER_SIZE_M
    return (x, 2.0, 0.0), (x + length, 2.0 + width, height)


def write_drive(root: Path, *, frames: int = 30, start_s: float = START_S) -> list[str]:
    """Write a recording; return its stems."""
    stems, lines = [], []
    for folder in ("clouds", "images"):
        (root / folder).mkdir(parents=True)
    for frame in range(frames):
        stem = f"{start_s + 0.1 * frame:.3f}"
        x = SPEED_MPS * 0.1 * frame
        solids = [ROAD, WALL, mover(frame)]
        points = scan(np.array([x, 0.0, LIDAR_HEIGHT_M]), solids)
        rows = np.column_stack([points, np.full(len(points), 0.5)]).astype("<f4")
        rows.tofile(root / "clouds" / f"{stem}.bin")
        image = np.full((*IMAGE_SIZE, 3), frame, np.uint8)
        cv2.imwrite(str(root / "images" / f"{stem}.png"), image)
        stems.append(stem)
        lines.append(f"{stem} {x + 500_000:.6f} 0 {LIDAR_HEIGHT_M} 0 0 0 1\n")
    (root / "poses.txt").write_text("".join(lines))
    camera = {"pixel_from_cam": P2.tolist(), "cam_from_lidar": CAM_FROM_LIDAR.tolist()}
    content = {
        "cameras": {"front": camera},
        "lidar_height_m": LIDAR_HEIGHT_M,
        "intensity_max": 1,
    }
    (root / "calib.json").write_text(json.dumps(content))
    return stems


def scan(origin: np.ndarray, solids: Sequence) -> np.ndarray:
    """Points on the first of some boxes along a fan of rays, relative to the origin [m]."""
    azimuth = np.radians(np.arange(-54.9, 55, 0.5))[:, None]
    elevation = np.radians(np.arange(-24.9, 4, 0.5))
    flat = np.cos(elevation)
    rays = np.stack(
        [flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation) + 0 * azimuth], -1
    ).reshape(-1, 3)
    nearest = np.full(len(rays), np.inf)
    for low, high in solids:
        first, second = ((np.array(corner) - origin) / rays for corner in (low, high))
        enter = np.minimum(first, second).max(axis=1)
        leave = np.maximum(first, second).min(axis=1)
        nearest = np.where((enter < leave) & (enter > 0), np.minimum(nearest, enter), nearest)
    hit = np.isfinite(nearest)
    return rays[hit] * nearest[hit, None]
