"""Copies of a GPU's values on the host, without waiting for the GPU in between."""

import torch
from jaxtyping import Shaped
from torch import Tensor


class HostCopy:
    """A copy of a tensor on the host, for values that are needed later.

    The copy is queued behind the kernels that compute the tensor, and only ``read`` waits for it.
    What is queued in between keeps the GPU busy meanwhile.

    Args:
        values: The tensor, on any device; gradients are not copied.
    """

    def __init__(self, values: Shaped[Tensor, "*shape"]) -> None:
        self._values = values.detach()
        self._copied: torch.cuda.Event | None = None
        if values.is_cuda:
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values = host.copy_(values.detach(), non_blocking=True)
            self._copied = torch.cuda.current_stream(values.device).record_event()

    def read(self) -> Shaped[Tensor, "*shape"]:
        """Return the values on the host."""
        if self._copied is not None:
            self._copied.synchronize()
            self._copied = None
        return self._values
