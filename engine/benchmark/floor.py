"""Floor of the runtime on a device: counted work divided by measured rates.

Work is the FLOPs of convolutions and matrix products, and the bytes of weights, inputs and outputs,
each moved once. The floor is the larger of FLOPs / (rate of a large matrix product) and bytes /
(rate of a large copy). Only algorithms with fewer multiplications, such as Winograd's, can beat it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from engine.benchmark.timing import Clock, time_runs, watch_stages
from model.convolutions import PaddedConv3d
from model.sparse import DownsampleConv, SubmanifoldConv

WHOLE = "whole"
"""Name of the whole network among its stages."""
MATRIX_SIZE = {"cuda": 8192, "cpu": 1024}
COPY_BYTES = {"cuda": 2**30, "cpu": 2**26}
RATE_RUNS = 20


class Work(NamedTuple):
    """The work of a network or a stage.

    Attributes:
        flops: Multiplications and additions of convolutions and matrix products.
        num_bytes: Bytes of weights as stored, inputs and outputs.
    """

    flops: int
    num_bytes: int


@dataclass(frozen=True)
class Rates:
    """Measured peak rates of a device.

    Attributes:
        flops_per_s: Rate of a large matrix product.
        bytes_per_s: Rate of a large copy, counting read and written bytes.
    """

    flops_per_s: float
    bytes_per_s: float

    def floor_ms(self, work: Work) -> float:
        """Return the minimum time for some work [ms]."""
        return 1e3 * max(work.flops / self.flops_per_s, work.num_bytes / self.bytes_per_s)


def measure_rates(clock: Clock, dtype: torch.dtype) -> Rates:
    """Measure the peak rates of a device: those of the fastest tenth of ``RATE_RUNS`` runs.

    float32 products use TF32 if torch allows it for cuDNN's convolutions.

    Args:
        clock: The device's clock.
        dtype: Data type of the matrix product.
    """
    kind, device = clock.device.type, clock.device
    size = MATRIX_SIZE[kind]
    left, right = torch.randn(2, size, size, device=device).to(dtype)
    source = torch.empty(COPY_BYTES[kind], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    with _tf32_like_convolutions():
        multiply = time_runs(lambda: left @ right, clock, RATE_RUNS, RATE_RUNS)
    copy = time_runs(lambda: target.copy_(source), clock, RATE_RUNS, RATE_RUNS)
    return Rates(2e3 * size**3 / multiply.p10_ms, 2e3 * source.nbytes / copy.p10_ms)


@contextmanager
def _tf32_like_convolutions() -> Iterator[None]:
    """Use TF32 in matrix products if convolutions use it."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def count_work(network: nn.Module, run: Callable[[], Any], inputs: Any) -> dict[str, Work]:
    """Count the work of one run, by stage and in total.

    Args:
        network: The network; each direct submodule that the run calls is a stage.
        run: Calls the network once and returns its outputs.
        inputs: The inputs of the network.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        flops = _Flops(counter)
        with flops.of_own_layers(network), watch_stages(network, flops.read) as calls:
            outputs = run()
        total = flops.total()
    sizes = {name: _bytes(list(part.parameters())) for name, part in network.named_children()}
    work: dict[str, Work] = {}
    for name, (flops_before, bytes_in), (flops_after, bytes_out) in calls:
        flops_until, bytes_until = work.get(name, Work(0, sizes[name]))
        flops_until += flops_after - flops_before
        work[name] = Work(flops_until, bytes_until + bytes_in + bytes_out)
    work[WHOLE] = Work(total, _bytes((inputs, outputs, list(network.parameters()))))
    return work


class _Flops:
    """FLOPs so far: torch's count, but for layers that do other work than their result needs."""

    def __init__(self, counter: FlopCounterMode) -> None:
        self._counter = counter
        self._correction = 0

    def total(self) -> int:
        return self._counter.get_total_flops() + self._correction

    def read(self, values: Any) -> tuple[int, int]:
        """Return the FLOPs so far, and the bytes of the inputs or outputs of a stage."""
        return self.total(), _bytes(values)

    @contextmanager
    def of_own_layers(self, network: nn.Module) -> Iterator[None]:
        """Count sparse layers by their pairs of voxels, and padded ones without their padding."""
        before: list[int] = []

        def start(_: nn.Module, args: Any) -> None:
            before.append(self.total())

        def end(layer: Any, args: Any, output: Any) -> None:
            is_padded = isinstance(layer, PaddedConv3d)
            needed = padded_flops(layer, output) if is_padded else sparse_flops(layer, *args)
            self._correction += before.pop() - self.total() + needed

        kinds = (SubmanifoldConv, DownsampleConv, PaddedConv3d)
        layers = [layer for layer in network.modules() if isinstance(layer, kinds)]
        handles = [layer.register_forward_pre_hook(start) for layer in layers]
        handles += [layer.register_forward_hook(end) for layer in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def sparse_flops(layer: SubmanifoldConv | DownsampleConv, *args: Any) -> int:
    """Return the FLOPs of a sparse convolution: one matrix product per pair of occupied voxels.

    Args:
        layer: The layer.
        args: The arguments of its forward pass.
    """
    if isinstance(layer, SubmanifoldConv):
        features, neighbors = args
        pairs = int((neighbors.rows < len(features)).sum())
    else:
        pairs = len(args[0].features)
    return 2 * pairs * len(layer.weight) * layer.weight.shape[-1]


def padded_flops(layer: PaddedConv3d, output: Tensor) -> int:
    """Return the FLOPs of a padded convolution without its padding."""
    return 2 * output.numel() * layer.weight[0].numel()


def _bytes(values: Any) -> int:
    """Return the bytes of all tensors in nested tuples, lists and dicts."""
    if isinstance(values, Tensor):
        return values.nbytes
    if isinstance(values, Mapping):
        values = list(values.values())
    return sum(_bytes(value) for value in values) if isinstance(values, list | tuple) else 0
