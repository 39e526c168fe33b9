import pytest
import torch
from torch import nn
from torch.nn.functional import conv3d, conv_transpose3d

from engine.benchmark.floor import WHOLE, count_work
from model.convolutions import FLAT, BlockUpsample, FlatConv3d, PaddedConv3d


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def random_volume(channels: int) -> torch.Tensor:
    volume = torch.randn(2, channels, 4, 6, 8)
    return volume.to(memory_format=torch.channels_last_3d).requires_grad_()


class TestPaddedConv3d:
    @pytest.mark.parametrize("padded", [(8, 0), (0, 7), (8, 7), (0, 0)])
    @pytest.mark.parametrize("bias", [True, False])
    def test_padding_changes_neither_results_nor_gradients(self, padded, bias):
        layer = PaddedConv3d(5, 3, 3, padded=padded, padding=1, stride=2, bias=bias)
        plain = nn.Conv3d(5, 3, 3, padding=1, stride=2, bias=bias)
        plain.load_state_dict(layer.state_dict())
        volume = random_volume(5)
        found, expected = layer.forward_padded(volume), plain(volume)
        torch.testing.assert_close(found, expected)
        inputs = [volume, layer.weight], [volume, plain.weight]
        gradients = [
            torch.autograd.grad(result.square().sum(), into)
            for result, into in zip((found, expected), inputs, strict=True)
        ]
        torch.testing.assert_close(*gradients)

    @pytest.mark.gpu
    def test_a_gpu_pads(self):
        layer = PaddedConv3d(5, 3, 3, padded=(8, 8), padding=1)
        volume = random_volume(5)
        expected = layer(volume)
        torch.testing.assert_close(layer.cuda()(volume.cuda()).cpu(), expected, atol=1e-3, rtol=0)

    def test_padding_is_no_work_of_the_network(self, monkeypatch):
        network = nn.Sequential(PaddedConv3d(5, 3, 1, padded=(64, 64)))
        volume = random_volume(5)
        without = count_work(network, lambda: network(volume), volume)[WHOLE]
        monkeypatch.setattr(PaddedConv3d, "forward", PaddedConv3d.forward_padded)
        assert count_work(network, lambda: network(volume), volume)[WHOLE] == without
        assert without.flops == 2 * 2 * (4 * 6 * 8) * 5 * 3


class TestFlatConv3d:
    @pytest.mark.parametrize("layers", [1, 2, 3])
    def test_in_2d_it_gives_the_same_results_and_gradients(self, layers):
        layer = FlatConv3d(5, 3)
        volume = random_volume(5)[..., :layers]
        found = layer.forward_flat(volume)
        expected = conv3d(volume, layer.weight, padding=1)
        torch.testing.assert_close(found, expected)
        of = torch.randn(found.shape)
        gradients = [
            torch.autograd.grad(result, (volume, layer.weight), of) for result in (found, expected)
        ]
        torch.testing.assert_close(*gradients)

    def test_only_flat_volumes_are_computed_in_2d(self, monkeypatch):
        layer = FlatConv3d(5, 3)
        seen = []

        def forward_flat(volume):
            seen.append(volume.shape[-1])
            return volume

        monkeypatch.setattr(layer, "forward_flat", forward_flat)
        for layers in range(1, 5):
            layer(random_volume(5)[..., :layers])
        assert seen == [*range(1, FLAT + 1)]

    def test_it_starts_from_the_weights_of_a_3d_convolution(self):
        torch.manual_seed(1)
        plain = nn.Conv3d(5, 3, 3, padding=1, bias=False)
        torch.manual_seed(1)
        assert torch.equal(FlatConv3d(5, 3).weight, plain.weight)


class TestBlockUpsample:
    @pytest.mark.parametrize("factor", [1, 2, 4])
    def test_it_is_a_transposed_convolution(self, factor):
        layer = BlockUpsample(5, 3, factor)
        volume = random_volume(5)
        expected = conv_transpose3d(volume, layer.weight, layer.bias, stride=factor)
        found = layer.forward_product(volume)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(layer(volume), expected)
        for parameter in (volume, layer.weight, layer.bias):
            pair = [torch.autograd.grad(r.square().sum(), parameter, retain_graph=True) for r in
                    (found, expected)]  # fmt: skip
            torch.testing.assert_close(*pair, atol=1e-4, rtol=1e-5)

    def test_the_result_is_channels_last_and_cast_as_by_a_convolution(self):
        layer = BlockUpsample(5, 3, 2)
        with torch.autocast("cpu", torch.bfloat16):
            upsampled = layer.forward_product(random_volume(5))
        assert upsampled.dtype == torch.bfloat16
        assert upsampled.is_contiguous(memory_format=torch.channels_last_3d)
