"""Prediction of frames, labeled or not: selection, prediction loop and timing."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from torch.utils.data import Dataset, Subset

from dataset.arrays import InputOptions
from dataset.lost_sensors import LossWatch
from dataset.options import restrict, spread
from dataset.recording import Recording
from dataset.registration import RegistrationWatch
from dataset.sample import Sample
from engine.build.build import build_dataset, input_fields, sensors_of
from engine.build.loader import FrameLoader
from engine.frames.annotations import Annotations
from engine.prediction.files import FrameWriter
from engine.prediction.predictor import GridPredictor
from utils.progress import Progress

EXTRAS = ("occupancy", "caption", "vehicle")
"""Optional fields to show, which the network does not read."""

logger = logging.getLogger(__name__)


class PredictionFrames(Dataset[Sample]):
    """Frames of a data set with the network's inputs and optional fields to show.

    Optional are labels, captions and ego motion, for frames that have them.

    Args:
        cfg: The config.
        split: "train", "val", "test", or "all" for every frame on disk.
        stems: Only these frames, in this order; None: all of the split.
        limit: Maximum number of frames, spread evenly; 0: all.
        with_extras: Whether to read the optional fields too.
        allow_missing: Whether frames may lack their images or their point cloud.

    Attributes:
        stems: Stem of each frame.

    Raises:
        FileNotFoundError: If the data is missing.
        ValueError: If a stem is not in the split, ``limit`` is negative, or no frame is left.
    """

    def __init__(
        self,
        cfg: Config,
        split: str,
        *,
        stems: Sequence[str] | None = None,
        limit: int = 0,
        with_extras: bool = True,
        allow_missing: bool = False,
    ) -> None:
        self._inputs = build_dataset(
            cfg, split, fields=input_fields(sensors_of(cfg)), allow_missing=allow_missing
        )
        self._index = {stem: number for number, stem in enumerate(self._inputs.stems)}
        self.stems = spread(restrict(list(self._index), stems, split), limit)
        fields = EXTRAS if with_extras else ()
        self._extras = Annotations(cfg, split, self._inputs, self.stems, fields)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.stems)

    def __getitem__(self, index: int) -> Sample:
        """Read one frame."""
        stem = self.stems[index]
        return replace(self._inputs[self._index[stem]], **self._extras.of(stem))


class RecordingPaths(NamedTuple):
    """Paths of a custom recording; None for missing parts.

    Attributes:
        images: Folder of images.
        clouds: Folder of point clouds.
        calib: Calibration file.
    """

    images: Path | None
    clouds: Path | None
    calib: Path | None


def open_recording(
    cfg: Config,
    paths: RecordingPaths,
    *,
    stems: Sequence[str] | None = None,
    limit: int = 0,
    allow_missing: bool = False,
) -> Subset[Sample]:
    """Open a custom recording, with the inputs of a config's network.

    Args:
        cfg: The config.
        paths: Paths of the recording; parts that the network does not read may be None.
        stems: Only these frames, in this order; None: all.
        limit: Maximum number of frames, spread evenly; 0: all.
        allow_missing: Whether frames may lack their images or their cloud.

    Raises:
        FileNotFoundError: If a folder or a file of a frame is missing.
        ValueError: If ``paths`` lacks an input of the network, or the recording is invalid.
    """
    fields = input_fields(sensors_of(cfg))
    needed = {"images": ("images", "calib"), "points": ("clouds",)}
    reads = [name for field, names in needed.items() if field in fields for name in names]
    missing = [f"--{name}" for name in reads if getattr(paths, name) is None]
    if missing:
        raise ValueError(
            f"a network with sensors '{sensors_of(cfg)}' reads {', '.join(reads)} of a "
            f"recording: "
            f"pass {' and '.join(missing)}"
        )
    used = {name: getattr(paths, name) for name in (*reads, "calib")}
    unused = [name for name in ("images", "clouds") if name not in used and getattr(paths, name)]
    if unused:
        logger.info("the network does not read the %s; ignoring them", " and ".join(unused))
    warn_of_sweeps(cfg, fields)
    options = InputOptions.from_section(cfg.dataset)
    recording = Recording(
        options,
        images=used.get("images"),
        clouds=used.get("clouds"),
        calibration=used["calib"],
        stems=stems,
        allow_missing=allow_missing,
    )
    return Subset(recording, spread(range(len(recording)), limit))


def warn_of_sweeps(cfg: Config, fields: Sequence[str]) -> None:
    """Warn if the network was trained on more sweeps than a frame of a recording has."""
    sweeps = cfg.dataset.get("num_sweeps", 1)
    if "points" in fields and sweeps > 1:
        logger.warning(
            "the network was trained on %s aggregated sweeps but gets a single sweep per frame: "
            "expect worse predictions",
            sweeps,
        )


@dataclass
class TimeSpent:
    """Time spent on each step.

    Attributes:
        frames: Number of frames.
        read_s: Time waiting for input [s].
        network_s: Time of prediction [s].
        write_s: Time of drawing and writing [s].
        compile_s: Time of the first batch's prediction, if that compiled the network [s]; not part
            of ``network_s``.
    """

    frames: int = 0
    read_s: float = 0.0
    network_s: float = 0.0
    write_s: float = 0.0
    compile_s: float = 0.0

    def __str__(self) -> str:
        """Format as one line."""
        total = self.read_s + self.network_s + self.write_s
        parts = {"read": self.read_s, "network": self.network_s, "write": self.write_s}
        shares = ", ".join(f"{name} {s / max(self.frames, 1):.2f}" for name, s in parts.items())
        rate = self.frames / max(total, 1e-9)
        after = f" after {self.compile_s:.1f} s of compilation" if self.compile_s else ""
        return (
            f"{self.frames} frames in {total:.1f} s{after}, {rate:.2f} per second "
            f"({shares} s per frame)"
        )


def predict_frames(
    predictor: GridPredictor,
    frames: PredictionFrames | Subset[Sample],
    writer: FrameWriter,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
    allow_missing: bool = False,
) -> TimeSpent:
    """Predict frames and write the files of each.

    Warns once of each thing about the calibration that cannot be right, and of each kind of data
    that frames lack.

    Args:
        predictor: The network.
        frames: The frames.
        writer: Writes the files.
        batch_size: Frames per batch; the last batch may have fewer.
        num_workers: Number of loader processes; 0 reads in this process.
        allow_missing: Whether frames may lack a sensor, for the warnings.

    Returns:
        Time spent on each step.

    Raises:
        ValueError: If the batch size is not positive, or a file is not valid.
    """
    if batch_size < 1:
        raise ValueError(f"the batch size must be at least 1, got {batch_size}")
    batch_size = min(batch_size, len(frames))
    timing = TimeSpent()
    progress = Progress("predict", len(frames))
    began = time.perf_counter()
    watch = RegistrationWatch(predictor.grid, predictor.inputs.image_crop)
    losses = LossWatch(allow_missing=allow_missing)
    loader = FrameLoader(frames, batch_size=batch_size, num_workers=num_workers, collate_fn=list)
    for samples in loader:
        read = time.perf_counter()
        for sample in samples:
            watch.see(sample.stem, sample.images, sample.pixel_from_lidar, sample.points)
            losses.see(sample.stem, sample.lost)
        # Another number of frames would be compiled again: repeat one in a last, smaller batch.
        repeated = samples[-1:] * (batch_size - len(samples) if predictor.is_compiled else 0)
        predictions = predictor.predict([*samples, *repeated])[: len(samples)]
        predicted = time.perf_counter()
        timing.read_s += read - began
        if predictor.is_compiled and not timing.frames:
            timing.compile_s = predicted - read
        else:
            timing.network_s += predicted - read
        timing.frames += len(samples)
        for sample, prediction in zip(samples, predictions, strict=True):
            writer.write(sample, prediction)
            progress.advance(sample.stem.__str__)
        began = time.perf_counter()
        timing.write_s += began - predicted
    progress.close()
    watch.close()
    losses.close()
    return timing
