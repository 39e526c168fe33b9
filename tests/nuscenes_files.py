"""Writes a tiny data set in nuScenes' own formats, with the labels of its three benchmarks.

Everything is cut out of the same few boxes by exact rays, each sensor at its own time and from the
vehicle's pose at that time, so that points, pixels and labels agree only through those poses.
"""

import hashlib
import itertools
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from dataset.nuscenes.index import CAMERAS, LIDAR
from dataset.nuscenes.labels import BENCHMARKS
from utils.geometry import VoxelGrid
from utils.quaternions import quaternion_xyzw

SCENES = ("scene-0061", "scene-0103")
"""One scene of mini_train and one of mini_val."""
RADAR = "RADAR_FRONT"

SPEED_MPS = 8.0
TURN_RADPS = 0.1
SAMPLE_PERIOD_US = 500_000
BEGIN_US = 1_532_402_927_647_951
CAMERA_DELAY_US = dict(
    zip(CAMERAS, (-35_000, -43_000, -27_000, -10_000, -500, -20_000), strict=True)
)
"""When each camera records, against the LiDAR; the vehicle drives 0.34 m in 43 ms."""

CAR, BUS, DRIVEABLE, MANMADE, VEGETATION, OTHERS = 4, 3, 11, 15, 16, 17
SOLIDS = (
    (DRIVEABLE, (-45.0, -30.0, -0.45), (60.0, 30.0, 0.0)),
    (CAR, (14.0, -2.5, 0.0), (18.0, -0.5, 1.6)),
    (MANMADE, (-30.0, 9.0, 0.0), (50.0, 10.0, 5.0)),
    (BUS, (-16.0, -2.0, 0.0), (-7.0, 0.8, 3.0)),
    (VEGETATION, (-20.0, -12.0, 0.0), (40.0, -10.5, 2.5)),
    (OTHERS, (8.0, 5.0, 0.0), (9.0, 6.0, 1.0)),
)
"""Class, lower and upper corner [m] in the map; the vehicle starts at its origin, along x."""
COLORS = {
    0: (150, 190, 230),
    CAR: (240, 40, 30),
    BUS: (230, 220, 30),
    DRIVEABLE: (90, 90, 90),
    MANMADE: (30, 40, 230),
    VEGETATION: (30, 200, 40),
    OTHERS: (220, 40, 220),
}
NOISE = 0
_WORLD_FROM_MAP = np.array(
    [[0.6, -0.8, 0.0, 600.0], [0.8, 0.6, 0.0, 1600.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
_YAW_DEG = dict(zip(CAMERAS, (0.0, 55.0, -55.0, 180.0, 110.0, -110.0), strict=True))


def world_from_ego(time_us: int) -> np.ndarray:
    """Pose (4, 4) of the vehicle, the same in all scenes."""
    time_s = (time_us - BEGIN_US) * 1e-6
    pose = np.eye(4)
    pose[:3, :3] = _rotation("z", TURN_RADPS * time_s)
    pose[:2, 3] = SPEED_MPS * time_s, 0.5 * SPEED_MPS * TURN_RADPS * time_s**2
    return _WORLD_FROM_MAP @ pose


def ego_from_sensor(channel: str) -> np.ndarray:
    """Where a sensor (4, 4) sits; the LiDAR has x to the right and is tilted by two degrees."""
    pose = np.eye(4)
    if channel in CAMERAS:
        forward = _rotation("z", np.deg2rad(_YAW_DEG[channel]))
        ego_from_cam = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0.0]])
        pose[:3, :3] = forward @ ego_from_cam
        pose[:3, 3] = forward @ np.array([0.6, 0.0, 0.0]) + np.array([1.0, 0.0, 1.5])
        return pose
    pose[:3, :3] = _rotation("z", -np.pi / 2) @ _rotation("x", np.deg2rad(2.0))
    pose[:3, 3] = 0.94, 0.0, 1.84
    return pose


def intrinsic(channel: str, image_size: tuple[int, int]) -> np.ndarray:
    """Camera matrix (3, 3): 65 degrees wide, 90 to the back."""
    height, width = image_size
    focal = (0.5 if channel == "CAM_BACK" else 0.79) * width
    return np.array([[focal, 0.0, 0.51 * width], [0.0, focal, 0.54 * height], [0.0, 0.0, 1.0]])


