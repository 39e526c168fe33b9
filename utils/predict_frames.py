"""Prediction of frames, labelled or not: which ones, and a picture and a grid file for each."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch.utils.data import DataLoader, Dataset

from dataset.sample import Sample, collate
from utils.build import build_dataset, fields_of
from utils.geometry import VoxelGrid
from utils.labels import LabelSet
from utils.metrics.files import write_prediction
from utils.page import write_picture
from utils.progress import Progress
from utils.visualize import draw_frame

Item = TypeVar("Item")


EXTRAS = ("occupancy", "caption", "vehicle")
"""Fields that are only shown, for frames that have them."""


class Frames(Dataset[Sample]):
    """Some frames of a data set with what the network reads, and what else there is to show.

    That is labels, captions and the vehicle's motion, of the frames that have any.

    Args:
        cfg: The config.
        split: "train", "val", "test", or "all" for every frame on disk.
        stems: Only these frames, in this order; None for all of the split.
        limit: At most so many frames, spread evenly over them; 0 for all.

    Attributes:
        stems: Stem of each frame.

    Raises:
        FileNotFoundError: If the data is not there.
        ValueError: If a stem is not in the split, ``limit`` is negative, or no frame is left.
    """

    def __init__(
        self, cfg: Config, split: str, *, stems: Sequence[str] | None = None, limit: int = 0
    ) -> None:
        if limit < 0:
            raise ValueError(f"the limit must be at least 1, or 0 for no limit, got {limit}")
        inputs = tuple(
            name for name in fields_of(cfg.modality, training=False) if name != "occupancy"
        )
        self._inputs = cast(Any, build_dataset(cfg, split, fields=inputs))
        self._index = {stem: number for number, stem in enumerate(self._inputs.stems)}
        self.stems = spread(_select(list(self._index), stems, split), limit)
        self._extras = [
            _Extra(
                fields,
                cast(Any, build_dataset(cfg, split, fields=fields, stems=stems)),
                {stem: number for number, stem in enumerate(stems)},
            )
            for stems, fields in self._extras_on_disk().items()
        ]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.stems)

    def __getitem__(self, index: int) -> Sample:
        """Read one frame."""
        stem = self.stems[index]
        found: dict[str, Any] = {}
        for extra in self._extras:
            if stem in extra.place:
                shown = extra.frames[extra.place[stem]]
                found |= {field: getattr(shown, field) for field in extra.fields}
        return replace(self._inputs[self._index[stem]], **found)

    def _extras_on_disk(self) -> dict[tuple[str, ...], tuple[str, ...]]:
        """The fields of ``EXTRAS`` that are there, by the frames that have them."""
        found: dict[tuple[str, ...], tuple[str, ...]] = {}
        for field in EXTRAS:
            having = set(self._inputs.stems_with(field))
            those = tuple(stem for stem in self.stems if stem in having)
            if those:
                found[those] = (*found.get(those, ()), field)
        return found


class _Extra(NamedTuple):
    """Fields that some frames have besides the network's."""

    fields: tuple[str, ...]
    frames: Any
    place: dict[str, int]


@dataclass
class Timing:
    """Where the time went.

    Attributes:
        frames: Number of frames.
        read_s: Waiting for files [s].
        network_s: Prediction [s].
        draw_s: Drawing and writing [s].
    """

    frames: int = 0
    read_s: float = 0.0
    network_s: float = 0.0
    draw_s: float = 0.0

    def __str__(self) -> str:
        """One line for a terminal."""
        total = self.read_s + self.network_s + self.draw_s
        parts = {"read": self.read_s, "network": self.network_s, "draw": self.draw_s}
        shares = ", ".join(f"{name} {s / max(self.frames, 1):.2f}" for name, s in parts.items())
        rate = self.frames / max(total, 1e-9)
        return f"{self.frames} frames in {total:.1f} s, {rate:.2f} a second ({shares} s a frame)"


@torch.no_grad()
def predict_frames(
    model: BaseModel,
    frames: Frames,
    out: Path,
    *,
    grid: VoxelGrid,
    labels: LabelSet,
    num_workers: int = 0,
) -> Timing:
    """Predict frames one by one and write ``STEM.png`` and ``STEM.npy`` for each.

    Args:
        model: The network, on its device; it is put into evaluation mode.
        frames: What to predict.
        out: Folder to write to; made if it is not there.
        grid: The grid of the predictions.
        labels: The label set of the predictions.
        num_workers: Processes that read ahead; 0 reads in this one.

    Returns:
        Where the time went.
    """
    model.eval()
    timing = Timing()
    progress = Progress("predict", len(frames))
    loader = iter(DataLoader(frames, batch_size=None, num_workers=num_workers))
    for _ in range(len(frames)):
        began = time.perf_counter()
        sample = next(loader)
        read = time.perf_counter()
        (prediction,) = model.test_step(collate([sample]))
        occupancy = prediction.occupancy.cpu().numpy()
        predicted = time.perf_counter()
        write_prediction(out, sample.stem, occupancy)
        write_picture(out / f"{sample.stem}.png", draw_frame(sample, occupancy, grid, labels))
        timing.frames += 1
        timing.read_s += read - began
        timing.network_s += predicted - read
        timing.draw_s += time.perf_counter() - predicted
        progress.advance(sample.stem.__str__)
    progress.close()
    return timing


def _select(known: Sequence[str], wanted: Sequence[str] | None, split: str) -> list[str]:
    """The frames asked for, each of which must be known."""
    if wanted is None:
        return list(known)
    unknown = [stem for stem in wanted if stem not in set(known)]
    if unknown:
        near = get_close_matches(unknown[0], known, n=3)
        hint = f"; near '{unknown[0]}' are {near}" if near else f"; the first is '{known[0]}'"
        raise ValueError(f"no frames {unknown} among the {len(known)} of the split '{split}'{hint}")
    return list(dict.fromkeys(wanted))


def spread(items: list[Item], limit: int) -> list[Item]:
    """At most ``limit`` of the items, evenly spread; 0 for all."""
    if not limit or len(items) <= limit:
        return items
    return [items[number] for number in np.linspace(0, len(items) - 1, limit).round().astype(int)]
