import pytest
import torch
from torch.nn.functional import conv3d

from model import sparse as sparse_module
from model import spconv_backend
from model.sparse import (
    DownsampleConv,
    Neighbors,
    SparseVoxels,
    SubmanifoldConv,
    gather_neighbors,
    neighbor_rows,
)
from model.voxelize import to_dense

needs_spconv = pytest.mark.skipif(not spconv_backend.is_installed(), reason="needs spconv")


def random_sparse(occupied: torch.Tensor, channels: int = 4):
    """Features at the occupied voxels, as rows and as a dense volume."""
    coordinates = torch.nonzero(occupied)
    features = torch.randn(len(coordinates), channels, requires_grad=True)
    sparse = SparseVoxels(features, coordinates, tuple(occupied.shape[1:]), len(occupied))
    return sparse, dense_of(sparse)


def dense_of(sparse: SparseVoxels) -> torch.Tensor:
    return to_dense(sparse.features, sparse.coordinates, sparse.shape, sparse.batch_size)


def dense_submanifold(dense, weight, occupied):
    wanted = conv3d(dense, weight.permute(0, 4, 1, 2, 3), padding=1)
    return wanted.permute(0, 2, 3, 4, 1)[occupied]


def assert_same(got, wanted, inputs):
    """The same values, and the same gradients of the same scalar."""
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
    scale = torch.randn_like(got)
    gradients = (torch.autograd.grad((x * scale).sum(), inputs) for x in (got, wanted))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("convolutions", ["torch", pytest.param("spconv", marks=needs_spconv)])
@pytest.mark.parametrize("density", [0.05, 0.4, 1.1])
def test_submanifold_against_a_dense_convolution(density, convolutions):
    # torch.nonzero lays its rows out column by column, which spconv misreads.
    occupied = torch.rand(2, 6, 5, 4) < density
    assert not torch.nonzero(occupied).is_contiguous()
    sparse, dense = random_sparse(occupied)
    layer = SubmanifoldConv(4, 3)
    got = layer(sparse.features, Neighbors(sparse, convolutions))
    wanted = dense_submanifold(dense, layer.weight, occupied)
    assert_same(got, wanted, (sparse.features, layer.weight))


def test_halving_against_a_dense_convolution():
    occupied = torch.rand(2, 6, 4, 8) < 0.2
    sparse, dense = random_sparse(occupied)
    layer = DownsampleConv(4, 3)
    halved, number = layer(sparse)
    assert number == len(halved.coordinates)
    assert halved.shape == (3, 2, 4)
    wanted = conv3d(dense, layer.weight.permute(0, 4, 1, 2, 3), stride=2)
    assert len(halved.coordinates) == wanted.any(dim=1).sum()
    assert_same(dense_of(halved), wanted, (sparse.features, layer.weight))
    # Sorted, for the search at the next resolution.
    assert halved.coordinates.tolist() == sorted(halved.coordinates.tolist())


def test_padding_changes_neither_values_nor_gradients():
    occupied = torch.rand(2, 6, 4, 8) < 0.2
    sparse, _ = random_sparse(occupied)
    padding = torch.tensor([[2, 0, 0, 0]]).expand(5, 4)
    layers = SubmanifoldConv(4, 4), DownsampleConv(4, 3)

    def run(sparse: SparseVoxels, size: int | None):
        inner = layers[0](sparse.features, Neighbors(sparse, "torch"))
        return layers[1](sparse._replace(features=inner), size)

    (wanted, number), fill = run(sparse, None), torch.randn(5, 4)
    padded = sparse._replace(
        features=torch.cat([sparse.features, fill]),
        coordinates=torch.cat([sparse.coordinates, padding]),
    )
    got, number_too = run(padded, int(number) + 3)
    assert number == number_too
    assert len(got.coordinates) == number + 3
    assert torch.equal(got.coordinates[:number], wanted.coordinates)
    assert (got.coordinates[number:] == padding[:1]).all()
    inputs = (sparse.features, *(layer.weight for layer in layers))
    assert_same(dense_of(got), dense_of(wanted), inputs)


def test_voxels_without_room_are_dropped_and_counted():
    sparse, _ = random_sparse(torch.ones(1, 4, 4, 4, dtype=torch.bool))
    layer = DownsampleConv(4, 3)
    (wanted, _), (got, number) = layer(sparse), layer(sparse, 5)
    assert (len(got.features), number) == (5, 8)
    torch.testing.assert_close(got.features, wanted.features[:5])


def test_a_cpu_gathers_in_parts(monkeypatch):
    sparse, dense = random_sparse(torch.rand(1, 6, 6, 6) < 0.5)
    layer = SubmanifoldConv(4, 3)
    # 2 rows at a time, and the last part is a single row or two.
    monkeypatch.setattr(sparse_module, "CPU_CHUNK", 2 * 27 * 4)
    got = layer(sparse.features, Neighbors(sparse, "torch"))
    wanted = dense_submanifold(dense, layer.weight, (dense != 0).any(1))
    assert_same(got, wanted, (sparse.features, layer.weight))


def test_the_gradients_are_those_of_finite_differences():
    occupied = torch.rand(1, 3, 3, 3) < 0.6
    coordinates = torch.nonzero(occupied)
    rows = neighbor_rows(coordinates, (3, 3, 3))
    features = torch.randn(len(coordinates), 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 3, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    inputs = (features, weight)
    assert torch.autograd.gradcheck(lambda f, w: gather_neighbors(f, rows, w), inputs)


def test_rows_of_the_neighbors():
    # Voxels of two frames of 1×2×3; the box's faces join neither rows nor frames.
    voxels = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 2], [0, 0, 1, 2], [1, 0, 0, 0]])
    rows = neighbor_rows(voxels, (1, 2, 3)).view(4, 3, 3, 3)
    found = [
        {tuple(at): int(of[tuple(at)]) for at in torch.nonzero(of < 4).tolist()} for of in rows
    ]
    assert found == [
        {(1, 1, 1): 0},
        {(1, 1, 1): 1, (1, 2, 1): 2},
        {(1, 0, 1): 1, (1, 1, 1): 2},
        {(1, 1, 1): 3},
    ]