@dataclass
class TinyNuScenes:
    """What was written, for tests to compare with.

    Attributes:
        root: Folder of the data set; the benchmarks' folders lie beside it.
        version: Folder of the tables.
        image_size: Height and width of the pictures.
        samples: Tokens of each scene's samples in the order of time.
        time_us: Time of each sample's LiDAR by token.
        lidar_file: Path of each sample's cloud below the root by token.
        lidar_token: Token of its record.
    """

    root: Path
    version: str
    image_size: tuple[int, int]
    samples: dict[str, list[str]] = field(default_factory=dict)
    time_us: dict[str, int] = field(default_factory=dict)
    lidar_file: dict[str, str] = field(default_factory=dict)
    lidar_token: dict[str, str] = field(default_factory=dict)

    def table(self, name: str) -> Path:
        """File of a table."""
        return self.root / self.version / f"{name}.json"

    def edit(self, name: str, change: Callable[[list[dict]], list[dict]]) -> None:
        """Change the records of a table by a function that returns them."""
        records = json.loads(self.table(name).read_text(encoding="utf-8"))
        write_table(self.table(name), change(records))


def write_tiny_nuscenes(
    root: str | Path,
    *,
    version: str = "v1.0-mini",
    scenes: Sequence[str] = SCENES,
    samples: int = 3,
    sweeps: int = 2,
    image_size: tuple[int, int] = (90, 160),
    benchmarks: Sequence[str] = ("occ3d",),
) -> TinyNuScenes:
    """Write a whole data set below ``root``.

    Args:
        root: Folder to write to; made if it is not there.
        version: Folder of the tables.
        scenes: Names of the scenes; all show the same drive.
        samples: Key frames a scene.
        sweeps: LiDAR clouds between two of them.
        image_size: Height and width of the pictures.
        benchmarks: Whose labels to write.
    """
    tiny = TinyNuScenes(Path(root), version, image_size)
    tables: dict[str, list[dict]] = {
        name: [] for name in ("scene", "sample", "sample_data", "ego_pose", "calibrated_sensor")
    }
    tables["sensor"] = [
        {"token": token(channel), "channel": channel, "modality": channel.split("_")[0].lower()}
        for channel in (RADAR, *CAMERAS, LIDAR)
    ]
    for scene in scenes:
        _add_scene(tiny, tables, scene, samples, sweeps)
    for name, records in tables.items():
        random.Random(5).shuffle(records)  # Tables promise no order.
        write_table(tiny.table(name), records)
    for scene in scenes:
        for sample in tiny.samples[scene]:
            for benchmark in benchmarks:
                write_labels(tiny, benchmark, scene, sample)
    return tiny


def add_annotations(tiny: TinyNuScenes, speed_mps: float = 0.0) -> None:
    """Annotate the car at each key frame; it drives along the x axis of the map at this speed."""
    ((_, low, high),) = (solid for solid in SOLIDS if solid[0] == CAR)
    size = np.array(high) - np.array(low)
    records = []
    for scene, samples in tiny.samples.items():
        for sample in samples:
            pose = np.eye(4)
            pose[:3, 3] = (np.array(low) + np.array(high)) / 2
            pose[0, 3] += speed_mps * (tiny.time_us[sample] - BEGIN_US) * 1e-6
            records.append(
                {
                    "token": token("annotation", sample),
                    "sample_token": sample,
                    "instance_token": token(scene, "car"),
                    **_pose(_WORLD_FROM_MAP @ pose),
                    "size": [size[1], size[0], size[2]],  # Width, length, height.
                    "num_lidar_pts": 100,
                }
            )
    write_table(tiny.table("sample_annotation"), records)
    instances = [
        {"token": token(scene, "car"), "category_token": token("vehicle.car")}
        for scene in tiny.samples
    ]
    write_table(tiny.table("instance"), instances)
    write_table(tiny.table("category"), [{"token": token("vehicle.car"), "name": "vehicle.car"}])


