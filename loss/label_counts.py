"""How many voxels, or pixels, of a batch have each label."""

import torch
from jaxtyping import Int64, Integer
from torch import Tensor

from utils.host_copy import HostCopy
from utils.labels import IGNORE


class LabelCounts:
    """Number of voxels of each class, counted on the labels' device.

    The losses weight classes by ``of_classes``, on the device. ``present`` is for the host, which
    waits for a GPU to count: a training step calls ``start_copy`` before its forward pass, and
    ``present`` after it.

    Args:
        labels: Labels; 255 is ignored.
        num_classes: Number of classes.
        among: Counts of labels that these were selected from; they have been checked, and tell
            which classes may be present here.

    Attributes:
        of_classes: Voxels of each class.
    """

    def __init__(
        self,
        labels: Integer[Tensor, "B *spatial"],
        num_classes: int,
        among: "LabelCounts | None" = None,
    ) -> None:
        known = torch.arange(num_classes + 1, dtype=labels.dtype, device=labels.device)
        known[num_classes:].fill_(IGNORE)
        self._counts = (labels.flatten() == known[:, None]).sum(1)
        self.of_classes: Int64[Tensor, " C"] = self._counts[:num_classes]
        self._among, self._labels = among, labels
        self._copy: HostCopy | None = None
        self._present: list[int] | None = None

    def start_copy(self) -> None:
        """Queue the copy of the counts to the host."""
        self._copy = HostCopy(self._counts)

    @torch.compiler.disable
    def present(self) -> list[int]:
        """Return the classes that may have voxels; all others have none.

        Raises:
            ValueError: If a label is no class.
        """
        if self._among is not None:
            return self._among.present()
        if self._present is None:
            counts = (self._copy or HostCopy(self._counts)).read().tolist()
            if sum(counts) < self._labels.numel():
                self._raise_unknown(len(counts) - 1)
            self._present = [label for label, count in enumerate(counts[:-1]) if count]
        return self._present

    def _raise_unknown(self, num_classes: int) -> None:
        labels = self._labels.unique().tolist()
        unknown = [x for x in labels if not 0 <= x < num_classes and x != IGNORE]
        raise ValueError(
            f"labels are 0 to {num_classes - 1}, or {IGNORE} for ignored, got {unknown}; "
            "does the model have the classes of the data set?"
        )
