"""Writes a tiny data set in the UnScenes3D layout: a ground, a wall and a box on a short drive.

Everything is cut out of the same three boxes by exact rays, so that points, pixels, depths and
labels agree with each other. Formats, file names and grids are the true ones; pictures are small.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dataset import layout

SCENES = {"scene_00000": "location_1", "scene_00006": "location_4_5", "scene_00005": "location_6"}
"""One scene of train, val and test, by the official scene ids and by region alike."""

GROUND_Z_M = -2.65
"""Height of the ground in the LiDAR frame: the middle of a voxel of the label grid."""
DRIVEABLE, TERRAIN, TRUCK = 11, 10, 2

_GROUND = (DRIVEABLE, (-2.0, -14.0, -0.001), (46.0, 14.0, 0.0))
_WALL = (TERRAIN, (5.0, 8.1, 0.0), (46.0, 8.4, 4.0))
_BOX = (TRUCK, (14.1, -4.0, 0.0), (18.1, -1.1, 2.0))
_SOLIDS = (_GROUND, _WALL, _BOX)  # label, lower and upper corner in the world [m]
_COLORS = {
    0: (150, 190, 230),
    DRIVEABLE: (150, 130, 110),
    TERRAIN: (110, 90, 60),
    TRUCK: (240, 200, 30),
}
_WORLD_ORIGIN_M = np.array([500_000.0, 4_000_000.0, 100.0])  # As large as a surveyor's coordinates.
_SAMPLE_PERIOD_S = 0.5


@dataclass(frozen=True)
class Rig:
    """Calibration of the tiny vehicle; float64 matrices, ``dst_from_src``."""

    image_size: tuple[int, int]

    @property
    def p2(self) -> np.ndarray:
        """Intrinsic matrix (3, 4) of a camera 59 degrees wide."""
        height, width = self.image_size
        focal = 0.88 * width
        return np.array([[focal, 0, 0.5 * width, 0], [0, focal, 0.4 * height, 0], [0, 0, 1, 0.0]])

    @property
    def r0_rect(self) -> np.ndarray:
        """Rectifying rotation (3, 3): one degree of roll, so that a reader must not forget it."""
        return _rotation("z", np.deg2rad(1.0))

    @property
    def cam_from_lidar(self) -> np.ndarray:
        """Camera 1 m behind and 2 m above the LiDAR, pitched 5 degrees down."""
        axes = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0.0]])
        matrix = np.eye(4)
        matrix[:3, :3] = axes @ _rotation("y", np.deg2rad(-5.0))
        matrix[:3, 3] = -matrix[:3, :3] @ np.array([-1.0, 0.0, 2.0])
        return matrix

    @property
    def imu_from_lidar(self) -> np.ndarray:
        """The IMU lies on the ground, turned by two degrees against the LiDAR."""
        matrix = np.eye(4)
        matrix[:3, :3] = _rotation("z", np.deg2rad(2.0))
        matrix[:3, 3] = (0.3, 0.1, -GROUND_Z_M)
        return matrix

    @property
    def pixel_from_lidar(self) -> np.ndarray:
        """P2 · R0_rect · Tr_velo_to_cam as (4, 4)."""
        intrinsic, rectify = np.eye(4), np.eye(4)
        intrinsic[:3], rectify[:3, :3] = self.p2, self.r0_rect
        return intrinsic @ rectify @ self.cam_from_lidar


def write_tiny_unscenes3d(
    root: str | Path,
    *,
    scenes: Mapping[str, str] = SCENES,
    frames: int = 2,
    sweeps: int = 1,
    image_size: tuple[int, int] = (60, 96),
    imagesets: Sequence[str] = ("scene_info",),
    labels: bool = True,
    calibration_holds_pose: bool = False,
) -> list[str]:
    """Write a whole data set below ``root``.

    Args:
        root: Folder to write to; made if it is not there.
        scenes: Location of each scene, by its name.
        frames: Labeled frames a scene.
        sweeps: Unlabeled frames after each labeled one.
        image_size: Height and width of the pictures.
        imagesets: Which files to write there: "scene_info", "lists" (by region), both or none.
        labels: Whether to write the folders of labels at all.
        calibration_holds_pose: Whether ``Tr_velo_to_imu`` is the frame's LiDAR-to-world pose.

    Returns:
        The stems of the labeled frames in the order of the scenes and of time.
    """
    root = Path(root)
    rig = Rig(image_size)
    info: dict[str, dict] = {}
    for number, (scene, location) in enumerate(scenes.items()):
        info[scene] = {"location": location, "samples": [], "sweeps": []}
        for tick in range(frames * (1 + sweeps)):
            is_sample = tick % (1 + sweeps) == 0
            stem = (
                f"{1689903584.278848 + 1000 * number + tick * _SAMPLE_PERIOD_S / (1 + sweeps):.6f}"
            )
            info[scene]["samples" if is_sample else "sweeps"].append(stem)
            pose = world_from_imu(tick)
            _write_recording(root, stem, rig, pose, calibration_holds_pose)
            if is_sample and labels:
                _write_labels(root, stem, rig, pose)
    _write_imagesets(root, info, imagesets)
    return [stem for scene in info.values() for stem in scene["samples"]]


def world_from_imu(tick: int) -> np.ndarray:
    """Pose (4, 4) of the vehicle: 0.6 m forward and 0.02 rad to the left each tick."""
    pose = np.eye(4)
    pose[:3, :3] = _rotation("z", 0.02 * tick)
    pose[:3, 3] = _WORLD_ORIGIN_M + np.array([0.6 * tick, 0.006 * tick**2, 0.0])
    return pose


def _write_recording(
    root: Path, stem: str, rig: Rig, world_from_imu: np.ndarray, calibration_holds_pose: bool
) -> None:
    """What the vehicle records of itself: calibration, image, cloud, pose."""
    world_from_lidar = world_from_imu @ rig.imu_from_lidar
    matrices = {
        "P2": rig.p2,
        "R0_rect": rig.r0_rect,
        "Tr_velo_to_cam": rig.cam_from_lidar[:3],
        "Tr_velo_to_imu": (world_from_lidar if calibration_holds_pose else rig.imu_from_lidar)[:3],
    }
    lines = [f"{key}: {_text(matrix)}" for key, matrix in matrices.items()]
    _path(root, layout.CALIBS, stem).write_text("\n".join(lines) + "\n", encoding="utf-8")
    quaternion = _quaternion_xyzw(world_from_imu[:3, :3])
    pose = _text(np.concatenate([world_from_imu[:3, 3], quaternion]))
    motion = _text(np.array([1.2, 0.05, 0.0, 0.1, -0.2, 9.8]))
    vehicle = f"{stem} {pose}\n{stem} {motion}"  # No newline at the end, as released.
    _path(root, layout.VEHICLE_INFOS, stem).write_text(vehicle, encoding="utf-8")

    label, _ = _render(rig, world_from_lidar)
    rgb = np.array([_COLORS.get(value, (0, 0, 0)) for value in range(12)], np.uint8)[label]
    cv2.imwrite(str(_path(root, layout.IMAGES, stem)), rgb[..., ::-1])
    _cloud(world_from_lidar).tofile(_path(root, layout.CLOUDS, stem))


def _write_labels(root: Path, stem: str, rig: Rig, world_from_imu: np.ndarray) -> None:
    """What the annotators added: occupancy, depth, elevation, local map, caption."""
    world_from_lidar = world_from_imu @ rig.imu_from_lidar
    surface, surface_label = _surface(world_from_lidar)
    np.save(_path(root, layout.OCCUPANCY, stem), _occupancy_rows(surface, surface_label))
    surface.astype(np.float32).tofile(_path(root, layout.LOCAL_MAPS, stem))

    _, depth = _render(rig, world_from_lidar)
    depth = np.where((depth >= 2.0) & (depth <= 80.0), depth, 0.0)
    encoded = np.rint(depth * layout.DEPTH_UNITS_PER_M).astype(np.uint16)
    cv2.imwrite(str(_path(root, layout.DEPTHS, stem)), encoded)

    height = (layout.ELEVATION_TOP_M - GROUND_Z_M) * layout.ELEVATION_UNITS_PER_M
    elevation = np.full((204, 217), round(height), np.uint16)
    elevation[:10] = 0  # No point at the far end.
    elevation[-2, 0] = 65_000  # Above the top: wrapped around.
    cv2.imwrite(str(_path(root, layout.ELEVATION, stem)), elevation)
    _path(root, layout.CAPTIONS, stem).write_text("A truck stands beside a wall.", encoding="utf-8")


def _write_imagesets(root: Path, info: dict[str, dict], imagesets: Sequence[str]) -> None:
    folder = root / layout.IMAGESETS
    if imagesets:
        folder.mkdir(parents=True, exist_ok=True)
    if "scene_info" in imagesets:
        (folder / layout.SCENE_INFO).write_text(json.dumps(info), encoding="utf-8")
    if "lists" in imagesets:
        split_of = {"location_4_5": "val", "location_6": "test"}
        stems: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for scene in info.values():
            stems[split_of.get(scene["location"], "train")] += scene["samples"]
        for split, names in stems.items():
            text = "".join(f"{name}\n" for name in names)
            (folder / f"{split}.txt").write_text(text, encoding="utf-8")


def _cloud(world_from_lidar: np.ndarray) -> np.ndarray:
    """Returns (P, 4) float32 of a LiDAR 120 degrees wide and 25 high."""
    azimuth, elevation = np.meshgrid(
        np.deg2rad(np.linspace(-60, 60, 90)), np.deg2rad(np.linspace(-18, 7, 24))
    )
    directions = np.stack(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ],
        axis=-1,
    ).reshape(-1, 3)
    label, distance = _cast(world_from_lidar, np.zeros(3), directions)
    hit = label > 0
    points = directions[hit] * distance[hit, None]
    return np.column_stack([points, 10.0 * label[hit]]).astype(np.float32)


def _render(rig: Rig, world_from_lidar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label and camera depth [m] of each pixel (H, W); 0 where the ray meets nothing."""
    height, width = rig.image_size
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3)
    lidar_from_pixel = np.linalg.inv(rig.pixel_from_lidar)
    directions = pixels @ lidar_from_pixel[:3, :3].T  # One step along it is one meter of depth.
    label, depth = _cast(world_from_lidar, lidar_from_pixel[:3, 3], directions)
    return label.reshape(height, width), depth.reshape(height, width)