def write_table(path: Path, records: list[dict]) -> None:
    """Write a table as it is released: one key a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, indent=0), encoding="utf-8")


def token(*parts: object) -> str:
    """A token of 32 digits."""
    return hashlib.md5("/".join(map(str, parts)).encode()).hexdigest()


def write_labels(tiny: TinyNuScenes, benchmark: str, scene: str, sample: str) -> None:
    """Write the labels of a key frame as a benchmark publishes them."""
    source = BENCHMARKS[benchmark]
    world_from_label = world_from_ego(tiny.time_us[sample])
    if source.frame == "lidar":
        world_from_label = world_from_label @ ego_from_sensor(LIDAR)
    volume = paint(source.grid, world_from_label)
    base = tiny.root.parent / source.folder
    if benchmark == "occ3d":
        path = base / "gts" / scene / sample / "labels.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        semantics = np.where(volume == 0, 17, np.where(volume == OTHERS, 0, volume))
        mask = np.zeros(volume.shape, np.uint8)
        mask[:, :, :8] = 1  # The cameras saw nothing above 2.2 m.
        np.savez_compressed(
            path,
            semantics=semantics.astype(np.uint8),
            mask_lidar=np.ones_like(mask),
            mask_camera=mask,
        )
        return
    voxels = np.argwhere(volume)
    rows = np.column_stack([voxels, volume[tuple(voxels.T)]])
    rows[rows[:, 3] == OTHERS, 3] = NOISE
    rows = np.vstack([rows, [0, 0, 0, NOISE]])
    if benchmark == "surroundocc":
        path = base / "samples" / f"{Path(tiny.lidar_file[sample]).name}.npy"
    else:
        rows = rows[:, [2, 1, 0, 3]]
        folder = base / f"scene_{token(scene)}" / "occupancy"
        path = folder / f"{tiny.lidar_token[sample]}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, rows.astype(np.int64))


def paint(grid: VoxelGrid, world_from_grid: np.ndarray) -> np.ndarray:
    """Class (X, Y, Z) of the solid that each voxel's center lies in; 0 for none."""
    grid_from_map = np.linalg.inv(world_from_grid) @ _WORLD_FROM_MAP
    map_from_grid = np.linalg.inv(grid_from_map).astype(np.float32)
    volume = np.zeros(grid.shape, np.int64)
    for value, lower, upper in SOLIDS:
        corners = np.array(list(itertools.product(*zip(lower, upper, strict=True))))
        corners = corners @ grid_from_map[:3, :3].T + grid_from_map[:3, 3]
        ends = np.floor(grid.voxel_from_meters(corners)).astype(int)
        first, last = np.clip([ends.min(0), ends.max(0) + 1], 0, grid.shape)
        block = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        voxels = np.ogrid[block]
        x, y, z = (
            (axis + np.float32(0.5)) * np.float32(grid.voxel_m) + np.float32(origin)
            for axis, origin in zip(voxels, grid.origin_m, strict=True)
        )
        inside = np.ones([b - a for a, b in zip(first, last, strict=True)], bool)
        for row, low, high in zip(map_from_grid, lower, upper, strict=False):
            place = row[0] * x + row[1] * y + (row[2] * z + row[3])
            inside &= (place >= low) & (place < high)
        volume[block][inside] = value
    return volume


