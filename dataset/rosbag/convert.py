"""Converts a bag to a recording: matches, calibrates, then writes one message after the other.

Only stamps, poses and transforms are kept in memory. Files appear whole, so that an interrupted
conversion resumes; ``conversion.json`` refuses to resume with other options.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from dataset.cloud_rule import estimated_intensity_max
from dataset.formats import read_json
from dataset.recorded_poses import POSES, write_poses
from dataset.rig import read_rig
from dataset.rosbag.bag import NANOSECONDS, Bag, Message
from dataset.rosbag.camera import Camera, read_camera
from dataset.rosbag.images import JPEG_START, DamagedImageError, compressed_bytes, read_rgb
from dataset.rosbag.matching import Frame, match_frames, usual_tolerance_ns
from dataset.rosbag.motion import deskewed
from dataset.rosbag.survey import (
    ConversionOptions,
    PoseSource,
    Survey,
    info_topic,
    pose_source,
    survey,
)
from dataset.rosbag.sweeps import TIME_FIELDS, Sweep, read_sweep
from utils.folder_lock import locked
from utils.progress import with_progress
from utils.whole_files import remove_leftovers, write_json, write_whole

SETTINGS = "conversion.json"
JPEG_QUALITY = 95
TIME_COLUMN = 5
"""Column of the times of points, from 1. Without an intensity, that is 0."""
POSE_STEP_NS = 50_000
"""Points within this time share a pose: at 30 m/s, that is at most 0.8 mm off."""
SAME_PLACE_M = 0.01
SAME_ANGLE_DEG = 0.2
"""A camera that moves less than both, relative to the LiDAR, is fixed."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mount:
    """A camera and where it is.

    Attributes:
        camera: The camera.
        cam_from_lidar: Its pose.
    """

    camera: Camera
    cam_from_lidar: Float64[np.ndarray, "4 4"]


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
        mounts = _mounts(bag, found, options, frames)
        writer = _Writer(bag, out, options, mounts, poses)
        writer.write(frames)
        left_out.update(writer.left_out)
        written = [frame for frame in frames if frame.stem not in writer.dropped]
        _require_frames(bag, written, left_out)
        if poses is not None:
            matrices, _ = poses(_stamps(written))
            stems = [frame.stem for frame in written]
            write_poses(out / POSES, dict(zip(stems, matrices, strict=True)))
        write_json(_calibration(out, options, mounts, writer, written), out / "calib.json")
    for reason, count in (+left_out).items():
        logger.warning("left out: %d %s", count, reason)
    return len(written)