def _cast(
    world_from_lidar: np.ndarray, origin: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First solid along rays of the LiDAR frame: its label and the steps to it; 0, 0 for none."""
    start = world_from_lidar[:3, :3] @ origin + world_from_lidar[:3, 3] - _WORLD_ORIGIN_M
    rays = directions @ world_from_lidar[:3, :3].T
    rays = np.where(np.abs(rays) < 1e-12, 1e-12, rays)
    label, steps = np.zeros(len(rays), np.int64), np.full(len(rays), np.inf)
    for value, lower, upper in _SOLIDS:
        near_far = np.stack([(np.array(lower) - start) / rays, (np.array(upper) - start) / rays])
        near, far = near_far.min(0).max(-1), near_far.max(0).min(-1)
        nearer = (near <= far) & (near > 0) & (near < steps)
        label[nearer], steps[nearer] = value, near[nearer]
    return label, np.where(label > 0, steps, 0.0)


def _surface(world_from_lidar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (P, 3) every 0.15 m on the solids, in the LiDAR frame, and their labels."""
    points, labels = [], []
    for value, lower, upper in _SOLIDS:
        axes = [np.append(np.arange(a, b, 0.15), b) for a, b in zip(lower, upper, strict=True)]
        for axis in range(3):
            ends = [axes[i] if i != axis else axes[i][[0, -1]] for i in range(3)]
            face = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
            points.append(face)
            labels.append(np.full(len(face), value))
    world = np.concatenate(points) + _WORLD_ORIGIN_M - world_from_lidar[:3, 3]
    lidar = world @ world_from_lidar[:3, :3]
    label = np.concatenate(labels)
    grid = layout.LABEL_GRID
    inside = ((lidar >= grid.origin_m) & (lidar < grid.end_m)).all(-1)
    return lidar[inside], label[inside]


def _occupancy_rows(points: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Rows (N, 4) of the voxels that points fall into, with two rows of background."""
    grid = layout.LABEL_GRID
    index = np.floor(grid.voxel_from_meters(points)).astype(np.int64)
    volume = np.zeros(grid.shape, np.int64)
    volume[tuple(index.T)] = label  # The box, which comes last, wins over the ground.
    voxels = np.argwhere(volume)
    rows = np.column_stack([voxels, volume[tuple(voxels.T)]])
    background = np.array([[255, 255, 31, 0], [255, 0, 31, 0]])
    return np.concatenate([rows, background]).astype(np.int64)


def _rotation(axis: str, angle_rad: float) -> np.ndarray:
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    if axis == "y":
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def _quaternion_xyzw(rotation: np.ndarray) -> np.ndarray:
    """Quaternion of a turn about z."""
    half = 0.5 * np.arctan2(rotation[1, 0], rotation[0, 0])
    return np.array([0.0, 0.0, np.sin(half), np.cos(half)])


def _text(values: np.ndarray) -> str:
    return " ".join(f"{value:.12e}" for value in np.ravel(values))


def _path(root: Path, folder: str, stem: str) -> Path:
    path = root / layout.relative_path(folder, stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
