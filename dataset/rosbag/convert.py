"""Converts a bag to a recording: matches, calibrates, then writes one message after the other.

Only stamps, poses and transforms are kept in memory. Files appear whole, so that an interrupted
conversion resumes; ``conversion.json`` refuses to resume with other options.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dataset.cloud_rule import estimated_intensity_max
from dataset.file_content import read_json
from dataset.recorded_poses import POSES, write_poses
from dataset.rig import read_rig
from dataset.rosbag.bag import Bag
from dataset.rosbag.matching import Frame, match_frames, stamps_of, usual_tolerance_ns
from dataset.rosbag.mounts import Mount, find_mounts
from dataset.rosbag.survey import (
    ConversionOptions,
    PoseSource,
    Survey,
    pose_source,
    survey,
)
from dataset.rosbag.writer import TIME_COLUMN, RecordingWriter
from utils.folder_lock import locked
from utils.whole_files import remove_leftovers, write_json

SETTINGS = "conversion.json"

logger = logging.getLogger(__name__)


def convert(bag: Bag, paths: Sequence[Path], out: Path, options: ConversionOptions) -> int:
    """Write the recording, and log what was left out.

    Args:
        bag: The open bag.
        paths: Its files.
        out: Folder of the recording.
        options: What to convert.

    Returns:
        The number of frames.

    Raises:
        ValueError: If a topic, a message or a calibration cannot be used, if nothing matches, or
            if the folder holds another conversion or recording.
    """
    with locked(out):
        for folder in (out / "clouds", out / "images", *(out / "images").glob("*/")):
            remove_leftovers(folder)
        _check_settings(out, _settings(paths, options))
        found = survey(bag, options)
        frames, left_out = _matched(found, options)
        poses = pose_source(found, options)
        if poses is not None:
            frames, unposed = _with_pose(frames, poses)
            left_out["clouds without a pose at their time"] = unposed
        _require_frames(bag, frames, left_out)
        mounts = find_mounts(bag, found, options, frames)
        writer = RecordingWriter(bag, out, options, mounts, poses)
        writer.write(frames)
        left_out.update(writer.left_out)
        written = [frame for frame in frames if frame.stem not in writer.dropped]
        _require_frames(bag, written, left_out)
        if poses is not None:
            matrices, _ = poses(stamps_of(written))
            stems = [frame.stem for frame in written]
            write_poses(out / POSES, dict(zip(stems, matrices, strict=True)))
        write_json(_calibration(out, options, mounts, writer, written), out / "calib.json")
    for reason, count in (+left_out).items():
        logger.warning("left out: %d %s", count, reason)
    return len(written)


def _settings(paths: Sequence[Path], options: ConversionOptions) -> dict[str, Any]:
    """Return everything that decides about the files, as JSON has it."""
    files = [
        [file.name, file.stat().st_size]
        for path in paths
        for file in (sorted(path.rglob("*")) if path.is_dir() else [path])
        if file.is_file()
    ]
    settings: dict[str, Any] = {"bags": files} | asdict(options)
    if options.calibration is not None:
        if read_rig(options.calibration).states_frame and options.lidar_height_m is not None:
            raise ValueError(
                f"{options.calibration}: expected network_from_lidar or --lidar-height, as both "
                "set the height, found both"
            )
        settings["calibration"] = read_json(options.calibration)
    return json.loads(json.dumps(settings))


def _check_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder of other settings, or with a recording of other origin."""
    path = out / SETTINGS
    if path.exists():
        earlier = read_json(path)
        known = earlier if isinstance(earlier, dict) else {}
        differing = [key for key in settings if known.get(key) != settings[key]]
        if differing:
            key = differing[0]
            raise ValueError(
                f"{path}: expected the settings of this conversion, found another '{key}': "
                f"{known.get(key)!r}, not {settings[key]!r}. Choose another folder, or remove it"
            )
        return
    existing = [name for name in ("images", "clouds", "calib.json") if (out / name).exists()]
    if existing:
        raise ValueError(
            f"{out}: expected an empty folder or an earlier conversion, found {existing[0]} "
            f"without {SETTINGS}. Choose another folder"
        )
    write_json(settings, path)


def _matched(found: Survey, options: ConversionOptions) -> tuple[list[Frame], Counter[str]]:
    clouds_ns = found.unique_ns(options.clouds)
    images_ns = {camera: found.unique_ns(topic) for camera, topic in options.images.items()}
    tolerance_ns = usual_tolerance_ns(clouds_ns)
    if options.tolerance_s is not None:
        tolerance_ns = round(options.tolerance_s * 1e9)
    frames, left_out = match_frames(clouds_ns, images_ns, tolerance_ns)
    for topic in (options.clouds, *options.images.values()):
        repeated = len(found.stamps_ns[topic]) - len(found.unique_ns(topic))
        left_out[f"messages of '{topic}' with the stamp of another"] = repeated
    return frames, left_out


def _with_pose(frames: Sequence[Frame], poses: PoseSource) -> tuple[list[Frame], int]:
    _, known = poses(stamps_of(frames))
    kept = [frame for frame, is_known in zip(frames, known, strict=True) if is_known]
    return kept, len(frames) - len(kept)


def _require_frames(bag: Bag, frames: Sequence[Frame], left_out: Counter[str]) -> None:
    if not frames:
        reasons = "; ".join(f"{count} {reason}" for reason, count in (+left_out).items())
        raise ValueError(
            f"{bag.name}: expected at least one complete frame, found none: {reasons}. Compare the "
            "stamps of the sensors, or allow more time between them with --tolerance"
        )


def _calibration(
    out: Path,
    options: ConversionOptions,
    mounts: Mapping[str, Mount],
    writer: RecordingWriter,
    frames: Sequence[Frame],
) -> dict[str, Any]:
    """Return the content of calib.json."""
    stated = {} if options.calibration is None else read_json(options.calibration)
    content: dict[str, Any] = {
        "cameras": {
            name: {
                "pixel_from_cam": mount.camera.pixel_from_cam.tolist(),
                "cam_from_lidar": mount.cam_from_lidar.tolist(),
            }
            for name, mount in mounts.items()
        }
    }
    for key in ("lidar_height_m", "network_from_lidar"):
        if key in stated:
            content[key] = stated[key]
    if options.lidar_height_m is not None:
        content["lidar_height_m"] = options.lidar_height_m
    content["columns"] = writer.columns
    if options.point_times:
        content["time_column"] = TIME_COLUMN
    intensity_max = stated.get("intensity_max", writer.intensity_max)
    if writer.columns > 3:
        largest = np.array([_largest_intensity(writer, frame) for frame in frames])
        if intensity_max is None:
            intensity_max = estimated_intensity_max(largest)
        logger.info(
            "the intensity of %d clouds reaches %.4g: intensity_max is %s",
            len(frames),
            largest.max(),
            "not stated, as all are 0" if intensity_max is None else f"{intensity_max:g}",
        )
        if intensity_max is not None:
            content["intensity_max"] = intensity_max
    return content


def _largest_intensity(writer: RecordingWriter, frame: Frame) -> float:
    rows = np.fromfile(writer.cloud_path(frame), "<f4").reshape(-1, writer.columns)
    return float(rows[:, 3].max())