class _Writer:
    """Writes the images and clouds of frames as their messages come."""

    def __init__(
        self,
        bag: Bag,
        out: Path,
        options: ConversionOptions,
        mounts: Mapping[str, Mount],
        poses: PoseSource | None,
    ) -> None:
        self._bag = bag
        self._out = out
        self._options = options
        self._mounts = mounts
        self._poses = poses
        self.columns = 0
        self.intensity_max: float | None = None
        self.dropped: set[str] = set()
        self.left_out: Counter[str] = Counter()

    def write(self, frames: Sequence[Frame]) -> None:
        """Write what is missing of the frames, and remove those that turn out to be unusable."""
        options = self._options
        wanted: dict[tuple[str, int], tuple[Frame, str | None]] = {}
        for frame in frames:
            wanted[options.clouds, frame.stamp_ns] = frame, None
            for camera, stamp_ns in frame.images.items():
                wanted[options.images[camera], stamp_ns] = frame, camera
        self._probe(frames)
        topics = {options.clouds, *options.images.values()}
        messages = self._bag.messages(topics)
        for message in with_progress(messages, "convert", self._bag.count(topics)):
            # Of messages with the same stamp, the first counts.
            part = wanted.pop((message.topic, message.stamp_ns), None)
            if part is not None and part[0].stem not in self.dropped:
                self._write_part(*part, message)
        for frame in frames:
            if frame.stem in self.dropped:
                for name in (None, *frame.images):
                    self._path(frame, name).unlink(missing_ok=True)

    def cloud_path(self, frame: Frame) -> Path:
        """Return the file of a frame's cloud."""
        return self._out / "clouds" / f"{frame.stem}.bin"

    def _path(self, frame: Frame, camera: str | None) -> Path:
        """Return the file of an image, or of the cloud without a camera."""
        if camera is None:
            return self.cloud_path(frame)
        folder = self._out / "images"
        return (folder if len(self._mounts) == 1 else folder / camera) / f"{frame.stem}.jpg"

    def _probe(self, frames: Sequence[Frame]) -> None:
        """Read the first cloud, which says what columns all have."""
        for message in self._bag.messages({self._options.clouds}):
            sweep = self._sweep(message)
            self.columns = _rows(sweep, message.stamp_ns, self._options).shape[1]
            self.intensity_max = sweep.intensity_max
            return

    def _sweep(self, message: Message) -> Sweep:
        where = f"{self._bag.name}, '{message.topic}'"
        decoded = self._bag.decode(message)
        sweep = read_sweep(decoded, message.stamp_ns, where, with_times=self._options.reads_times)
        if self._options.reads_times and sweep.times_ns is None:
            raise ValueError(
                f"{where}: expected a field with the times of the points, one of "
                f"{', '.join(TIME_FIELDS)}, found none: convert without --deskew "
                "and --point-times"
            )
        return sweep

    def _write_part(self, frame: Frame, camera: str | None, message: Message) -> None:
        path = self._path(frame, camera)
        if path.exists():
            return
        if camera is None:
            points = self._points(frame, message)
            if points is not None:
                write_whole(path, np.ascontiguousarray(points, "<f4").tobytes())
            return
        where = f"{self._bag.name}, '{message.topic}' at {frame.stem}"
        try:
            encoded = self._encoded(self._bag.decode(message), self._mounts[camera].camera, where)
        except DamagedImageError as error:
            self._drop(frame, f"frames with a damaged image of '{camera}'")
            logger.warning("%s", error)
            return
        write_whole(path, encoded)

    def _points(self, frame: Frame, message: Message) -> Float32[np.ndarray, "P C"] | None:
        """Return the points to write; None if the frame is dropped."""
        sweep = self._sweep(message)
        points = _rows(sweep, message.stamp_ns, self._options)
        if points.shape[1] != self.columns:
            raise ValueError(
                f"{self._bag.name}: expected {self.columns} columns in all clouds of "
                f"'{message.topic}', found {points.shape[1]} at {frame.stem}"
            )
        if not len(points):
            self._drop(frame, "clouds without points")
            return None
        if self._poses is None or sweep.times_ns is None or not self._options.deskew:
            return points
        steps = np.rint((sweep.times_ns - frame.stamp_ns) / POSE_STEP_NS).astype(np.int64)
        times_ns = frame.stamp_ns + steps * POSE_STEP_NS
        unique_ns = np.unique(times_ns)
        poses, known = self._poses(np.append(unique_ns, frame.stamp_ns))
        if not known.all():
            self._drop(frame, "clouds without poses during the whole sweep")
            return None
        return deskewed(points, times_ns, poses[-1], unique_ns, poses[:-1])

    def _encoded(self, message: Any, camera: Camera, where: str) -> bytes:
        image = read_rgb(message, self._options.image_max, where)
        size = (image.shape[1], image.shape[0])
        if camera.size is not None and size != camera.size:
            raise ValueError(
                f"{where}: expected images of {camera.size[0]}×{camera.size[1]} px, as their "
                f"CameraInfo says, found {size[0]}×{size[1]}. State the topic of the right one "
                "with --camera-info"
            )
        if camera.undistort is not None:
            return _jpeg(camera.undistort(image))
        is_jpeg = not hasattr(message, "encoding") and message.format.find("bayer") < 0
        if is_jpeg and compressed_bytes(message).startswith(JPEG_START):
            return compressed_bytes(message)
        return _jpeg(image)

    def _drop(self, frame: Frame, reason: str) -> None:
        self.dropped.add(frame.stem)
        self.left_out[reason] += 1


def _rows(sweep: Sweep, stamp_ns: int, options: ConversionOptions) -> Float32[np.ndarray, "P C"]:
    """Return the columns to write: those of the sweep, and the times [s] from the stamp."""
    if sweep.times_ns is None or not options.point_times:
        return sweep.points
    rows = np.zeros((len(sweep.points), TIME_COLUMN), np.float32)
    rows[:, : sweep.points.shape[1]] = sweep.points
    rows[:, -1] = (sweep.times_ns - stamp_ns) / NANOSECONDS
    return rows


