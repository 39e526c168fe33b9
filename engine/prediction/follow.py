"""Prediction of a recording while it is recorded: frames are predicted as their files arrive.

The newest frame comes first. Frames that arrived before it and were not predicted yet are skipped,
so that a slow network falls behind by one frame at most. Skipped frames are counted.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from mmengine.config import Config

from dataset.clouds import SUFFIXES as CLOUD_SUFFIXES
from dataset.clouds import read_stored_cloud
from dataset.formats import open_image
from dataset.image_decoding import EncodedImage
from dataset.layout import IMAGE_SUFFIXES
from dataset.lost_sensors import FirstLosses, with_losses
from dataset.recorded_clouds import RecordedClouds, left_open, placed
from dataset.registration import RegistrationWatch
from dataset.rig import SUFFIXES as CALIBRATION_SUFFIXES
from dataset.rig import Rig, read_rig
from dataset.sample import Sample
from engine.build.build import input_fields, sensors_of
from engine.prediction.arrivals import Arrival, Arrivals, Side
from engine.prediction.files import FrameWriter
from engine.prediction.frames import warn_of_sweeps
from engine.prediction.predictor import GridPredictor
from utils.console import brief, say

POLL_S = 0.02
"""Time between two looks at the folders. A file is complete if it did not change in between."""

FEW_POINTS = 200
"""A cloud with fewer, as of a LiDAR that is starting, says nothing about the others."""

logger = logging.getLogger(__name__)


@dataclass
class Followed:
    """What was predicted.

    Attributes:
        latencies_s: Of each frame, from its last file to its results [s].
        skipped: Frames that a newer one came before.
        failed: Frames that could not be read.
    """

    latencies_s: list[float] = field(default_factory=list)
    skipped: int = 0
    failed: int = 0

    def __str__(self) -> str:
        """Format as one line."""
        text = f"{len(self.latencies_s)} frames predicted, {self.skipped} skipped for newer ones"
        if self.failed:
            text += f", {self.failed} unreadable"
        if self.latencies_s:
            median, p90 = np.percentile(self.latencies_s, (50, 90))
            text += (
                f"; from the last file to the results {median:.2f} s (median), {p90:.2f} s (p90)"
            )
        return text


def follow(
    cfg: Config,
    predictor: GridPredictor,
    folder: Path,
    writer: FrameWriter,
    *,
    idle_s: float | None = None,
) -> Followed:
    """Predict the frames of a folder as they arrive, until interrupted.

    Args:
        cfg: The config of the network.
        predictor: The network.
        folder: Folder with ``images/``, ``clouds/`` and ``calib.json`` or ``calib.txt``, as far as
            the network reads them. Frames that are there at the start count as arriving then.
        writer: Writes the files.
        idle_s: Time without a new frame after which to end [s]; None: never.

    Raises:
        FileNotFoundError: If the folder lacks a part.
        ValueError: If the calibration is invalid.
    """
    frames = LiveFrames(cfg, folder, predictor)
    predict = _Predict(predictor, frames, writer)
    arrivals = Arrivals(frames.sides)
    say(f"following {folder}; stop with Ctrl-C")
    active = time.monotonic()
    try:
        while idle_s is None or time.monotonic() - active < idle_s:
            arrived = arrivals.poll()
            if not arrived:
                time.sleep(POLL_S)
                continue
            predict.followed.skipped += len(arrived) - 1
            predict(arrived[-1])
            active = time.monotonic()
    except KeyboardInterrupt:
        say("stopped")
    predict.watch.close()
    return predict.followed


class _Predict:
    """Predicts and writes frames, prints how long each took, and warns once per cause."""

    def __init__(self, predictor: GridPredictor, frames: "LiveFrames", writer: FrameWriter) -> None:
        self._predictor, self._frames, self._writer = predictor, frames, writer
        self._losses = FirstLosses()
        self.watch = RegistrationWatch(predictor.grid, predictor.inputs.image_crop)
        self.followed = Followed()

    def __call__(self, arrival: Arrival) -> None:
        """Predict a frame, or warn that it cannot be read."""
        stem, marks = arrival.stem, [time.monotonic()]
        try:
            sample = self._frames.read(arrival)
        except (ValueError, OSError) as error:
            self.followed.failed += 1
            logger.warning("frame %s is left out: %s", stem, brief(error))
            return
        self._warn_of(sample)
        marks.append(time.monotonic())
        prediction = self._predictor.predict([sample])[0]
        marks.append(time.monotonic())
        if sample.images is not None:
            sample = replace(sample, images=sample.images.cpu())
        self._writer.write(sample, prediction)
        marks.append(time.monotonic())
        latency_s = marks[-1] - arrival.written_s
        self.followed.latencies_s.append(latency_s)
        read, network, write = (end - start for start, end in pairwise(marks))
        say(
            f"{stem}: {latency_s:.3f} s after its last file (read {read:.3f}, network "
            f"{network:.3f}, write {write:.3f}); {self.followed.skipped} skipped so far"
        )

    def _warn_of(self, sample: Sample) -> None:
        self.watch.see(sample.stem, sample.images, sample.pixel_from_lidar, sample.points)
        self._losses.see(sample.stem, sample.lost)


class LiveFrames:
    """Reads frames of a folder that grows.

    What the calibration leaves open is estimated from the first frame with points.

    Args:
        cfg: The config of the network.
        folder: The folder, as for ``follow``.
        predictor: The network, whose input is made.

    Attributes:
        sides: The folders that a frame has a file in.

    Raises:
        FileNotFoundError: If the folder lacks a part.
        ValueError: If the calibration is invalid, or there are two.
    """

    def __init__(self, cfg: Config, folder: Path, predictor: GridPredictor) -> None:
        self._read, self._options = predictor.read, predictor.inputs
        self._fields = input_fields(sensors_of(cfg))
        warn_of_sweeps(cfg, self._fields)
        self._folder = folder
        self._calibration = _Calibration(folder, is_needed="images" in self._fields)
        self._rig = self._calibration.rig
        self.sides = self._find_sides()
        missing = [str(side.folder) for side in self.sides if not side.folder.is_dir()]
        if missing:
            raise FileNotFoundError(
                f"{folder} lacks the folders {missing}: the recorder writes there"
            )
        self._clouds: RecordedClouds | None = None
        self._sizes: list[tuple[int, int]] = []
        if "points" not in self._fields:
            self._rig = placed(self._rig, [], self._options.lidar_height_m, f"'{folder}'")

    def _find_sides(self) -> list[Side]:
        sides = []
        if "images" in self._fields:
            images, cameras = self._folder / "images", list(self._rig.pixel_from_lidar)
            folders = [images / name for name in cameras] if len(cameras) > 1 else [images]
            sides += [Side(folder, IMAGE_SUFFIXES) for folder in folders]
        if "points" in self._fields:
            sides.append(Side(self._folder / "clouds", CLOUD_SUFFIXES))
        return sides

    def read(self, arrival: Arrival) -> Sample:
        """Read a frame.

        Raises:
            OSError: If a file is gone.
            ValueError: If a file is invalid, or an image has another size than the first one.
        """
        self._calibration.warn_of_change()
        paths, points = list(arrival.paths), None
        if "points" in self._fields:
            path = paths.pop()
            self._clouds = self._clouds or self._settled(path)
            self._rig = self._clouds.rig
            points = self._clouds.read_file(path)
        images = [open_image(path, image_max=self._rig.image_max) for path in paths]
        self._check_sizes(images)
        matrices = list(self._rig.pixel_from_lidar.values())
        sample = self._read(arrival.stem, images or None, matrices, points)
        return with_losses(sample, self._fields, drop=False)

    def _settled(self, path: Path) -> RecordedClouds:
        """Settle what the calibration leaves open by a cloud, unless that is nearly empty."""
        height_m = self._options.lidar_height_m
        unstated = left_open(self._rig, height_m)
        found = len(read_stored_cloud(path, self._rig.clouds).points) if unstated else FEW_POINTS
        if found < FEW_POINTS:
            raise ValueError(
                f"{path}: expected at least {FEW_POINTS} points in the first cloud, to estimate "
                f"{' and '.join(unstated)}, found {found}. State what is estimated in calib.json "
                "(docs/custom_data.md), and such frames are predicted"
            )
        return RecordedClouds({path.stem: path}, self._rig, height_m)

    def _check_sizes(self, images: Sequence[EncodedImage]) -> None:
        """Reject images of another size than the first ones, which the calibration is not for."""
        self._sizes = self._sizes or [image.size for image in images]
        for image, expected in zip(images, self._sizes, strict=True):
            if image.size != expected:
                sizes = [f"{width}×{height}" for height, width in (expected, image.size)]
                raise ValueError(
                    f"{image.where}: expected an image of {sizes[0]} pixels, as in the first "
                    f"frame, because the calibration is for one size, found {sizes[1]}"
                )


class _Calibration:
    """The calibration of a folder as of the start, or none.

    Raises:
        FileNotFoundError: If there is none, but it is needed for images.
        ValueError: If it is invalid or lacks a camera for images, or there are two.
    """

    def __init__(self, folder: Path, *, is_needed: bool) -> None:
        self._paths = [folder / f"calib{suffix}" for suffix in CALIBRATION_SUFFIXES]
        found = [path for path in self._paths if path.is_file()]
        if len(found) > 1:
            raise ValueError(f"{folder} has both {found[0].name} and {found[1].name}: keep one")
        if is_needed and not found:
            raise FileNotFoundError(
                f"{folder} has no calib.json and no calib.txt, which the network's camera needs "
                "(docs/custom_data.md)"
            )
        self._start = self._contents()
        self._has_changed = False
        self.rig = read_rig(found[0]) if found else Rig({}, np.eye(4))
        if is_needed and not self.rig.pixel_from_lidar:
            raise ValueError(f"{found[0]} has no camera, but the network needs images")

    def warn_of_change(self) -> None:
        """Warn once that the file has changed since the start, or came after it."""
        now = self._contents()
        if self._has_changed or now in ({}, self._start):
            return
        self._has_changed = True
        logger.warning(
            "%s has changed since the start, but frames are predicted with the calibration of "
            "then: start again to use it",
            next(path for path, content in now.items() if content != self._start.get(path)),
        )

    def _contents(self) -> dict[Path, bytes]:
        """Read the files that there are; a recorder may be replacing them."""
        found = {}
        for path in self._paths:
            with suppress(OSError):
                found[path] = path.read_bytes()
        return found