def test_in_half_precision_where_autocast_says_so():
    sparse, _ = random_sparse(torch.rand(1, 4, 4, 4) < 0.5)
    layer, neighbors = SubmanifoldConv(4, 3), Neighbors(sparse, "torch")
    wanted = layer(sparse.features, neighbors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = layer(sparse.features, neighbors)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), wanted, atol=0.05, rtol=0.05)
    got.sum().backward()
    assert layer.weight.grad.dtype == sparse.features.grad.dtype == torch.float32


def test_new_weights_are_as_large_as_those_of_spconv():
    torch.manual_seed(0)
    weight = SubmanifoldConv(16, 16).weight.detach()
    bound = (16 * 27) ** -0.5
    assert weight.abs().max() <= bound
    assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.05)


@needs_spconv
class TestSpconv:
    def test_new_weights_are_those_of_a_layer_of_spconv(self):
        torch.manual_seed(0)
        wanted = spconv_backend.load().SubMConv3d(4, 3, 3, bias=False).weight
        torch.manual_seed(0)
        assert torch.equal(SubmanifoldConv(4, 3).weight, wanted)

    def test_layers_share_one_search(self, monkeypatch):
        sparse, _ = random_sparse(torch.rand(2, 8, 8, 4) < 0.2)
        layers = SubmanifoldConv(4, 4), SubmanifoldConv(4, 3)
        neighbors = Neighbors(sparse, "spconv")
        inner = layers[0](sparse.features, neighbors)
        ops = spconv_backend.load().ops
        monkeypatch.setattr(ops, "get_indice_pairs", None)
        got = layers[1](inner, neighbors)
        in_torch = Neighbors(sparse, "torch")
        wanted = layers[1](layers[0](sparse.features, in_torch), in_torch)
        weights = [layer.weight for layer in layers]
        assert_same(got, wanted, (sparse.features, *weights))

    def test_autocast_on_the_cpu_does_not_reach_it(self):
        sparse, _ = random_sparse(torch.rand(1, 4, 4, 4) < 0.5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            neighbors = Neighbors(sparse, "spconv")
            got = SubmanifoldConv(4, 3)(sparse.features.bfloat16(), neighbors)
        assert got.dtype == torch.float32

    @pytest.mark.parametrize("with_gradients", [False, True])
    def test_a_gpus_algorithm_gives_gradients_where_torch_does(self, monkeypatch, with_gradients):
        """A device that is no CPU stands in for the GPU: what is spconv asked for?"""
        asked = []

        def forward(layer, sparse):
            asked.append((layer.training, layer.algo.name))
            raise MemoryError("full")

        layer = spconv_backend._layer(4, 4)
        monkeypatch.setattr(type(layer), "forward", forward)
        coordinates = torch.zeros(1, 4, dtype=torch.int32, device="meta")
        run = spconv_backend.Submanifold(coordinates, (2, 2, 2), 1)
        with torch.set_grad_enabled(with_gradients), pytest.raises(MemoryError):
            run(torch.zeros(1, 4, device="meta"), SubmanifoldConv(4, 4).weight)
        assert asked == [(with_gradients, "MaskImplicitGemm")]


class TestChoice:
    def test_inference_and_a_cpu_need_no_spconv(self, monkeypatch):
        monkeypatch.setattr(spconv_backend, "load", None)
        sparse, _ = random_sparse(torch.ones(1, 2, 2, 2, dtype=torch.bool))
        assert Neighbors(sparse, "auto").rows is not None
        with torch.no_grad():
            assert Neighbors(sparse, "spconv").rows is not None

    def test_without_spconv_the_config_key_is_named(self, monkeypatch):
        monkeypatch.setattr(spconv_backend, "is_installed", lambda: False)
        sparse, _ = random_sparse(torch.ones(1, 2, 2, 2, dtype=torch.bool))
        spconv_backend.load.cache_clear()
        with pytest.raises(ValueError, match=r"lidar_encoder.convolutions is 'spconv'.*install"):
            Neighbors(sparse, "spconv")


@pytest.mark.gpu
@pytest.mark.parametrize("convolutions", ["torch", pytest.param("spconv", marks=needs_spconv)])
def test_on_a_gpu_values_and_gradients_are_those_of_the_cpu(convolutions):
    sparse, _ = random_sparse(torch.rand(2, 16, 16, 8) < 0.3, channels=16)
    layer = SubmanifoldConv(16, 16).eval()

    def run(device: str, choice: str):
        features = sparse.features.detach().to(device).requires_grad_()
        placed = sparse._replace(features=features, coordinates=sparse.coordinates.to(device))
        found = layer.to(device)(features, Neighbors(placed, choice))
        gradients = torch.autograd.grad(found.square().sum(), (features, layer.weight))
        return [found.detach().cpu(), *(gradient.cpu() for gradient in gradients)]

    wanted = run("cpu", "torch")
    for got, expected in zip(run("cuda", convolutions), wanted, strict=True):
        # A GPU may round the factors to 10 bits (TF32).
        assert (got - expected).abs().max() < 1e-2 * expected.abs().max()
