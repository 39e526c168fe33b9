import pytest
import torch
from jaxtyping import TypeCheckError

from model.decoder import ResidualBlock, UNet3d


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("channels", [(4,), (4, 6), (4, 6, 8)])
def test_keeps_the_resolution(batch, channels):
    decoder = UNet3d(in_channels=3, shape=(8, 12, 4), channels=channels)
    assert decoder(torch.rand(batch, 3, 8, 12, 4)).shape == (batch, 4, 8, 12, 4)
    assert decoder.channels == 4


def test_sees_farther_than_its_convolutions_at_one_resolution():
    def reach(channels: tuple[int, ...]) -> int:
        torch.manual_seed(0)
        decoder = UNet3d(in_channels=1, shape=(48, 4, 4), channels=channels).eval()
        volume = torch.randn(1, 1, 48, 4, 4, requires_grad=True)
        decoder(volume)[0, :, 24].sum().backward()
        seen = torch.nonzero(volume.grad[0, 0].abs().sum(dim=(1, 2)))
        return int(seen.max() - seen.min())

    assert reach((16,)) == 4  # two 3×3×3 convolutions
    assert reach((16, 16, 16)) > 20


def test_every_parameter_gets_a_gradient():
    decoder = UNet3d(in_channels=3, shape=(8, 8, 4), channels=(4, 6, 8))
    decoder(torch.rand(2, 3, 8, 8, 4)).square().sum().backward()
    without = [name for name, weight in decoder.named_parameters() if not weight.grad.any()]
    assert without == []


def test_frames_do_not_see_each_other_in_evaluation():
    decoder = UNet3d(in_channels=3, shape=(8, 8, 4), channels=(4, 6)).eval()
    volume = torch.rand(2, 3, 8, 8, 4)
    torch.testing.assert_close(decoder(volume)[1:], decoder(volume[1:]), atol=1e-5, rtol=1e-4)


def test_the_layout_of_the_input_does_not_matter():
    decoder = UNet3d(in_channels=3, shape=(8, 8, 4), channels=(4, 6)).eval()
    volume = torch.rand(2, 3, 8, 8, 4)
    channels_last = volume.contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(decoder(volume), decoder(channels_last), atol=1e-5, rtol=1e-4)


def test_a_block_is_its_shortcut_when_its_convolutions_are_silent():
    block = ResidualBlock(3, 3).eval()
    torch.nn.init.zeros_(block.second_norm.weight)
    volume = torch.randn(1, 3, 4, 4, 4)
    torch.testing.assert_close(block(volume), volume.relu())


def test_a_shape_that_cannot_be_halved_is_rejected():
    with pytest.raises(ValueError, match=r"divisible by 4, got \(8, 8, 2\)"):
        UNet3d(in_channels=3, shape=(8, 8, 2), channels=(4, 6, 8))


def test_wrong_shapes_are_caught():
    with pytest.raises(TypeCheckError):
        ResidualBlock(3, 3)(torch.rand(3, 4, 4, 4))
