import pytest
import torch
from spconv.core import ConvAlgo
from spconv.pytorch.conv import SparseConvolution
from torch.nn.functional import conv3d

from model import sparse as sparse_module
from model.sparse import (
    DownsampleConv,
    SubmanifoldConv,
    gather_blocks,
    gather_neighbors,
    neighbor_rows,
    sparse_tensor,
)
from model.voxelize import to_dense


def random_sparse(occupied: torch.Tensor, channels: int = 4):
    """Features at the occupied voxels, as spconv takes them and as a dense volume."""
    coordinates = torch.nonzero(occupied)
    features = torch.randn(len(coordinates), channels, requires_grad=True)
    shape = tuple(occupied.shape[1:])
    sparse = sparse_tensor(features, coordinates, shape, len(occupied))
    return sparse, to_dense(features, coordinates, shape, len(occupied)), features


def dense_submanifold(dense, weight, occupied):
    wanted = conv3d(dense, weight.permute(0, 4, 1, 2, 3), padding=1)
    return wanted.permute(0, 2, 3, 4, 1)[occupied]


class TestSpconv:
    def test_submanifold_against_a_dense_convolution(self):
        # torch.nonzero lays its rows out column by column, which spconv misreads.
        occupied = torch.rand(2, 6, 5, 4) < 0.3
        assert not torch.nonzero(occupied).is_contiguous()
        sparse, dense, features = random_sparse(occupied)
        layer = SubmanifoldConv(4, 3, key="a")
        got = layer(sparse).features
        wanted = dense_submanifold(dense, layer.weight, occupied)
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
        weight = torch.randn_like(got)
        got_gradient = torch.autograd.grad((got * weight).sum(), (features, layer.weight))
        wanted_gradient = torch.autograd.grad((wanted * weight).sum(), (features, layer.weight))
        for ours, theirs in zip(got_gradient, wanted_gradient, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)

    def test_halving_against_a_dense_convolution(self):
        occupied = torch.rand(2, 6, 4, 4) < 0.2
        sparse, dense, _ = random_sparse(occupied)
        layer = DownsampleConv(4, 3)
        halved = layer(sparse)
        got = to_dense(halved.features, halved.indices, (3, 2, 2), 2)
        wanted = conv3d(dense, layer.weight.permute(0, 4, 1, 2, 3), stride=2)
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
        assert len(halved.indices) == wanted.any(dim=1).sum()

    def test_autocast_on_the_cpu_does_not_reach_spconv(self):
        sparse, _, _ = random_sparse(torch.rand(1, 4, 4, 4) < 0.5)
        layer = SubmanifoldConv(4, 3, key="a")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = layer(sparse.replace_feature(sparse.features.bfloat16())).features
        assert got.dtype == torch.float32


class TestGathering:
    def test_rows_of_the_neighbors(self):
        # Voxels of two frames of 1×2×3; the box's faces join neither rows nor frames.
        voxels = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 2], [0, 0, 1, 2], [1, 0, 0, 0]])
        rows = neighbor_rows(voxels, [1, 2, 3]).view(4, 3, 3, 3)
        found = [
            {tuple(at): int(of[tuple(at)]) for at in torch.nonzero(of < 4).tolist()} for of in rows
        ]
        assert found == [
            {(1, 1, 1): 0},
            {(1, 1, 1): 1, (1, 2, 1): 2},
            {(1, 0, 1): 1, (1, 1, 1): 2},
            {(1, 1, 1): 3},
        ]

    @pytest.mark.parametrize("density", [0.05, 0.4, 1.1])
    def test_submanifold_against_a_dense_convolution(self, density):
        occupied = torch.rand(2, 5, 4, 6) < density
        sparse, dense, _ = random_sparse(occupied)
        weight = SubmanifoldConv(4, 3, key="a").weight
        rows = neighbor_rows(sparse.indices, sparse.spatial_shape)
        got = gather_neighbors(sparse.features, rows, weight)
        wanted = dense_submanifold(dense, weight, occupied)
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)

    def test_halving_against_a_dense_convolution(self):
        occupied = torch.rand(2, 6, 4, 8) < 0.2
        sparse, dense, _ = random_sparse(occupied)
        weight = DownsampleConv(4, 3).weight
        features, voxels = gather_blocks(sparse.features, sparse.indices, (3, 2, 4), weight)
        got = to_dense(features, voxels, (3, 2, 4), 2)
        wanted = conv3d(dense, weight.permute(0, 4, 1, 2, 3), stride=2)
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
        # Sorted, for the search at the next resolution.
        assert voxels.tolist() == sorted(voxels.tolist())

    def test_layers_that_gather_are_those_of_spconv(self, monkeypatch):
        sparse, _, _ = random_sparse(torch.rand(2, 8, 8, 4) < 0.2)
        layers = (
            SubmanifoldConv(4, 4, key="a"),
            SubmanifoldConv(4, 4, key="a"),
            DownsampleConv(4, 3),
        )
        last = SubmanifoldConv(3, 2, key="b")
        with torch.no_grad():
            wanted = last(layers[2](layers[1](layers[0](sparse))))
            searches = []
            monkeypatch.setattr(sparse_module, "uses_gather", lambda features: True)
            monkeypatch.setattr(
                sparse_module,
                "neighbor_rows",
                lambda *args: searches.append(args) or neighbor_rows(*args),
            )
            got = last(layers[2](layers[1](layers[0](sparse))))
        shape = (4, 4, 2)
        torch.testing.assert_close(
            to_dense(got.features, got.indices, shape, 2),
            to_dense(wanted.features, wanted.indices, shape, 2),
            atol=1e-5,
            rtol=1e-4,
        )
        assert len(searches) == 2  # Layers of one key share a search.
        assert not sparse.indice_dict

    def test_in_half_precision_where_autocast_says_so(self):
        sparse, _, _ = random_sparse(torch.rand(1, 4, 4, 4) < 0.5)
        rows = neighbor_rows(sparse.indices, sparse.spatial_shape)
        weight = SubmanifoldConv(4, 3, key="a").weight
        wanted = gather_neighbors(sparse.features, rows, weight)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = gather_neighbors(sparse.features, rows, weight)
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.float(), wanted, atol=0.05, rtol=0.05)


