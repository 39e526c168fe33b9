"""A tiny RELLIS-3D in the true formats: a meadow with bushes, trees and a pond's edge, ray cast.

The world is drawn in map coordinates, x along the drive, y left, z up. The sensors are placed with
the calibration of the published example, so that projections are tested with true numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dataset.rellis3d.layout import NETWORK_FROM_OUSTER, Frame
from utils.geometry import VoxelGrid
from utils.quaternions import rotation_matrix

RINGS, COLUMNS = 24, 64
SIZE = (120, 192)
FOCAL = (281.3643275, 280.8326079, 96.9285772, 62.4049972)
"""A tenth of the published intrinsics, for images of a tenth of the size."""
QUATERNION = (-0.50507811, 0.51206185, 0.49024953, -0.49228464)
SHIFT = (-0.13165462, 0.03870398, -0.17253834)
GROUND_M = -1.2
STEP_M = 0.5
START_S = 1581624663.149
GRASS, TREE, BUSH, PUDDLE = 3, 4, 19, 31
COLORS = {0: (0, 0, 0), GRASS: (0, 102, 0), TREE: (0, 255, 0), BUSH: (255, 153, 204),
    PUDDLE: (134, 255, 239), 7: (0, 0, 255)}  # fmt: skip
BOXES = (
    (TREE, (9.0, -1.5, GROUND_M), (10.0, -0.5, 4.0)),
    (BUSH, (7.0, 2.0, GROUND_M), (9.0, 3.6, 0.2)),
    (BUSH, (14.0, -6.0, GROUND_M), (16.0, -3.0, 0.6)),
    (TREE, (-8.0, 4.0, GROUND_M), (-6.0, 5.0, 3.0)),
)
"""Class and corners, in the map."""
PUDDLE_M = ((11.0, 1.0), (13.0, 4.0))


@dataclass(frozen=True)
class TinyRellis:
    """What was written.

    Attributes:
        root: ``data_root``.
        labels_root: Folder of the occupancy labels.
        frames: All frames.
    """

    root: Path
    labels_root: Path
    frames: list[Frame]


def map_from_lidar(frame: Frame) -> np.ndarray:
    """Pose of the network's frame: ahead along x, turning slowly."""
    angle = 0.02 * frame.number + 0.1 * int(frame.sequence)
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    pose[0, 3] = STEP_M * frame.number - 1.0
    return pose


def cast(origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (inf for none) and class id of what rays in the map hit."""
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(directions[:, 2] < 0, (GROUND_M - origin[2]) / directions[:, 2], np.inf)
        spot = origin[:2] + distance[:, None] * directions[:, :2]
        wet = ((spot >= PUDDLE_M[0]) & (spot <= PUDDLE_M[1])).all(axis=1)
        label = np.where(np.isfinite(distance), np.where(wet, PUDDLE, GRASS), 7)
        for name, low, high in BOXES:
            sides = (np.array([low, high])[:, None] - origin) / directions
            near, far = sides.min(axis=0).max(axis=1), sides.max(axis=0).min(axis=1)
            hits = (near <= far) & (near > 0) & (near < distance)
            distance, label = np.where(hits, near, distance), np.where(hits, name, label)
    return distance, label


def occupancy(frame: Frame, grid: VoxelGrid) -> np.ndarray:
    """Class ids of the voxels with a surface, on a grid in the network's frame; 0: free."""
    half = grid.voxel_m / 2
    centers = grid.centers_m().numpy().astype(np.float64)
    pose = map_from_lidar(frame)  # Turned about z only, so columns stay columns.
    columns = centers[:, :, 0, :2] @ pose[:2, :2].T + pose[:2, 3]
    heights = centers[0, 0, :, 2] + pose[2, 3]

    def voxels(low: Sequence[float], high: Sequence[float]) -> np.ndarray:
        is_column = (columns >= np.array(low[:2]) - half) & (columns <= np.array(high[:2]) + half)
        is_height = (heights >= low[2] - half) & (heights <= high[2] + half)
        return is_column.all(axis=-1)[..., None] & is_height

    ids = np.zeros(grid.shape, np.int64)
    ids[voxels((-np.inf, -np.inf, GROUND_M), (np.inf, np.inf, GROUND_M))] = GRASS
    ids[voxels((*PUDDLE_M[0], GROUND_M), (*PUDDLE_M[1], GROUND_M))] = PUDDLE
    for name, low, high in BOXES:
        ids[voxels(low, high)] = name
    return ids


def label_rows(frame: Frame, release: str = "V1") -> np.ndarray:
    """Rows of a label file, as the releases have them."""
    if release == "V1":  # x backward, y right: index 0 is 20 m ahead, 10 m to the left.
        ids = occupancy(frame, VoxelGrid((0.0, -10.0, -2.0), 0.2, (100, 100, 40)))[::-1, ::-1]
    else:
        ids = occupancy(frame, VoxelGrid((0.0, -16.0, -2.0), 0.2, (160, 160, 40)))
    index = np.argwhere(ids > 0)
    return np.hstack([index, ids[tuple(index.T)][:, None]]).astype(np.int64)


def scan(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Records x, y, z, intensity in the Ouster's frame, and their class ids."""
    azimuth = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)
    elevation = np.deg2rad(np.linspace(16.6, -16.6, RINGS))
    azimuth, elevation = (a.ravel() for a in np.meshgrid(azimuth, elevation, indexing="ij"))
    rays = np.stack(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ],
        axis=1,
    )
    pose = map_from_lidar(frame)
    distance, label = cast(pose[:3, 3], rays @ pose[:3, :3].T)
    is_hit = distance < 60.0
    points = np.where(is_hit[:, None], rays * np.where(is_hit, distance, 0.0)[:, None], 0.0)
    label = np.where(is_hit, label, 0)
    own = np.abs(azimuth) > 3.0  # The vehicle's own body, behind.
    points[own], label[own] = 1.6 * rays[own], 0
    intensity = np.where(is_hit | own, 0.002 + 0.0002 * label, 0.0)
    records = np.hstack([points @ NETWORK_FROM_OUSTER[:3, :3], intensity[:, None]])
    return records.astype(np.float32), label


