"""Prediction of a recording while it is recorded: frames are predicted as their files arrive.

The newest frame comes first. Frames that arrived before it and were not predicted yet are skipped,
so that a slow network falls behind by one frame at most. Skipped frames are counted.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config

from dataset.arrays import InputOptions
from dataset.clouds import SUFFIXES as CLOUD_SUFFIXES
from dataset.inventory import time_order
from dataset.layout import IMAGE_SUFFIXES
from dataset.recording import Recording
from dataset.registration import RegistrationWatch
from dataset.rig import SUFFIXES as CALIBRATION_SUFFIXES
from dataset.rig import read_rig
from dataset.sample import Sample
from engine.build.build import input_fields, sensors_of
from engine.prediction.files import FrameWriter
from engine.prediction.predictor import GridPredictor
from utils.console import say

POLL_S = 0.02
"""Time between two looks at the folders. A file is complete if it did not change in between."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Side:
    """A folder with one file of each frame.

    Attributes:
        folder: The folder.
        suffixes: Suffixes of its files; one that ends with another comes before it.
    """

    folder: Path
    suffixes: tuple[str, ...]

    def files(self) -> dict[str, Path]:
        """Return the files by stem; hidden and other files are ignored."""
        found = {}
        for path in self.folder.iterdir():
            name = path.name.lower()
            suffix = next((end for end in self.suffixes if name.endswith(end)), None)
            if suffix is not None and not name.startswith("."):
                found[path.name[: -len(suffix)]] = path
        return found


class Arrival(NamedTuple):
    """A frame that is complete.

    Attributes:
        stem: The frame.
        paths: Its file in each folder.
        written_s: When the last of them was written, since the epoch [s].
    """

    stem: str
    paths: tuple[Path, ...]
    written_s: float


class Arrivals:
    """The frames of which all files have arrived.

    Args:
        sides: The folders.
    """

    def __init__(self, sides: Sequence[Side]) -> None:
        self._sides = sides
        self._states: dict[Path, tuple[int, int]] = {}
        self._handed_out: set[str] = set()

    def poll(self) -> list[Arrival]:
        """Return the frames that became complete since the last call, oldest first.

        A frame is complete if each folder has its file, which is not empty and has not changed
        since the last call.
        """
        files = [side.files() for side in self._sides]
        waiting = set.intersection(*(set(side) for side in files)) - self._handed_out
        complete = []
        for stem in sorted(waiting, key=time_order):
            paths = tuple(side[stem] for side in files)
            unchanged = [self._is_unchanged(path) for path in paths]
            if all(unchanged):
                written_ns = max(self._states.pop(path)[1] for path in paths)
                complete.append(Arrival(stem, paths, written_ns / 1e9))
        self._handed_out.update(arrival.stem for arrival in complete)
        return complete

    def _is_unchanged(self, path: Path) -> bool:
        """Note the state of a file; return whether it is that of before, and not empty."""
        stat = path.stat()
        state = (stat.st_size, stat.st_mtime_ns)
        before = self._states.get(path)
        self._states[path] = state
        return before == state and stat.st_size > 0


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
    frames = LiveFrames(cfg, folder)
    watch = RegistrationWatch(predictor.grid, predictor.inputs.image_crop)
    arrivals, followed = Arrivals(frames.sides), Followed()
    say(f"following {folder}; stop with Ctrl-C")
    active = time.monotonic()
    try:
        while idle_s is None or time.monotonic() - active < idle_s:
            arrived = arrivals.poll()
            if not arrived:
                time.sleep(POLL_S)
                continue
            followed.skipped += len(arrived) - 1
            _predict(predictor, frames, arrived[-1], writer, watch, followed)
            active = time.monotonic()
    except KeyboardInterrupt:
        say("stopped")
    watch.close()
    return followed


def _predict(
    predictor: GridPredictor,
    frames: "LiveFrames",
    arrival: Arrival,
    writer: FrameWriter,
    watch: RegistrationWatch,
    followed: Followed,
) -> None:
    """Predict and write one frame, and print how long that took."""
    stem, marks = arrival.stem, [time.time()]
    try:
        sample = frames.read(arrival)
    except (ValueError, OSError) as error:
        followed.failed += 1
        logger.warning("frame %s is left out: %s", stem, error)
        return
    watch.see(sample.stem, sample.images, sample.pixel_from_lidar, sample.points)
    marks.append(time.time())
    prediction = predictor.predict([sample])[0]
    marks.append(time.time())
    writer.write(sample, prediction)
    marks.append(time.time())
    latency_s = marks[-1] - arrival.written_s
    followed.latencies_s.append(latency_s)
    read, network, write = (end - start for start, end in pairwise(marks))
    say(
        f"{stem}: {latency_s:.3f} s after its last file (read {read:.3f}, network {network:.3f}, "
        f"write {write:.3f}); {followed.skipped} skipped so far"
    )


class LiveFrames:
    """Reads frames of a folder that grows.

    Args:
        cfg: The config of the network.
        folder: The folder, as for ``follow``.

    Attributes:
        sides: The folders that a frame has a file in.

    Raises:
        FileNotFoundError: If the folder lacks a part.
        ValueError: If the calibration is invalid.
    """

    def __init__(self, cfg: Config, folder: Path) -> None:
        self._options = InputOptions.from_section(cfg.dataset)
        fields = input_fields(sensors_of(cfg))
        found = [folder / f"calib{suffix}" for suffix in CALIBRATION_SUFFIXES]
        self._calibration = next((path for path in found if path.is_file()), None)
        if self._calibration is None and "images" in fields:
            raise FileNotFoundError(
                f"{folder} has no calib.json and no calib.txt, which the network's camera needs "
                "(docs/custom_data.md)"
            )
        self._images = folder / "images" if "images" in fields else None
        self._clouds = folder / "clouds" if "points" in fields else None
        self.sides = self._find_sides()
        missing = [str(side.folder) for side in self.sides if not side.folder.is_dir()]
        if missing:
            raise FileNotFoundError(
                f"{folder} lacks the folders {missing}: the recorder writes there"
            )
        self._recording: Recording | None = None

    def _find_sides(self) -> list[Side]:
        sides = []
        if self._images is not None:
            assert self._calibration is not None, "checked before"
            cameras = list(read_rig(self._calibration).pixel_from_lidar)
            folders = [self._images / name for name in cameras]
            for folder in folders if len(cameras) > 1 else [self._images]:
                sides.append(Side(folder, IMAGE_SUFFIXES))
        if self._clouds is not None:
            sides.append(Side(self._clouds, CLOUD_SUFFIXES))
        return sides

    def read(self, arrival: Arrival) -> Sample:
        """Read a frame; what the calibration leaves open is estimated from the first one.

        Raises:
            ValueError: If a file is invalid.
        """
        if self._recording is None:
            self._recording = Recording(
                self._options,
                images=self._images,
                clouds=self._clouds,
                calibration=self._calibration,
                stems=[arrival.stem],
            )
        else:
            self._recording.add(arrival.stem, arrival.paths)
        return self._recording[len(self._recording) - 1]
