"""Scenes of nuScenes as recordings: all clouds of the LiDAR, with poses, images and boxes.

Clouds and images are linked, not copied. Boxes are those of the key frames, two per second.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from dataset import layout
from dataset.nuscenes.index import LIDAR, pose_matrix
from dataset.nuscenes.tables import Record, Table
from dataset.recorded_poses import POSES, write_poses
from utils.shortlist import shortlist
from utils.whole_files import write_json

TOLERANCE_S = 0.025
"""Largest time between a cloud and its image: half a turn of the LiDAR."""
_TABLES = (
    "scene", "sample", "sensor", "calibrated_sensor", "sample_data", "ego_pose", "category",
    "instance", "sample_annotation",
)  # fmt: skip


@dataclass(frozen=True)
class SceneSummary:
    """What was written of a scene.

    Attributes:
        clouds: Number of clouds.
        left_out: Clouds without an image close in time.
        boxes: Number of boxes.
        moved_m: Largest distance that the vehicle moved between a cloud and its image [m].
    """

    clouds: int
    left_out: int
    boxes: int
    moved_m: float


@dataclass(frozen=True)
class _Recorded:
    """One file of a sensor; ``sample`` is the key frame that it is of, if any."""

    time_us: int
    file: str
    sample: str | None
    world_from_sensor: Float64[np.ndarray, "4 4"]


@dataclass
class _Scene:
    clouds: list[_Recorded] = field(default_factory=list)
    images: list[_Recorded] = field(default_factory=list)
    boxes: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True)
class _Sensor:
    """Its mounting pose and, for a camera, its matrix."""

    channel: str
    ego_from_sensor: Float64[np.ndarray, "4 4"]
    matrix: Any


def write_recordings(
    data_root: Path, version: str, scenes: Sequence[str] | None, camera: str | None, out: Path
) -> dict[str, SceneSummary]:
    """Write scenes as recordings, each into a folder with its name.

    Args:
        data_root: Folder with ``samples/``, ``sweeps/`` and the tables.
        version: Folder of the tables.
        scenes: Names of the scenes; None for all.
        camera: Camera whose images to take; None for clouds only.
        out: Folder of the recordings.

    Raises:
        FileNotFoundError: If a table or a file of a sensor is missing.
        ValueError: If a table is corrupt, or there is no such scene or camera.
    """
    folder = data_root / version
    missing = [name for name in _TABLES if not (folder / f"{name}.json").is_file()]
    if missing:
        raise FileNotFoundError(
            f"'{folder}' lacks the tables {missing}: unpack the metadata of nuScenes there "
            "(docs/prepare_data.md)"
        )
    tables = {name: Table(folder / f"{name}.json", None) for name in _TABLES}
    name_of = _wanted_scenes(tables["scene"], scenes)
    scene_of = {
        record["token"]: name_of[record["scene_token"]]
        for record in tables["sample"]
        if record.get("scene_token") in name_of
    }
    sensors = _sensors(tables, camera)
    found = {name: _Scene() for name in name_of.values()}
    rigs = _add_recorded(found, tables, scene_of, sensors)
    _add_boxes(found, tables, scene_of)
    return {
        name: _write_scene(data_root, out / name, scene, rigs[name])
        for name, scene in sorted(found.items())
    }


def _wanted_scenes(table: Table, wanted: Sequence[str] | None) -> dict[str, str]:
    """Return the names of scenes by token."""
    names = {record["token"]: table.text(record, "name") for record in table}
    unknown = sorted(set(wanted or ()) - set(names.values()))
    if unknown:
        raise ValueError(
            f"{table.path}: expected the scenes {shortlist(unknown)}, found "
            f"{shortlist(sorted(names.values()))}: correct --scenes"
        )
    return {token: name for token, name in names.items() if wanted is None or name in wanted}


def _sensors(tables: dict[str, Table], camera: str | None) -> dict[str, _Sensor]:
    """Return the calibrations of the LiDAR and the camera by token."""
    channels = {
        record["token"]: tables["sensor"].text(record, "channel") for record in tables["sensor"]
    }
    if camera is not None and camera not in channels.values():
        raise ValueError(
            f"{tables['sensor'].path}: expected a sensor '{camera}', found "
            f"{shortlist(sorted(channels.values()))}: correct --camera"
        )
    table = tables["calibrated_sensor"]
    found = {}
    for record in table:
        channel = channels.get(table.text(record, "sensor_token"))
        if channel in (LIDAR, camera) and channel is not None:
            matrix = table.intrinsic(record) if channel == camera else None
            pose = pose_matrix(np.array(table.pose(record)))
            found[record["token"]] = _Sensor(channel, pose, matrix)
    return found


def _add_recorded(
    found: dict[str, _Scene],
    tables: dict[str, Table],
    scene_of: dict[str, str],
    sensors: dict[str, _Sensor],
) -> dict[str, dict[str, _Sensor]]:
    """Add clouds and images to their scenes; return the sensors of each scene by channel."""
    table = tables["sample_data"]
    records = [
        record
        for record in table
        if record.get("sample_token") in scene_of
        and record.get("calibrated_sensor_token") in sensors
    ]
    needed = {table.text(record, "ego_pose_token") for record in records}
    poses = {
        record["token"]: tables["ego_pose"].pose(record)
        for record in tables["ego_pose"]
        if record["token"] in needed
    }
    table.require(needed, poses, "ego_pose")
    rigs: dict[str, dict[str, _Sensor]] = {name: {} for name in found}
    for record in records:
        sensor = sensors[record["calibrated_sensor_token"]]
        name = scene_of[record["sample_token"]]
        rigs[name][sensor.channel] = sensor
        world_from_ego = pose_matrix(np.array(poses[record["ego_pose_token"]]))
        recorded = _Recorded(
            table.integer(record, "timestamp"),
            table.text(record, "filename"),
            record["sample_token"] if table.flag(record, "is_key_frame") else None,
            world_from_ego @ sensor.ego_from_sensor,
        )
        scene = found[name]
        (scene.clouds if sensor.channel == LIDAR else scene.images).append(recorded)
    return rigs


def _add_boxes(
    found: dict[str, _Scene], tables: dict[str, Table], scene_of: dict[str, str]
) -> None:
    """Add the annotations to their scenes, by sample, with the name of their category."""
    categories = {
        record["token"]: tables["category"].text(record, "name") for record in tables["category"]
    }
    instances = tables["instance"]
    category_of = {
        record["token"]: instances.text(record, "category_token") for record in instances
    }
    table = tables["sample_annotation"]
    for record in table:
        sample = table.text(record, "sample_token")
        if sample not in scene_of:
            continue
        instance = table.text(record, "instance_token")
        table.require([instance], category_of, "instance")
        instances.require([category_of[instance]], categories, "category")
        found[scene_of[sample]].boxes[sample].append(
            {
                "class": categories[category_of[instance]],
                "instance": instance,
                "world_from_box": pose_matrix(np.array(table.pose(record))),
                "size": table.vector(record, "size", 3),
            }
        )


def _write_scene(
    data_root: Path, folder: Path, scene: _Scene, rig: dict[str, _Sensor]
) -> SceneSummary:
    if not scene.clouds:
        raise ValueError(
            f"{data_root}: expected clouds of {LIDAR} in '{folder.name}', found none: "
            "leave the scene out with --scenes"
        )
    clouds = sorted(scene.clouds, key=lambda cloud: cloud.time_us)
    has_camera = any(channel != LIDAR for channel in rig)
    image_of = _matched(clouds, scene.images) if has_camera else {}
    kept = [cloud for cloud in clouds if not has_camera or cloud.file in image_of]
    stems = {f"{cloud.time_us / 1e6:.6f}": cloud for cloud in kept}
    for stem, cloud in stems.items():
        _link(data_root / cloud.file, folder / "clouds" / f"{stem}.pcd.bin")
        if has_camera:
            image = image_of[cloud.file]
            path = folder / "images" / f"{stem}{Path(image.file).suffix}"
            _link(data_root / image.file, path)
    write_poses(folder / POSES, {stem: c.world_from_sensor for stem, c in stems.items()})
    write_json(_calibration(rig), folder / "calib.json")
    tracks: dict[str, int] = {}
    boxes = {
        stem: [_box(record, cloud, tracks) for record in scene.boxes[cloud.sample]]
        for stem, cloud in stems.items()
        if cloud.sample is not None
    }
    write_json(boxes, folder / "boxes.json")
    moved = [_moved_m(cloud, image_of[cloud.file], rig) for cloud in kept] if has_camera else []
    return SceneSummary(
        clouds=len(kept),
        left_out=len(clouds) - len(kept),
        boxes=sum(map(len, boxes.values())),
        moved_m=max(moved, default=0.0),
    )


def _matched(clouds: Iterable[_Recorded], images: Sequence[_Recorded]) -> dict[str, _Recorded]:
    """Return the image of each cloud: that of its key frame, or the nearest in time."""
    of_sample = {image.sample: image for image in images if image.sample is not None}
    found = {}
    for cloud in clouds:
        image = None if cloud.sample is None else of_sample.get(cloud.sample)
        if image is None:
            image = min(images, key=lambda image: abs(image.time_us - cloud.time_us), default=None)
            if image is None or abs(image.time_us - cloud.time_us) > TOLERANCE_S * 1e6:
                continue
        found[cloud.file] = image
    return found


def _link(source: Path, path: Path) -> None:
    """Link a file of the data set.

    Raises:
        FileNotFoundError: If it does not exist.
    """
    if not source.is_file():
        raise FileNotFoundError(
            f"{source} not found, which the tables name: unpack samples and sweeps of nuScenes, or "
            "leave its scene out with --scenes"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(source.resolve())


def _calibration(rig: dict[str, _Sensor]) -> dict[str, Any]:
    """Return the content of ``calib.json``: the network's axes are those of the vehicle."""
    lidar = rig[LIDAR]
    network_from_lidar = lidar.ego_from_sensor.copy()
    network_from_lidar[:3, 3] = 0, 0, lidar.ego_from_sensor[2, 3] - layout.LIDAR_HEIGHT_M
    cameras = {
        channel: {
            "pixel_from_cam": sensor.matrix,
            "cam_from_lidar": (
                np.linalg.inv(sensor.ego_from_sensor) @ lidar.ego_from_sensor
            ).tolist(),
        }
        for channel, sensor in rig.items()
        if channel != LIDAR
    }
    return {
        "cameras": cameras,
        "network_from_lidar": network_from_lidar.tolist(),
        "intensity_max": 255,
        "columns": 5,
    }


def _box(record: Record, cloud: _Recorded, tracks: dict[str, int]) -> Record:
    """Return an entry of ``boxes.json``."""
    lidar_from_box = np.linalg.inv(cloud.world_from_sensor) @ record["world_from_box"]
    width, length, height = record["size"]
    return {
        "class": record["class"],
        "center": lidar_from_box[:3, 3].tolist(),
        "size": [length, width, height],
        "yaw": float(np.arctan2(lidar_from_box[1, 0], lidar_from_box[0, 0])),
        "track": tracks.setdefault(record["instance"], len(tracks)),
    }


def _moved_m(cloud: _Recorded, image: _Recorded, rig: dict[str, _Sensor]) -> float:
    """Return how far the camera is from where the calibration puts it at the time of the cloud."""
    camera = next(sensor for channel, sensor in rig.items() if channel != LIDAR)
    world_from_ego = cloud.world_from_sensor @ np.linalg.inv(rig[LIDAR].ego_from_sensor)
    at_cloud = world_from_ego @ camera.ego_from_sensor
    return float(np.linalg.norm(at_cloud[:3, 3] - image.world_from_sensor[:3, 3]))
