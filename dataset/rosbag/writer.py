"""Writes the clouds and images of a recording, one message of the bag after the other."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from dataset.rosbag.bag import NANOSECONDS, Bag, Message
from dataset.rosbag.camera import Camera
from dataset.rosbag.images import JPEG_START, DamagedImageError, compressed_bytes, read_rgb
from dataset.rosbag.matching import Frame
from dataset.rosbag.motion import deskewed
from dataset.rosbag.mounts import Mount
from dataset.rosbag.survey import ConversionOptions, PoseSource
from dataset.rosbag.sweeps import TIME_FIELDS, Sweep, read_sweep
from utils.progress import with_progress
from utils.whole_files import write_whole

JPEG_QUALITY = 95
TIME_COLUMN = 5
"""Column of the times of points, from 1. Without an intensity, that is 0."""
POSE_STEP_NS = 50_000
"""Points within this time share a pose: at 30 m/s, that is at most 0.8 mm off."""

logger = logging.getLogger(__name__)


class RecordingWriter:
    """Writes the images and clouds of frames as their messages come.

    Args:
        bag: The open bag.
        out: Folder of the recording.
        options: What to convert.
        mounts: The cameras by name.
        poses: Poses by time; None if the bag has none.

    Attributes:
        columns: Columns of all clouds, once ``write`` was called; 0 before.
        intensity_max: That of the first sweep.
        dropped: Stems of frames that turned out to be unusable.
        left_out: Numbers of these by reason.
    """

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
