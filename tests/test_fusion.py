import pytest
import torch

from model.fusion import ConcatFusion


def test_fuses_both_volumes():
    fusion = ConcatFusion(camera_channels=3, lidar_channels=2, channels=4)
    camera, lidar = torch.rand(2, 3, 4, 4, 2), torch.rand(2, 2, 4, 4, 2)
    fused = fusion(camera, lidar).volume
    assert fused.shape == (2, 4, 4, 4, 2)
    assert not torch.equal(fused, fusion(camera, 2 * lidar).volume)
    assert not torch.equal(fused, fusion(2 * camera, lidar).volume)


@pytest.mark.parametrize("sensor", ["camera", "lidar"])
def test_takes_one_volume(sensor):
    channels = dict(camera_channels=0, lidar_channels=0) | {f"{sensor}_channels": 3}
    volumes = dict(camera=None, lidar=None) | {sensor: torch.rand(1, 3, 4, 4, 2)}
    assert ConcatFusion(**channels, channels=4)(**volumes).volume.shape == (1, 4, 4, 4, 2)


def test_every_parameter_gets_a_gradient():
    fusion = ConcatFusion(camera_channels=3, lidar_channels=2, channels=4)
    fused = fusion(torch.rand(1, 3, 4, 4, 2), torch.rand(1, 2, 4, 4, 2))
    fused.volume.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in fusion.parameters())


def test_a_volume_that_it_was_not_built_for_is_rejected():
    fusion = ConcatFusion(camera_channels=3, lidar_channels=2, channels=4)
    with pytest.raises(ValueError, match=r"built for \(3, 2\) channels .* got \(3, 3\)"):
        fusion(torch.rand(1, 3, 4, 4, 2), torch.rand(1, 3, 4, 4, 2))
    with pytest.raises(ValueError, match=r"got \(0, 0\)"):
        fusion(None, None)
    with pytest.raises(ValueError, match=r"built for \(3, 0\) channels .* got \(0, 2\)"):
        ConcatFusion(camera_channels=3, lidar_channels=0, channels=4)(
            None, torch.rand(1, 2, 4, 4, 2)
        )


@pytest.mark.parametrize("lost", [0, 1])
def test_a_missing_volume_counts_as_zeros(lost):
    fusion = ConcatFusion(camera_channels=3, lidar_channels=2, channels=4).eval()
    volumes = [torch.rand(2, 3, 4, 4, 2), torch.rand(2, 2, 4, 4, 2)]
    without = [None if i == lost else volume for i, volume in enumerate(volumes)]
    zeros = [volume * (i != lost) for i, volume in enumerate(volumes)]
    assert torch.equal(fusion(*without).volume, fusion(*zeros).volume)


def test_nothing_to_fuse_is_rejected():
    with pytest.raises(ValueError, match="at least one volume"):
        ConcatFusion(camera_channels=0, lidar_channels=0, channels=4)