def _jpeg(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return bytes(encoded)


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
    _, known = poses(_stamps(frames))
    kept = [frame for frame, is_known in zip(frames, known, strict=True) if is_known]
    return kept, len(frames) - len(kept)


def _require_frames(bag: Bag, frames: Sequence[Frame], left_out: Counter[str]) -> None:
    if not frames:
        reasons = "; ".join(f"{count} {reason}" for reason, count in (+left_out).items())
        raise ValueError(
            f"{bag.name}: expected at least one complete frame, found none: {reasons}. Compare the "
            "stamps of the sensors, or allow more time between them with --tolerance"
        )


def _mounts(
    bag: Bag, found: Survey, options: ConversionOptions, frames: Sequence[Frame]
) -> dict[str, Mount]:
    """Return the cameras, from the calibration file or from the bag.

    Raises:
        ValueError: If a calibration is missing or cannot be used.
    """
    stated = {} if options.calibration is None else read_json(options.calibration)
    cameras = stated.get("cameras", {})
    if stated and options.images and set(cameras) != set(options.images):
        raise ValueError(
            f"{options.calibration}: expected the cameras {sorted(options.images)}, found "
            f"{sorted(cameras)}. Name the topics as the file does: --images NAME=TOPIC"
        )
    mounts = {}
    for name, topic in options.images.items():
        info = info_topic(bag, options, name)
        given = cameras.get(name)
        matrix = None if given is None else np.array(given["pixel_from_cam"], np.float64)
        if info is not None:
            is_rectified = "rect" in topic.removesuffix("/compressed").rpartition("/")[2]
            where = f"{bag.name}, '{info}'"
            camera = read_camera(found.infos[info], where, is_rectified=is_rectified, stated=matrix)
        elif matrix is not None:
            camera = Camera(None, matrix, None)
            logger.warning(
                "'%s' has no CameraInfo: its images are taken to be undistorted, with the camera "
                "matrix of %s",
                topic,
                options.calibration,
            )
        else:
            known = ", ".join(bag.named("camera info")) or "none"
            raise ValueError(
                f"{bag.name}: expected a CameraInfo beside '{topic}', found none. Topics with "
                f"camera info: {known}. State one with --camera-info, or the file of --calib"
            )
        if given is not None:
            pose = np.array(given["cam_from_lidar"], np.float64)
        else:
            pose = _cam_from_lidar(bag, found, options, topic, frames)
        mounts[name] = Mount(camera, pose)
    return mounts


def _cam_from_lidar(
    bag: Bag, found: Survey, options: ConversionOptions, topic: str, frames: Sequence[Frame]
) -> Float64[np.ndarray, "4 4"]:
    cam, lidar = found.frames[topic], found.frames[options.clouds]
    matrices, known = found.tree.at(cam, lidar, _stamps(frames))
    if not known.any():
        raise ValueError(
            f"{bag.name}: expected the transform from '{lidar}' to '{cam}' at the time of a frame, "
            "found it at other times only. State it with --calib"
        )
    matrices = matrices[known]
    relative = np.linalg.inv(matrices[0]) @ matrices
    moved_m = float(np.linalg.norm(relative[:, :3, 3], axis=1).max())
    cosine = (np.trace(relative[:, :3, :3], axis1=1, axis2=2).min() - 1) / 2
    turned_deg = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    if moved_m > SAME_PLACE_M or turned_deg > SAME_ANGLE_DEG:
        logger.warning(
            "the transform from '%s' to '%s' changes by up to %.3f m and %.2f° during the bag: the "
            "first one is used for all frames",
            lidar,
            cam,
            moved_m,
            turned_deg,
        )
    return matrices[0]


def _calibration(
    out: Path,
    options: ConversionOptions,
    mounts: Mapping[str, Mount],
    writer: _Writer,
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


def _largest_intensity(writer: _Writer, frame: Frame) -> float:
    rows = np.fromfile(writer.cloud_path(frame), "<f4").reshape(-1, writer.columns)
    return float(rows[:, 3].max())


def _stamps(frames: Sequence[Frame]) -> np.ndarray:
    return np.array([frame.stamp_ns for frame in frames], np.int64)
