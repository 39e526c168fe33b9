"""Prediction of frames, labelled or not: which ones, and how long it takes."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from torch.utils.data import DataLoader, Dataset, Subset

from dataset.arrays import InputOptions
from dataset.options import restrict, spread
from dataset.recording import Recording
from dataset.sample import Sample
from engine.build.build import build_dataset, input_fields, sensors_of
from engine.frames.annotations import Annotations
from engine.prediction.files import FrameWriter
from engine.prediction.predictor import GridPredictor
from utils.progress import Progress

EXTRAS = ("occupancy", "caption", "vehicle")
"""Fields that are only shown, for frames that have them."""

logger = logging.getLogger(__name__)


class PredictionFrames(Dataset[Sample]):
    """Some frames of a data set with what the network reads, and what else there is to show.

    That is labels, captions and the vehicle's motion, of the frames that have any.

    Args:
        cfg: The config.
        split: "train", "val", "test", or "all" for every frame on disk.
        stems: Only these frames, in this order; None for all of the split.
        limit: At most so many frames, spread evenly over them; 0 for all.
        is_shown: Read what is only shown too.

    Attributes:
        stems: Stem of each frame.

    Raises:
        FileNotFoundError: If the data is not there.
        ValueError: If a stem is not in the split, ``limit`` is negative, or no frame is left.
    """

    def __init__(
        self,
        cfg: Config,
        split: str,
        *,
        stems: Sequence[str] | None = None,
        limit: int = 0,
        is_shown: bool = True,
    ) -> None:
        self._inputs = build_dataset(cfg, split, fields=input_fields(sensors_of(cfg)))
        self._index = {stem: number for number, stem in enumerate(self._inputs.stems)}
        self.stems = spread(restrict(list(self._index), stems, split), limit)
        fields = EXTRAS if is_shown else ()
        self._extras = Annotations(cfg, split, self._inputs, self.stems, fields)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.stems)

    def __getitem__(self, index: int) -> Sample:
        """Read one frame."""
        stem = self.stems[index]
        return replace(self._inputs[self._index[stem]], **self._extras.of(stem))


class RecordingPaths(NamedTuple):
    """Where a recording of one's own is; None for what it does without.

    Attributes:
        images: Folder of images.
        clouds: Folder of clouds.
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
) -> Subset[Sample]:
    """Frames of a recording of one's own, with what the network of a config reads.

    Args:
        cfg: The config.
        paths: Where the recording is; what the network does not read may be left out.
        stems: Only these frames, in this order; None for all.
        limit: At most so many frames, spread evenly over them; 0 for all.

    Raises:
        FileNotFoundError: If a folder or a file of a frame is missing.
        ValueError: If the network reads what ``paths`` does not have, or the recording is at fault.
    """
    fields = input_fields(sensors_of(cfg))
    needed = {"images": ("images", "calib"), "points": ("clouds",)}
    reads = [name for field, names in needed.items() if field in fields for name in names]
    lacking = [f"--{name}" for name in reads if getattr(paths, name) is None]
    if lacking:
        raise ValueError(
            f"a network with sensors '{sensors_of(cfg)}' reads the {', '.join(reads)} of a "
            f"recording: give {' and '.join(lacking)}"
        )
    used = {name: getattr(paths, name) for name in (*reads, "calib")}
    unused = [name for name in ("images", "clouds") if name not in used and getattr(paths, name)]
    if unused:
        logger.info("the network does not read the %s, which stay unused", " and ".join(unused))
    sweeps = cfg.dataset.get("num_sweeps", 1)
    if "points" in fields and sweeps > 1:
        logger.warning(
            "the network learnt from %s clouds put together, and gets one of each frame here: it "
            "sees less than it is used to",
            sweeps,
        )
    options = InputOptions.from_section(cfg.dataset)
    recording = Recording(
        options,
        images=used.get("images"),
        clouds=used.get("clouds"),
        calibration=used["calib"],
        stems=stems,
    )
    return Subset(recording, spread(range(len(recording)), limit))


@dataclass
class TimeSpent:
    """Where the time went.

    Attributes:
        frames: Number of frames.
        read_s: Waiting for files [s].
        network_s: Prediction [s].
        write_s: Drawing and writing [s].
    """

    frames: int = 0
    read_s: float = 0.0
    network_s: float = 0.0
    write_s: float = 0.0

    def __str__(self) -> str:
        """One line for a terminal."""
        total = self.read_s + self.network_s + self.write_s
        parts = {"read": self.read_s, "network": self.network_s, "write": self.write_s}
        shares = ", ".join(f"{name} {s / max(self.frames, 1):.2f}" for name, s in parts.items())
        rate = self.frames / max(total, 1e-9)
        return f"{self.frames} frames in {total:.1f} s, {rate:.2f} a second ({shares} s a frame)"


def predict_frames(
    predictor: GridPredictor,
    frames: PredictionFrames | Subset[Sample],
    writer: FrameWriter,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
) -> TimeSpent:
    """Predict frames and write the files of each.

    Args:
        predictor: The network.
        frames: What to predict.
        writer: Writes them.
        batch_size: Frames predicted together; the last batch may have fewer.
        num_workers: Processes that read ahead; 0 reads in this one.

    Returns:
        Where the time went.

    Raises:
        ValueError: If the batch size is not positive, or a file is not as its format says.
    """
    if batch_size < 1:
        raise ValueError(f"the batch size must be at least 1, got {batch_size}")
    timing = TimeSpent()
    progress = Progress("predict", len(frames))
    began = time.perf_counter()
    loader = DataLoader(frames, batch_size, num_workers=num_workers, collate_fn=list)
    for samples in loader:
        read = time.perf_counter()
        predictions = predictor.predict(samples)
        predicted = time.perf_counter()
        timing.frames += len(samples)
        timing.read_s += read - began
        timing.network_s += predicted - read
        for sample, prediction in zip(samples, predictions, strict=True):
            writer.write(sample, prediction)
            progress.advance(sample.stem.__str__)
        began = time.perf_counter()
        timing.write_s += began - predicted
    progress.close()
    return timing
