"""A second CUDA stream: a branch of many small kernels beside one of few large kernels."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result", bound=Iterable[Tensor | None])


class SideStream:
    """Runs functions beside the main stream of a GPU.

    Sparse convolutions make the CPU wait for the GPU many times. On a separate stream they wait for
    their own kernels only, while the GPU works on what was queued before. On a CPU, while gradients
    are recorded, and in a network that is exported, a function simply runs.
    """

    def __init__(self) -> None:
        self._stream: torch.cuda.Stream | None = None

    def begin(self, device: torch.device) -> torch.cuda.Event | None:
        """Mark the work that the function depends on: all that is queued now. None: no stream."""
        if device.type != "cuda" or torch.is_grad_enabled() or torch.compiler.is_exporting():
            return None
        if self._stream is None or self._stream.device != device:
            self._stream = torch.cuda.Stream(device, priority=-1)
        return torch.cuda.current_stream(device).record_event()

    def run(self, begun: torch.cuda.Event | None, function: Callable[[], Result]) -> Result:
        """Run a function beside what was queued since ``begin``, and join the streams.

        Args:
            begun: The mark from ``begin``.
            function: Its tensors are ready for the main stream when this returns.
        """
        if begun is None:
            return function()
        assert self._stream is not None, "begin() creates it"
        main = torch.cuda.current_stream(self._stream.device)
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(begun)
            result = function()
        main.wait_stream(self._stream)
        for tensor in result:
            if tensor is not None:
                tensor.record_stream(main)  # Keep its memory until main is done.
        return result
