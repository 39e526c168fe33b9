import re

import pytest
import torch
from torch import nn

from model.backbone import ResNet
from model.image_encoder import ImageEncoder


def resnet18() -> nn.Module:
    from torchvision.models import resnet18  # Works after ``model`` has been imported.

    return resnet18()


def images(batch: int = 1, cameras: int = 1, height: int = 32, width: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (batch, cameras, 3, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("stride", "batch", "cameras"), [(4, 1, 1), (8, 2, 1), (16, 1, 3)])
def test_gives_one_feature_cell_per_stride(stride, batch, cameras):
    encoder = ImageEncoder(backbone="resnet18", stride=stride, channels=7)
    features = encoder(images(batch, cameras))
    assert features.shape == (batch, cameras, 7, 32 // stride, 64 // stride)


def test_a_bottleneck_network_has_its_own_widths():
    encoder = ImageEncoder(backbone="resnet50", stride=8, channels=4, num_stages=3)
    assert [lateral.in_channels for lateral in encoder.pyramid.lateral] == [512, 1024]
    assert encoder(images()).shape == (1, 1, 4, 4, 8)


def test_levels_of_odd_size_are_brought_to_the_finer_one():
    encoder = ImageEncoder(backbone="resnet18", stride=8, channels=4)
    assert encoder(images(height=40, width=72)).shape == (1, 1, 4, 5, 9)


def test_normalises_with_the_statistics_of_imagenet():
    encoder = ImageEncoder(backbone="resnet18", num_stages=1, stride=4, channels=4)
    seen = []
    encoder.backbone.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(torch.full((1, 1, 3, 32, 32), 255, dtype=torch.uint8))
    expected = torch.tensor([131.325 / 58.395, 138.72 / 57.12, 151.47 / 57.375])
    torch.testing.assert_close(seen[0][0, :, 0, 0], expected)


def test_cameras_are_encoded_one_by_one():
    encoder = ImageEncoder(backbone="resnet18", stride=8, channels=4).eval()
    batch = images(2, 2)
    together = encoder(batch)
    torch.testing.assert_close(together[1, 0], encoder(batch[1:, :1])[0, 0], rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient():
    encoder = ImageEncoder(backbone="resnet18", stride=8, channels=4, num_stages=3)
    encoder(images(2)).square().sum().backward()
    without = [name for name, weight in encoder.named_parameters() if weight.grad is None]
    assert without == []


def test_frozen_stages_and_norms_do_not_change():
    encoder = ImageEncoder(
        backbone="resnet18", stride=8, channels=4, num_stages=3, frozen_stages=1
    ).train()
    before = encoder.backbone.stem[1].running_mean.clone()
    later = encoder.backbone.stages[1][0].bn1.running_mean.clone()
    encoder(images(2)).sum().backward()
    assert torch.equal(encoder.backbone.stem[1].running_mean, before)
    assert not torch.equal(encoder.backbone.stages[1][0].bn1.running_mean, later)
    assert all(weight.grad is None for weight in encoder.backbone.stages[0].parameters())
    assert all(weight.grad is not None for weight in encoder.backbone.stages[1].parameters())


def test_frozen_norms_have_nothing_to_train():
    encoder = ImageEncoder(backbone="resnet18", stride=8, channels=4, num_stages=2, norm="frozen")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    assert not any("bn" in name for name, _ in encoder.named_parameters())


@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_loads_torchvision_weights_from_a_file(tmp_path, norm):
    source = resnet18()
    with torch.no_grad():
        source.layer2[0].bn1.running_mean.fill_(0.25)
    torch.save(source.state_dict(), tmp_path / "resnet.pth")
    encoder = ImageEncoder(
        backbone="resnet18", weights=str(tmp_path / "resnet.pth"), stride=8, num_stages=2, norm=norm
    )
    assert not torch.equal(encoder.backbone.stem[0].weight, source.conv1.weight)
    encoder.init_weights()
    assert torch.equal(encoder.backbone.stem[0].weight, source.conv1.weight)
    assert torch.equal(
        encoder.backbone.stages[1][0].bn1.running_mean, source.layer2[0].bn1.running_mean
    )


def test_keeps_random_weights_when_none_are_asked_for():
    encoder = ImageEncoder(backbone="resnet18", stride=8, channels=4)
    before = encoder.backbone.stem[0].weight.clone()
    encoder.init_weights()
    assert torch.equal(encoder.backbone.stem[0].weight, before)


def test_weights_of_another_network_are_rejected(tmp_path):
    torch.save(resnet18().state_dict(), tmp_path / "resnet.pth")
    encoder = ImageEncoder(backbone="resnet50", weights=str(tmp_path / "resnet.pth"))
    with pytest.raises(ValueError, match=r"does not hold a resnet50 .* \d+ tensors are missing"):
        encoder.init_weights()


def test_a_missing_file_of_weights_is_named(tmp_path):
    path = tmp_path / "nowhere.pth"
    encoder = ImageEncoder(backbone="resnet18", weights=str(path))
    message = f"{re.escape(str(path))}.* None, with norm=group and frozen_stages=0"
    with pytest.raises(FileNotFoundError, match=message):
        encoder.init_weights()


def test_imagenet_weights_come_from_the_cache_and_are_never_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"download https://.*resnet18-.*\.pth"):
        ResNet("resnet18", 4, "batch").find("imagenet")
    (tmp_path / "checkpoints").mkdir()
    cached = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    cached.touch()
    assert ResNet("resnet18", 4, "batch").find("imagenet") == cached


def test_an_image_that_the_stride_does_not_divide_is_rejected():
    encoder = ImageEncoder(backbone="resnet18", stride=16, channels=4)
    with pytest.raises(ValueError, match=r"multiples of 16, got \(40, 64\)"):
        encoder(images(height=40))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(norm="layer"), "norm must be one of"),
        (dict(num_stages=5), "num_stages must be one of"),
        (dict(num_stages=2, stride=16), "stride must be one of"),
        (dict(frozen_stages=5), "frozen_stages must be one of"),
    ],
)
def test_wrong_arguments_are_rejected(arguments, message):
    with pytest.raises(ValueError, match=message):
        ImageEncoder(**arguments)


def test_group_norm_sees_each_image_alone():
    torch.manual_seed(0)
    encoder = ImageEncoder(
        backbone="resnet18", stride=8, channels=8, num_stages=2, norm="group"
    ).train()
    images = torch.randint(0, 256, (2, 1, 3, 32, 64), dtype=torch.uint8)
    together = encoder(images)
    apart = torch.cat([encoder(images[:1]), encoder(images[1:])])
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)  # float32, another order
