from itertools import product

import pytest
import torch
from torch import nn

from engine.benchmark import floor
from engine.benchmark.floor import Rates, Work, count_work, measure_rates, sparse_flops
from engine.benchmark.timing import Clock
from model.sparse import DownsampleConv, Neighbors, SparseVoxels, SubmanifoldConv


class Network(nn.Module):
    """A matrix, used twice, and a convolution."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Linear(4, 4)
        self.convolution = nn.Conv1d(4, 2, 3, bias=False)
        self.unused = nn.Linear(9, 9)

    def forward(self, x):
        twice = self.matrix(self.matrix(x))
        return {"result": self.convolution(twice.T)}


def sparse(voxels, channels, shape):
    """Ones at rows of frame, x, y, z."""
    coordinates = torch.tensor(sorted(voxels))
    return SparseVoxels(torch.ones(len(voxels), channels), coordinates, shape, 2)


def test_the_floor_is_the_slower_of_products_and_copies():
    rates = Rates(flops_per_s=1e12, bytes_per_s=1e9)
    assert rates.floor_ms(Work(flops=3 * 10**9, num_bytes=2 * 10**6)) == pytest.approx(3.0)
    assert rates.floor_ms(Work(flops=10**9, num_bytes=2 * 10**6)) == pytest.approx(2.0)


def test_work_by_hand():
    network, x = Network(), torch.ones(5, 4)
    work = count_work(network, lambda: network(x), x)
    # 5 rows through 4×4, twice; 3 places of 3 taps of 4 to 2 channels.
    flops = {"matrix": 2 * 2 * 5 * 4 * 4, "convolution": 2 * 3 * 3 * 4 * 2}
    num_bytes = {"matrix": 4 * (4 * 20 + 16 + 4), "convolution": 4 * (20 + 6 + 24)}
    assert work["matrix"] == Work(flops["matrix"], num_bytes["matrix"])
    assert work["convolution"] == Work(flops["convolution"], num_bytes["convolution"])
    assert work["whole"] == Work(sum(flops.values()), 4 * (20 + 6 + 16 + 4 + 24 + 90))
    assert "unused" not in work


def test_pairs_of_neighbors_by_hand():
    layer = SubmanifoldConv(3, 5)
    # The last voxel of one row and the first of the next are neighbors in memory only, and voxels
    # of two frames are none.
    source = sparse([[0, 0, 0, 3], [0, 0, 1, 0], [1, 0, 1, 1], [0, 0, 1, 1]], 3, (2, 2, 4))
    assert sparse_flops(layer, source.features, Neighbors(source, "torch")) == 2 * (4 + 2) * 3 * 5


def test_halving_joins_each_voxel_once():
    source = sparse([[0, 0, 0, 0], [0, 1, 1, 1], [0, 2, 0, 0], [1, 3, 3, 3]], 2, (4, 4, 4))
    assert sparse_flops(DownsampleConv(2, 4), source) == 2 * 4 * 2 * 4


def test_pairs_against_a_slow_loop():
    torch.manual_seed(0)
    voxels = torch.nonzero(torch.rand(2, 5, 6, 7) < 0.3).tolist()
    source = sparse(voxels, 2, (5, 6, 7))
    pairs = 0
    for frame, *place in voxels:
        for offset in product((-1, 0, 1), repeat=3):
            pairs += [frame, *(p + o for p, o in zip(place, offset, strict=True))] in voxels
    found = sparse_flops(SubmanifoldConv(2, 3), source.features, Neighbors(source, "torch"))
    assert found == 2 * pairs * 2 * 3


def test_sparse_layers_are_counted_once_however_they_compute():
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = SubmanifoldConv(3, 5)

    network, source = Sparse(), sparse([[0, 0, 0, 0], [0, 0, 0, 1]], 3, (2, 2, 4))
    neighbors = Neighbors(source, "torch")
    work = count_work(network, lambda: network.layer(source.features, neighbors), source.features)
    assert work["layer"].flops == work["whole"].flops == 2 * 4 * 3 * 5
    assert not network.layer._forward_hooks


def test_rates_of_this_machine(monkeypatch):
    monkeypatch.setitem(floor.MATRIX_SIZE, "cpu", 64)
    monkeypatch.setitem(floor.COPY_BYTES, "cpu", 2**16)
    before = torch.backends.cuda.matmul.allow_tf32
    rates = measure_rates(Clock(torch.device("cpu")), torch.float32)
    # From a microcontroller to a data center.
    assert 1e6 < rates.flops_per_s < 1e18
    assert 1e6 < rates.bytes_per_s < 1e15
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_rates_by_hand(monkeypatch):
    class UnsteadyClock(Clock):
        runs = 0

        def milliseconds(self, start, end):
            self.runs += 1
            return 1.0 if self.runs % 5 == 0 else 7.0  # A disturbed machine is no slower one.

    monkeypatch.setitem(floor.MATRIX_SIZE, "cpu", 10)
    monkeypatch.setitem(floor.COPY_BYTES, "cpu", 1000)
    rates = measure_rates(UnsteadyClock(torch.device("cpu")), torch.float32)
    assert (rates.flops_per_s, rates.bytes_per_s) == (2e6, 2e6)