@pytest.mark.gpu
def test_on_a_gpu_both_ways_give_the_same():
    sparse, _, _ = random_sparse(torch.rand(2, 16, 16, 8) < 0.3, channels=16)
    layers = torch.nn.ModuleList([SubmanifoldConv(16, 16, key="a"), DownsampleConv(16, 32)])

    def run(device: str):
        placed = sparse_tensor(
            sparse.features.detach().to(device), sparse.indices.to(device), (16, 16, 8), 2
        )
        for layer in layers.to(device):
            placed = layer(placed)
        return to_dense(placed.features, placed.indices, (8, 8, 4), 2).cpu()

    wanted = run("cpu")
    torch.testing.assert_close(run("cuda"), wanted, atol=5e-3, rtol=5e-3)
    with torch.no_grad():
        torch.testing.assert_close(run("cuda"), wanted, atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("with_gradients", [False, True])
def test_a_gpus_algorithm_gives_gradients_where_torch_does(monkeypatch, training, with_gradients):
    """A device that is no CPU stands in for the GPU, and what spconv is asked for for its work."""
    asked = []

    def forward(layer, sparse):
        asked.append((layer.training, layer.algo))
        raise MemoryError("full")

    monkeypatch.setattr(SparseConvolution, "forward", forward)
    layer = SubmanifoldConv(4, 3, key="a").train(training)
    coordinates = torch.zeros(1, 4, dtype=torch.int32, device="meta")
    sparse = sparse_tensor(torch.zeros(1, 4, device="meta"), coordinates, (2, 2, 2), 1)
    with torch.set_grad_enabled(with_gradients), pytest.raises(MemoryError):
        layer(sparse)
    assert asked == [(with_gradients, ConvAlgo.MaskImplicitGemm)]
    assert layer.training == training


@pytest.mark.gpu
@pytest.mark.parametrize(
    "make", [lambda: SubmanifoldConv(16, 16, key="a"), lambda: DownsampleConv(16, 32)]
)
def test_on_a_gpu_the_gradients_are_those_of_the_cpu_in_eval_mode_too(make):
    sparse, _, _ = random_sparse(torch.rand(2, 16, 16, 8) < 0.3, channels=16)
    layer = make().eval()

    def gradients(device: str):
        features = sparse.features.detach().to(device).requires_grad_()
        placed = sparse_tensor(features, sparse.indices.to(device), (16, 16, 8), 2)
        found = layer.to(device)(placed).features
        # The same sum whatever the order of the voxels.
        return [
            g.cpu() for g in torch.autograd.grad(found.square().sum(), (features, layer.weight))
        ]

    wanted = gradients("cpu")
    for got, expected in zip(gradients("cuda"), wanted, strict=True):
        largest = expected.abs().max()
        assert largest > 0
        # A GPU may round the factors to 10 bits (TF32).
        assert (got - expected).abs().max() < 1e-2 * largest
