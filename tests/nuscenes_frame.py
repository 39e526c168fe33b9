"""Turns a recorded key frame of nuScenes with plain calibration into nuScenes' own layout."""

import json
import os
import shutil
from pathlib import Path

import numpy as np

from dataset.nuscenes.index import CAMERAS, LIDAR
from tests.kitti_frame import DEFAULT, VARIABLE
from tests.nuscenes_files import token, write_table
from utils.quaternions import quaternion_xyzw

SCENE = "scene-0061"
IMAGE_SIZE = (900, 1600)


def find_nuscenes() -> Path | None:
    """Folder of the recorded frame, or None where there is none."""
    folder = Path(os.environ.get(VARIABLE, DEFAULT)) / "nuscenes_ca9a282c"
    return folder if (folder / "calib.json").is_file() else None


def convert_frame(folder: Path, root: Path) -> str:
    """Write one scene of one sample, as v1.0-mini begins with it; returns the sample's token.

    The calibration gives each camera's pose against the LiDAR at the camera's own time; the
    vehicle's pose at that time follows from it.

    Args:
        folder: Images, cloud and ``calib.json``.
        root: Folder of the new data set.
    """
    calibration = json.loads((folder / "calib.json").read_text(encoding="utf-8"))
    lidar = calibration["lidar"]
    ego_from_lidar = np.array(lidar["lidar2ego"])
    world_from_lidar = np.array(calibration["ego2global"]) @ ego_from_lidar
    sample = calibration["sample_token"]
    time_us = round(calibration["timestamp_s"] * 1e6)
    tables: dict[str, list[dict]] = {
        "scene": [{"token": token(SCENE), "name": SCENE}],
        "sample": [{"token": sample, "timestamp": time_us, "scene_token": token(SCENE)}],
        "sensor": [{"token": token(name), "channel": name} for name in (LIDAR, *CAMERAS)],
        "calibrated_sensor": [],
        "sample_data": [],
        "ego_pose": [],
    }
    for channel in (LIDAR, *CAMERAS):
        if channel == LIDAR:
            file, at_us, intrinsic = lidar["file"], time_us, []
            world_from_sensor, ego_from_sensor = world_from_lidar, ego_from_lidar
        else:
            camera = calibration["cams"][channel]
            file, at_us, intrinsic = camera["file"], round(camera["timestamp_s"] * 1e6), camera["K"]
            world_from_sensor = world_from_lidar @ np.linalg.inv(camera["lidar2cam"])
            ego_from_sensor = np.array(camera["cam2ego"])
        target = root / "samples" / channel / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / file, target)
        world_from_ego = world_from_sensor @ np.linalg.inv(ego_from_sensor)
        own = token(channel, "own")
        tables["calibrated_sensor"].append(
            {
                "token": own,
                "sensor_token": token(channel),
                **_pose(ego_from_sensor),
                "camera_intrinsic": intrinsic,
            }
        )
        tables["ego_pose"].append({"token": own, **_pose(world_from_ego)})
        height, width = (0, 0) if channel == LIDAR else IMAGE_SIZE
        tables["sample_data"].append(
            {
                "token": own,
                "sample_token": sample,
                "ego_pose_token": own,
                "calibrated_sensor_token": own,
                "timestamp": at_us,
                "is_key_frame": True,
                "height": height,
                "width": width,
                "filename": f"samples/{channel}/{file}",
                "prev": "",
            }
        )
    for name, records in tables.items():
        write_table(root / "v1.0-mini" / f"{name}.json", records)
    return sample


def _pose(matrix: np.ndarray) -> dict[str, list[float]]:
    x, y, z, w = quaternion_xyzw(matrix[:3, :3]).tolist()
    return {"translation": matrix[:3, 3].tolist(), "rotation": [w, x, y, z]}
