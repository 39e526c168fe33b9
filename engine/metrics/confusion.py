"""Confusion matrices: how often each label was predicted as each other label."""

import numpy as np
import torch
from jaxtyping import Bool, Int64, Num, UInt8
from mmengine.dist import all_reduce
from torch import Tensor

from utils.labels import IGNORE

Labels = Num[Tensor, "..."] | Bool[Tensor, "..."] | Num[np.ndarray, "..."] | Bool[np.ndarray, "..."]

_BYTES = 256
_PAIRS = _BYTES * _BYTES


def confusion_matrix(
    pred: Labels,
    target: Labels,
    num_classes: int,
    *,
    ignore_label: int = IGNORE,
    ignore_invalid: bool = False,
    valid: Labels | None = None,
) -> Int64[Tensor, "target_class pred_class"]:
    """Count the voxels of each (label, prediction) pair.

    One histogram over all pairs of bytes needs no voxel selection and exposes every invalid label:
    6 ms for 256×256×32 voxels on one core.

    Args:
        pred: Predicted label of each voxel, 0 … num_classes − 1 where the voxel is scored.
        target: Label of each voxel, on any device; moved to the device of ``pred``.
        num_classes: Number of labels, including free; 1–255.
        ignore_label: Voxels with this label are not scored, whatever their prediction.
        ignore_invalid: Ignore labels that are not a class; otherwise they are an error.
        valid: Voxels to score, such as a camera mask; all when None.

    Returns:
        Counts on the CPU: rows are labels, columns are predictions.

    Raises:
        ValueError: If shapes differ, a dtype is not integer, or a scored label is not a class.
    """
    pred_byte = label_bytes(pred, "prediction")
    target_byte = label_bytes(target, "label", clamp=ignore_invalid).to(pred_byte.device)
    if pred_byte.shape != target_byte.shape:
        raise ValueError(
            f"prediction and label differ in shape: {tuple(pred_byte.shape)} and "
            f"{tuple(target_byte.shape)}"
        )
    pair = target_byte.to(torch.int32) * _BYTES + pred_byte
    if valid is not None:
        is_valid = _as_tensor(valid, "mask").to(device=pair.device, dtype=torch.bool)
        if is_valid.shape != pair.shape:
            raise ValueError(
                f"mask and prediction differ in shape: {tuple(is_valid.shape)} "
                f"and {tuple(pair.shape)}"
            )
        pair = torch.where(is_valid, pair, _PAIRS)
    counts = torch.bincount(pair.flatten(), minlength=_PAIRS + 1)[:_PAIRS].cpu()
    table = counts.reshape(_BYTES, _BYTES)
    table[ignore_label] = 0
    if ignore_invalid:
        table[num_classes:] = 0
    _check_table(table, num_classes, ignore_label)
    return table[:num_classes, :num_classes].clone()


class Confusion:
    """A confusion matrix over many frames, exact for any number of voxels.

    Attributes:
        matrix: Counts: rows are labels, columns are predictions; int64 on the CPU.
        frames: Number of frames counted.
        ignore_label: Label of voxels that are not scored.
        ignore_invalid: Whether labels that are not a class are ignored or an error.
    """

    def __init__(
        self, num_classes: int, *, ignore_label: int = IGNORE, ignore_invalid: bool = False
    ) -> None:
        """Start from zero.

        Args:
            num_classes: Number of labels, including free; 1–255.
            ignore_label: Label of voxels that are not scored; 0–255.
            ignore_invalid: Ignore labels that are not a class, too.

        Raises:
            ValueError: If a number is out of range.
        """
        if not 1 <= num_classes < _BYTES:
            raise ValueError(f"the number of classes must be 1–255, got {num_classes}")
        if not 0 <= ignore_label < _BYTES:
            raise ValueError(f"the ignored label must be 0–255, got {ignore_label}")
        self.matrix: Int64[Tensor, "C C"] = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.frames = 0
        self.ignore_label = ignore_label
        self.ignore_invalid = ignore_invalid

    @property
    def num_classes(self) -> int:
        """Number of labels, including free."""
        return self.matrix.shape[0]

    def update(self, pred: Labels, target: Labels, valid: Labels | None = None) -> None:
        """Count one frame; arguments as in ``confusion_matrix``."""
        counts = confusion_matrix(
            pred,
            target,
            self.num_classes,
            ignore_label=self.ignore_label,
            ignore_invalid=self.ignore_invalid,
            valid=valid,
        )
        self.matrix = self.matrix + counts
        self.frames += 1

    def merge(self, other: "Confusion") -> None:
        """Add the counts of another confusion matrix.

        Raises:
            ValueError: If its classes or ignored labels differ.
        """
        mine = (self.num_classes, self.ignore_label, self.ignore_invalid)
        theirs = (other.num_classes, other.ignore_label, other.ignore_invalid)
        if mine != theirs:
            raise ValueError(
                "cannot merge confusion matrices with different (num_classes, ignore_label, "
                f"ignore_invalid): {mine} and {theirs}"
            )
        self.matrix = self.matrix + other.matrix
        self.frames += other.frames

    def all_reduce(self) -> None:
        """Sum over all ranks, on every rank; does nothing in a single process."""
        packed = torch.cat([self.matrix.flatten(), torch.tensor([self.frames])])
        all_reduce(packed)
        self.matrix = packed[:-1].reshape(self.matrix.shape)
        self.frames = int(packed[-1])


def label_bytes(labels: Labels, what: str, *, clamp: bool = False) -> UInt8[Tensor, "..."]:
    """Convert labels of any integer type to uint8, without a copy if possible.

    Args:
        labels: The labels.
        what: Their name in error messages.
        clamp: Replace values outside 0–255 by 255; otherwise they are an error.

    Raises:
        ValueError: If the labels are not integers, or some are outside 0–255.
    """
    labels = _as_tensor(labels, what)
    if labels.dtype in (torch.uint8, torch.bool) or labels.numel() == 0:
        return labels.to(torch.uint8)
    low, high = (int(bound) for bound in torch.aminmax(labels))
    if low >= 0 and high < _BYTES:
        return labels.to(torch.uint8)
    if not clamp:
        raise ValueError(f"the {what} has values from {low} to {high}; expected 0–255")
    fits = (labels >= 0) & (labels < _BYTES)
    return torch.where(fits, labels, IGNORE).to(torch.uint8)


def _as_tensor(labels: Labels, what: str) -> Tensor:
    """Convert labels to a tensor that shares memory with the input if torch can."""
    if isinstance(labels, np.ndarray):
        if labels.dtype.kind not in "iub":
            raise ValueError(f"the {what} must hold integers, got {labels.dtype}")
        shared = labels.dtype.name in ("bool", "uint8", "int8", "int16", "int32", "int64")
        dtype = labels.dtype.newbyteorder("=") if shared else np.dtype(np.int64)
        return torch.from_numpy(np.require(labels, dtype, ["C", "W"]))
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"the {what} must hold integers, got {labels.dtype}")
    return labels


def _check_table(table: Int64[Tensor, "256 256"], num_classes: int, ignore_label: int) -> None:
    """Reject scored voxels whose label or prediction is not a class."""
    for what, counts in (("label", table.sum(1)), ("prediction", table.sum(0))):
        invalid = counts[num_classes:].nonzero().flatten() + num_classes
        if len(invalid):
            voxels = int(counts[num_classes:].sum())
            raise ValueError(
                f"the {what} of {voxels} scored voxels is {invalid.tolist()}; expected "
                f"0–{num_classes - 1}, or the label {ignore_label} for ignored voxels"
            )
