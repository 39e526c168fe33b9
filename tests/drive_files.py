"""A recording of a drive between walls and boxes: points on planes, and the true poses."""

import json
from pathlib import Path

import numpy as np

START_S = 1_718_000_000
PERIOD_S = 0.1
_RNG_SEED = 3


def true_poses(frames: int, *, speed_mps: float = 8.0) -> np.ndarray:
    """world_from_lidar (n, 4, 4) of a slight left turn; the first is the identity."""
    poses = np.tile(np.eye(4), (frames, 1, 1))
    for index in range(1, frames):
        step = np.eye(4)
        step[:3, :3] = turn(0.5)
        step[0, 3] = speed_mps * PERIOD_S
        poses[index] = poses[index - 1] @ step
    return poses


def turn(degrees: float) -> np.ndarray:
    """Rotation to the left."""
    angle = np.radians(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def scene(density: int = 9) -> np.ndarray:
    """Points (P, 3) of ground, two walls and 40 boxes along x, in the world."""
    rng = np.random.default_rng(_RNG_SEED)
    patches = [((-30, -25, -1.8), (130, 0, 0), (0, 50, 0))]
    patches += [((-30, y, -1.8), (130, 0, 0), (0, 0, 5)) for y in (-14, 25)]
    for x, y in rng.uniform([-25, -13], [90, 24], (40, 2)):
        if abs(y) > 3:
            patches += [((x, y, -1.8), (0, 1.5, 0), (0, 0, 2.5))]
            patches += [((x, y, -1.8), (2.0, 0, 0), (0, 0, 2.5))]
    points = []
    for corner, side, up in patches:
        count = int(density * np.linalg.norm(side) * np.linalg.norm(up))
        share = rng.uniform(size=(2, count, 1))
        points.append(np.array(corner) + share[0] * np.array(side) + share[1] * np.array(up))
    return np.concatenate(points)


def sweep(world: np.ndarray, pose: np.ndarray, seed: int, *, range_m: float = 25.0) -> np.ndarray:
    """Points (P, 3) that the LiDAR sees: a third of those near it, with 1 cm of noise."""
    rng = np.random.default_rng(seed)
    points = (world - pose[:3, 3]) @ pose[:3, :3]
    points = points[np.linalg.norm(points, axis=1) < range_m]
    points = points[rng.uniform(size=len(points)) < 1 / 3]
    return points + rng.normal(0, 0.01, points.shape)


def write_drive(root: Path, poses: np.ndarray) -> list[str]:
    """Write clouds/ and calib.json of a recording, and return the stems."""
    (root / "clouds").mkdir(parents=True)
    world = scene()
    stems = [f"{START_S + index * PERIOD_S:.3f}" for index in range(len(poses))]
    for index, (stem, pose) in enumerate(zip(stems, poses, strict=True)):
        points = sweep(world, pose, index)
        rows = np.hstack([points, np.full((len(points), 1), 50.0)])
        rows.astype("<f4").tofile(root / "clouds" / f"{stem}.bin")
    (root / "calib.json").write_text(json.dumps({"cameras": {}, "intensity_max": 255}))
    return stems