def cast(world_from_rays: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First solid along rays: its class and the steps to it; 0, 0 for none."""
    map_from_rays = np.linalg.inv(_WORLD_FROM_MAP) @ world_from_rays
    start, rays = map_from_rays[:3, 3], directions @ map_from_rays[:3, :3].T
    rays = np.where(np.abs(rays) < 1e-12, 1e-12, rays)
    label, steps = np.zeros(len(rays), np.int64), np.full(len(rays), np.inf)
    for value, lower, upper in SOLIDS:
        near_far = np.stack([(np.array(lower) - start) / rays, (np.array(upper) - start) / rays])
        near, far = near_far.min(0).max(-1), near_far.max(0).min(-1)
        nearer = (near <= far) & (near > 0) & (near < steps)
        label[nearer], steps[nearer] = value, near[nearer]
    return label, np.where(label > 0, steps, 0.0)


def _add_scene(
    tiny: TinyNuScenes, tables: dict[str, list[dict]], scene: str, samples: int, sweeps: int
) -> None:
    """Write a scene's recordings and add its records."""
    tokens = [token(scene, "sample", number) for number in range(samples)]
    tiny.samples[scene] = tokens
    tables["scene"].append(
        {
            "token": token(scene),
            "log_token": token("log"),
            "nbr_samples": samples,
            "first_sample_token": tokens[0],
            "last_sample_token": tokens[-1],
            "name": scene,
            "description": "A car, a bus and a wall",
        }
    )
    for channel in (RADAR, *CAMERAS, LIDAR):
        tables["calibrated_sensor"].append(
            {
                "token": token(scene, channel),
                "sensor_token": token(channel),
                **_pose(ego_from_sensor(channel)),
                "camera_intrinsic": (
                    intrinsic(channel, tiny.image_size).tolist() if channel in CAMERAS else []
                ),
            }
        )
    previous = ""
    step_us = SAMPLE_PERIOD_US // (1 + sweeps)
    for tick in range((samples - 1) * (1 + sweeps) + 1):
        number, time_us = -(-tick // (1 + sweeps)), BEGIN_US + tick * step_us
        sample, is_key = tokens[number], tick % (1 + sweeps) == 0
        links = {"prev": previous, "next": ""}
        previous = _record(tiny, tables, scene, LIDAR, sample, time_us, is_key, links)
        if is_key:
            neighbors = (*tokens[max(number - 1, 0) : number], ""), (*tokens[number + 1 :], "")
            tables["sample"].append(
                {
                    "token": sample,
                    "timestamp": time_us,
                    "prev": neighbors[0][0],
                    "next": neighbors[1][0],
                    "scene_token": token(scene),
                }
            )
            tiny.time_us[sample] = time_us
            tiny.lidar_token[sample] = previous
            tiny.lidar_file[sample] = tables["sample_data"][-1]["filename"]
        for channel in (RADAR, *CAMERAS):
            _record(
                tiny,
                tables,
                scene,
                channel,
                sample,
                time_us + CAMERA_DELAY_US.get(channel, 1_000),
                is_key,
                {"prev": "", "next": ""},
            )


def _record(
    tiny: TinyNuScenes,
    tables: dict[str, list[dict]],
    scene: str,
    channel: str,
    sample: str,
    time_us: int,
    is_key: bool,
    links: dict[str, str],
) -> str:
    """Add one recording and write its file, unless no loader may open it; returns its token."""
    is_camera = channel in CAMERAS
    suffix = "jpg" if is_camera else "pcd.bin" if channel == LIDAR else "pcd"
    folder = "samples" if is_key else "sweeps"
    file = f"{folder}/{channel}/n000-{scene}__{channel}__{time_us}.{suffix}"
    own = token(file)
    height, width = tiny.image_size if is_camera else (0, 0)
    tables["sample_data"].append(
        {
            "token": own,
            "sample_token": sample,
            "ego_pose_token": token("pose", file),
            "calibrated_sensor_token": token(scene, channel),
            "timestamp": time_us,
            "fileformat": suffix.split(".")[0],
            "is_key_frame": is_key,
            "height": height,
            "width": width,
            "filename": file,
            **links,
        }
    )
    pose = world_from_ego(time_us)
    tables["ego_pose"].append({"token": token("pose", file), "timestamp": time_us, **_pose(pose)})
    path = tiny.root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if channel == LIDAR:
        _cloud(pose @ ego_from_sensor(LIDAR)).tofile(path)
    elif is_camera and is_key:
        picture = _picture(channel, tiny.image_size, pose @ ego_from_sensor(channel))
        cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    return own


def _cloud(world_from_lidar: np.ndarray) -> np.ndarray:
    """Returns (P, 5) float32 of a spinning LiDAR, whose intensity is 10 times the class."""
    azimuth, elevation = np.meshgrid(
        np.deg2rad(np.arange(0, 360, 1.5)), np.deg2rad(np.linspace(-28, 8, 32))
    )
    directions = np.stack(
        [
            np.cos(elevation) * np.sin(azimuth),
            np.cos(elevation) * np.cos(azimuth),
            np.sin(elevation),
        ],
        axis=-1,
    ).reshape(-1, 3)
    label, distance = cast(world_from_lidar, directions)
    ring = np.repeat(np.arange(32), azimuth.shape[1])
    hit = label > 0
    points = directions[hit] * distance[hit, None]
    cloud = np.column_stack([points, 10.0 * label[hit], ring[hit]])
    roof = np.array([[0.2, -0.4, -0.1, 3.0, 0.0], [-0.9, 0.9, -0.2, 3.0, 1.0]])
    return np.vstack([cloud, roof]).astype(np.float32)


def _picture(channel: str, image_size: tuple[int, int], world_from_cam: np.ndarray) -> np.ndarray:
    """RGB of what a camera sees."""
    height, width = image_size
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3)
    directions = pixels @ np.linalg.inv(intrinsic(channel, image_size)).T
    label, _ = cast(world_from_cam, directions)
    colors = np.array([COLORS.get(value, (0, 0, 0)) for value in range(18)], np.uint8)
    return colors[label].reshape(height, width, 3)


def _pose(matrix: np.ndarray) -> dict[str, list[float]]:
    """Translation and quaternion w, x, y, z, as tables hold them."""
    x, y, z, w = quaternion_xyzw(matrix[:3, :3]).tolist()
    return {"translation": matrix[:3, 3].tolist(), "rotation": [w, x, y, z]}


def _rotation(axis: str, angle_rad: float) -> np.ndarray:
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
