"""How far an exported network equals the network itself, voxel by voxel."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8

from engine.export.files import Run
from engine.export.frames import RawFrame
from engine.export.signature import DROPPED, Signature
from engine.prediction.predictor import GridPredictor
from utils.labels import FREE

LEAST_SAME = {"fp32": 0.999, "bf16": 0.995, "fp16": 0.995}
"""Share of the voxels that must have the same class, by precision of the export."""


@dataclass
class Parity:
    """Counts over runs: one for each frame, on a CPU two.

    Attributes:
        runs: Number of runs.
        voxels: Number of voxels.
        same: Voxels with the same class.
        occupied: Voxels that either network calls occupied.
        same_occupied: Those with the same class.
        dropped: Occupied voxels of the LiDAR without room.
        worst: Frame with the fewest equal voxels, and their share.
    """

    runs: int = 0
    voxels: int = 0
    same: int = 0
    occupied: int = 0
    same_occupied: int = 0
    dropped: int = 0
    worst: tuple[str, float] = ("", 1.0)

    def count(
        self, stem: str, ours: UInt8[np.ndarray, "X Y Z"], theirs: UInt8[np.ndarray, "X Y Z"]
    ) -> None:
        """Count a frame's labels by the exported network and by the network itself."""
        is_same, is_occupied = ours == theirs, (ours != FREE) | (theirs != FREE)
        self.runs += 1
        self.voxels += ours.size
        self.same += int(is_same.sum())
        self.occupied += int(is_occupied.sum())
        self.same_occupied += int((is_same & is_occupied).sum())
        share = float(is_same.mean())
        if share < self.worst[1]:
            self.worst = (stem, share)

    @property
    def share(self) -> float:
        """Share of the voxels with the same class."""
        return self.same / max(self.voxels, 1)

    def __str__(self) -> str:
        """Format as one line."""
        occupied = self.same_occupied / max(self.occupied, 1)
        return (
            f"{100 * self.share:.4f} % of {self.voxels:,} voxels in {self.runs} runs have the "
            f"same class, {100 * occupied:.4f} % of the {self.occupied:,} occupied ones"
        )


def compare(
    run: Run, signature: Signature, predictor: GridPredictor, frames: Sequence[RawFrame]
) -> Parity:
    """Compare a loaded file with the network itself, in float32 and not compiled.

    On a CPU, the file also runs each frame with a single thread: compiled code once depended on
    the number of threads.

    Args:
        run: The loaded file.
        signature: Its inputs and outputs.
        predictor: The network, in float32.
        frames: The frames.
    """
    parity = Parity()
    for frame in frames:
        inputs = frame.inputs(signature, predictor.device)
        theirs = predictor.predict([frame.sample(predictor.inputs)])[0].occupancy
        for single in (False, True) if predictor.device.type == "cpu" else (False,):
            with _threads(1 if single else torch.get_num_threads()):
                outputs = dict(zip(signature.outputs, run(inputs), strict=True))
            parity.count(frame.stem, outputs["occupancy"].cpu().numpy(), theirs)
            parity.dropped += int(outputs.get(DROPPED, 0))
    return parity


def check(parity: Parity, path: str, precision: str) -> None:
    """Reject an export that differs from the network.

    Args:
        parity: The comparison.
        path: The file that is then not written.
        precision: Precision of the export.

    Raises:
        ValueError: If too few voxels have the same class, or frames of the check do not fit.
    """
    if parity.dropped:
        raise ValueError(
            f"{path} was not written: {parity.dropped:,} occupied voxels of the check's frames "
            "have no room: raise --max-voxels, or leave it out to have room for all"
        )
    least = LEAST_SAME[precision]
    if parity.share < least:
        stem, share = parity.worst
        raise ValueError(
            f"{path} was not written: expected the class of the network in at least "
            f"{100 * least:g} % of the voxels in {precision}, found {100 * parity.share:.4f} % "
            f"(frame {stem}: {100 * share:.4f} %)"
        )


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Run operations of PyTorch on this number of threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
