"""The frames of a recording with their poses, and the clips that they are labeled in."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from dataset import layout
from dataset.clouds import SUFFIXES as CLOUD_SUFFIXES
from dataset.inventory import time_order
from dataset.labeling.options import LabelOptions
from dataset.layout import IMAGE_SUFFIXES
from dataset.recorded_clouds import RecordedClouds
from dataset.recorded_poses import POSES, read_poses
from dataset.recording import files_by_stem
from dataset.rig import read_rig
from utils.shortlist import shortlist

_GAP_S = 2.0
"""Frames further apart than this do not belong to the same scene."""
_FASTEST_MPS = 60.0
"""Neither do those that only a faster vehicle could connect."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drive:
    """A recording that can be labeled.

    Attributes:
        root: Folder of the recording.
        stems: Stem of each frame, in time order.
        times_s: Time of each frame [s].
        world_from_lidar: Pose of the LiDAR, in the frame of the network, at each frame.
        clouds: The point clouds.
        images: Image of each frame; empty without a camera.
        pixel_from_lidar: Projection into the images; None without a camera.
    """

    root: Path
    stems: tuple[str, ...]
    times_s: Float64[np.ndarray, " F"]
    world_from_lidar: Float64[np.ndarray, "F 4 4"]
    clouds: RecordedClouds
    images: dict[str, Path]
    pixel_from_lidar: Float64[np.ndarray, "4 4"] | None


@dataclass(frozen=True)
class Clip:
    """Frames that are labeled from one map.

    Attributes:
        scene: Number of the scene in the drive.
        frames: Frames of the clip.
        keys: Those of them that are labeled.
        context: Frames whose clouds make up the map.
    """

    scene: int
    frames: range
    keys: tuple[int, ...]
    context: range


def read_drive(root: Path, camera: str | None = None) -> Drive:
    """Read calibration, poses and the names of the files.

    Args:
        root: Folder with ``clouds/``, ``calib.json``, ``poses.txt`` and, with a camera,
            ``images/``.
        camera: Name of the camera to use; needed if there are several.

    Raises:
        FileNotFoundError: If a file or folder is missing.
        ValueError: If a file is invalid, or frames lack images.
    """
    rig = read_rig(root / "calib.json")
    if not (root / POSES).is_file():
        raise FileNotFoundError(
            f"{root / POSES} not found: labels need the pose of each cloud. Estimate them with "
            "tools/estimate_poses.py"
        )
    files = files_by_stem(root / "clouds", CLOUD_SUFFIXES)
    poses = read_poses(root / POSES)
    stems = sorted(files.keys() & poses.keys(), key=time_order)
    if not stems:
        raise ValueError(
            f"{root / POSES}: expected poses of the clouds, found none of their stems: the first "
            "column must be the name of a cloud"
        )
    wrong = [stem for stem in stems if not _is_time(stem)]
    if wrong:
        raise ValueError(
            f"{root}: expected the time in seconds as name of each cloud, found {shortlist(wrong)}"
        )
    if len(stems) < len(files):
        logger.warning(
            "left out: %d of %d clouds of '%s' without a pose", len(files) - len(stems),
            len(files), root,
        )  # fmt: skip
    images: dict[str, Path] = {}
    projection = None
    if rig.pixel_from_lidar and (root / "images").is_dir():
        name = _camera(root, list(rig.pixel_from_lidar), camera)
        folder = root / "images" / (name if len(rig.pixel_from_lidar) > 1 else "")
        images = files_by_stem(folder, IMAGE_SUFFIXES)
        missing = [stem for stem in stems if stem not in images]
        if missing:
            raise FileNotFoundError(
                f"{folder} lacks images of {len(missing)} of {len(stems)} clouds: "
                f"{shortlist(missing)}: remove these clouds, or the folder"
            )
    clouds = RecordedClouds({stem: files[stem] for stem in stems}, rig, layout.LIDAR_HEIGHT_M)
    if images:
        projection = clouds.rig.pixel_from_lidar[name]
    lidar_from_network = np.linalg.inv(clouds.rig.network_from_lidar)
    return Drive(
        root=root,
        stems=tuple(stems),
        times_s=np.array([float(stem) for stem in stems]),
        world_from_lidar=np.stack([poses[stem] @ lidar_from_network for stem in stems]),
        clouds=clouds,
        images=images,
        pixel_from_lidar=projection,
    )


def cut_clips(drive: Drive, options: LabelOptions) -> list[Clip]:
    """Cut a drive into clips; each has frames of one scene only."""
    clips = []
    for scene, (first, last) in enumerate(_scenes(drive)):
        times = drive.times_s
        keys = _keys(times, first, last, options.key_every_s)
        duration = times[last - 1] - times[first]
        number = max(1, int(np.ceil(duration / options.clip_s)))
        edges = times[first] + duration * np.arange(number + 1) / number
        starts = first + np.searchsorted(times[first:last], edges)
        starts[-1] = last
        for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            inside = (times[first:last] >= times[begin] - options.context_s) & (
                times[first:last] <= times[end - 1] + options.context_s
            )
            context = first + np.flatnonzero(inside)
            clips.append(
                Clip(
                    scene,
                    range(begin, end),
                    tuple(key for key in keys if begin <= key < end),
                    range(int(context[0]), int(context[-1]) + 1),
                )
            )
    return clips


def _scenes(drive: Drive) -> Iterator[tuple[int, int]]:
    """Yield first and last frame (exclusive) of each scene."""
    duration = np.diff(drive.times_s)
    distance = np.linalg.norm(np.diff(drive.world_from_lidar[:, :3, 3], axis=0), axis=1)
    is_gap = (duration > _GAP_S) | (distance > _FASTEST_MPS * np.maximum(duration, 0.05))
    ends = [*(np.flatnonzero(is_gap) + 1).tolist(), len(drive.stems)]
    yield from zip([0, *ends[:-1]], ends, strict=True)


def _keys(times: Float64[np.ndarray, " F"], first: int, last: int, every_s: float) -> list[int]:
    """Return the first frame, and each that is due after the one before."""
    keys = [first]
    for frame in range(first + 1, last):
        if times[frame] - times[keys[-1]] > every_s - 0.01:  # The stamps of sensors jitter.
            keys.append(frame)
    return keys


def _camera(root: Path, cameras: list[str], wanted: str | None) -> str:
    if wanted is None and len(cameras) == 1:
        return cameras[0]
    if wanted in cameras:
        return str(wanted)
    raise ValueError(
        f"{root / 'calib.json'}: expected one camera, or --camera with one of {cameras}, found "
        f"{'no --camera' if wanted is None else repr(wanted)}"
    )


def _is_time(stem: str) -> bool:
    try:
        return bool(np.isfinite(float(stem)))
    except ValueError:
        return False