def camera() -> tuple[np.ndarray, np.ndarray]:
    """Return pixel_from_cam (3, 3) and lidar_from_cam (4, 4) in the network's frame."""
    fx, fy, cx, cy = FOCAL
    ouster_from_cam = np.eye(4)
    quaternion = np.array(QUATERNION)
    ouster_from_cam[:3, :3] = rotation_matrix(quaternion / np.linalg.norm(quaternion))
    ouster_from_cam[:3, 3] = SHIFT
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), NETWORK_FROM_OUSTER @ ouster_from_cam


def photo(frame: Frame) -> np.ndarray:
    """Class id of each pixel."""
    intrinsics, lidar_from_cam = camera()
    v, u = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    rays = np.stack([u.ravel(), v.ravel(), np.ones(u.size)]).T @ np.linalg.inv(intrinsics).T
    pose = map_from_lidar(frame) @ lidar_from_cam
    _, label = cast(pose[:3, 3], rays @ pose[:3, :3].T)
    return label.reshape(SIZE)


def write_tiny_rellis(
    root: Path,
    *,
    sequences: Sequence[str] = ("00000", "00003"),
    frames: int = 4,
    release: str = "V1",
    enlarged: int = 1,
) -> TinyRellis:
    """Write the data set to ``root``, and labels to ``wildocc`` beside it.

    The lists have the first half of each sequence in train, then val and test alternate.

    Args:
        root: Folder of the data set.
        sequences: Its sequences.
        frames: Number of frames of each.
        release: Release of the labels.
        enlarged: Factor on the size of the images; 10 gives that of the data set.
    """
    labels_root = root.parent / "wildocc"
    every = [Frame(name, number) for name in sequences for number in range(frames)]
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for frame in every:
        _write_frame(root / frame.sequence, frame, enlarged)
        path = labels_root / f"{release}/{frame.sequence}/{frame.number:06d}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, label_rows(frame, release))
        number = f"{frame.number:06d}"
        split = "train" if frame.number < frames // 2 else ("val", "test")[frame.number % 2]
        lists[split].append(
            f"{frame.sequence}/os1_cloud_node_kitti_bin/{number}.bin "
            f"{frame.sequence}/os1_cloud_node_semantickitti_label_id/{number}.label"
        )
    for split, lines in lists.items():
        (root / f"pt_{split}.lst").write_text("\n".join(lines) + "\n")
    for name in sequences:
        _write_calibration(root / name, [f for f in every if f.sequence == name], enlarged)
    return TinyRellis(root, labels_root, every)


def image_name(frame: Frame) -> str:
    """Stem of an image."""
    time_ms = round(1000 * (START_S + 1000 * int(frame.sequence))) + 100 * frame.number
    return f"frame{frame.number:06d}-{time_ms // 1000}_{time_ms % 1000:03d}"


def _write_frame(folder: Path, frame: Frame, enlarged: int) -> None:
    records, label = scan(frame)
    seen = photo(frame).repeat(enlarged, 0).repeat(enlarged, 1)
    pixels = np.zeros((*seen.shape, 3), np.uint8)
    for name, color in COLORS.items():
        pixels[seen == name] = color
    for name in (
        "pylon_camera_node",
        "pylon_camera_node_label_id",
        "os1_cloud_node_kitti_bin",
        "os1_cloud_node_semantickitti_label_id",
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
    stem = f"{frame.number:06d}"
    records.tofile(folder / f"os1_cloud_node_kitti_bin/{stem}.bin")
    label.astype("<u4").tofile(folder / f"os1_cloud_node_semantickitti_label_id/{stem}.label")
    name = image_name(frame)
    cv2.imwrite(
        str(folder / f"pylon_camera_node/{name}.jpg"), pixels[..., ::-1],
        [cv2.IMWRITE_JPEG_QUALITY, 95],
    )  # fmt: skip
    cv2.imwrite(str(folder / f"pylon_camera_node_label_id/{name}.png"), seen.astype(np.uint8))


def _write_calibration(folder: Path, frames: Sequence[Frame], enlarged: int) -> None:
    fx, fy, cx, cy = (enlarged * number for number in FOCAL)
    (folder / "camera_info.txt").write_text(f"{fx} {fy} {cx} {cy}\n")
    (w, x, y, z), (tx, ty, tz) = QUATERNION, SHIFT
    (folder / "transforms.yaml").write_text(
        "os1_cloud_node-pylon_camera_node:\n"
        f"  q:\n    w: {w}\n    x: {x}\n    y: {y}\n    z: {z}\n"
        f"  t:\n    x: {tx}\n    y: {ty}\n    z: {tz}\n"
    )
    rows = [(map_from_lidar(frame) @ NETWORK_FROM_OUSTER)[:3].ravel() for frame in frames]
    lines = [" ".join(f"{value:.9e}" for value in row) for row in rows]
    (folder / "poses.txt").write_text("\n".join(lines) + "\n")
