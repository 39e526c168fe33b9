"""The frames of a recording with their poses, and the clips that they are labeled in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from dataset import layout
from dataset.clouds import SUFFIXES as CLOUD_SUFFIXES
from dataset.labeling.options import LabelOptions
from dataset.layout import IMAGE_SUFFIXES
from dataset.recorded_clouds import RecordedClouds
from dataset.recorded_track import key_frames, read_track, scenes_of
from dataset.recording import files_by_stem, size_of_all
from dataset.rig import read_rig
from utils.shortlist import shortlist


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
        ValueError: If a file is invalid, or images differ in size.
    """
    rig = read_rig(root / "calib.json")
    files = files_by_stem(root / "clouds", CLOUD_SUFFIXES)
    track = read_track(root, files)
    stems = track.stems
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
        size_of_all([images[stem] for stem in stems])
    clouds = RecordedClouds({stem: files[stem] for stem in stems}, rig, layout.LIDAR_HEIGHT_M)
    if images:
        projection = clouds.rig.pixel_from_lidar[name]
    lidar_from_network = np.linalg.inv(clouds.rig.network_from_lidar)
    return Drive(
        root=root,
        stems=stems,
        times_s=track.times_s,
        world_from_lidar=track.world_from_cloud @ lidar_from_network,
        clouds=clouds,
        images=images,
        pixel_from_lidar=projection,
    )


def cut_clips(drive: Drive, options: LabelOptions) -> list[Clip]:
    """Cut a drive into clips; each has frames of one scene only."""
    clips = []
    times = drive.times_s
    for scene, frames in enumerate(scenes_of(times, drive.world_from_lidar[:, :3, 3])):
        first, last = frames.start, frames.stop
        keys = key_frames(times, frames, options.key_every_s)
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


def _camera(root: Path, cameras: list[str], wanted: str | None) -> str:
    if wanted is None and len(cameras) == 1:
        return cameras[0]
    if wanted in cameras:
        return str(wanted)
    raise ValueError(
        f"{root / 'calib.json'}: expected one camera, or --camera with one of {cameras}, found "
        f"{'no --camera' if wanted is None else repr(wanted)}"
    )
