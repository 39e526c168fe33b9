"""A second stream of work on a GPU: a branch of many small kernels beside one of few large ones."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result", bound=Iterable[Tensor | None])


class SideStream:
    """Runs functions beside the main stream of a GPU.

    Sparse convolutions are waited for by the processor again and again; on a stream of their own
    they wait for themselves only, and the GPU works on what was queued before. Elsewhere than on a
    GPU, and while gradients are recorded, a function just runs.
    """

    def __init__(self) -> None:
        self._stream: torch.cuda.Stream | None = None

    def begin(self, device: torch.device) -> torch.cuda.Event | None:
        """Mark what the function may rely on: all that is queued now. None: there is no stream."""
        if device.type != "cuda" or torch.is_grad_enabled():
            return None
        if self._stream is None or self._stream.device != device:
            self._stream = torch.cuda.Stream(device, priority=-1)
        return torch.cuda.current_stream(device).record_event()

    def run(self, begun: torch.cuda.Event | None, function: Callable[[], Result]) -> Result:
        """Run a function beside what has been queued since ``begin``, and join it.

        Args:
            begun: What ``begin`` gave.
            function: Its tensors are ready for the main stream when this returns.
        """
        if begun is None:
            return function()
        assert self._stream is not None, "begin() made it"
        main = torch.cuda.current_stream(self._stream.device)
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(begun)
            result = function()
        main.wait_stream(self._stream)
        for tensor in result:
            if tensor is not None:
                tensor.record_stream(main)  # Its memory is not given away before main is done.
        return result
