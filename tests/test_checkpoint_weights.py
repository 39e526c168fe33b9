import logging

import pytest
import torch
from torch import nn

from engine.checkpoint.files import AVERAGED, save_atomically
from engine.checkpoint.weights import fill, network_weights, read_weights, with_training_parts
from model.image_encoder import ImageEncoder
from model.weight_files import WEIGHTS, save_safetensors


@pytest.fixture
def network():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def other(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value + 1 for name, value in network.state_dict().items()}


def test_weights_come_back_as_they_were(tmp_path, network):
    weights = other(network)
    save_atomically(weights, tmp_path / "w.pth")
    fill(network, read_weights(tmp_path / "w.pth").tensors, "w.pth")
    for name, value in network.state_dict().items():
        assert torch.equal(value, weights[name])


def test_weights_are_found_where_projects_put_them(network):
    weights, averaged = network.state_dict(), other(network)
    assert network_weights(weights, "w") == weights
    assert network_weights({"state_dict": weights, "meta": {}}, "w") == weights
    assert network_weights({WEIGHTS: weights, AVERAGED: None}, "w") == weights
    assert network_weights({WEIGHTS: weights, AVERAGED: averaged}, "w") == averaged
    wrapped = {f"module.{name}": value for name, value in weights.items()}
    assert network_weights(wrapped, "w") == weights


@pytest.mark.parametrize(
    "content",
    [{}, {"epoch": 3}, {"weights": 3}, {"weights": {}}, {"state_dict": {"a": 3}}, {"weights": [1]}],
)
def test_a_file_without_weights_is_rejected(content):
    with pytest.raises(ValueError, match=r"w\.pth holds no network weights"):
        network_weights(content, "w.pth")


def test_weights_of_another_network_are_rejected_with_the_differences(tmp_path, network):
    before = network[0].weight.detach().clone()
    weights = other(network)
    weights["0.weight"] = torch.zeros(4, 2)
    weights["9.weight"] = weights.pop("0.bias")
    save_atomically(weights, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="does not match the network") as error:
        fill(network, read_weights(tmp_path / "w.pth").tensors, "w.pth")
    message = str(error.value)
    assert "1 missing (0.bias)" in message
    assert "1 not in the network (9.weight)" in message
    assert "1 of another shape (0.weight (4, 2) instead of (3, 2))" in message
    assert torch.equal(network[0].weight, before)


def test_parts_of_the_loss_may_differ_where_a_training_begins(caplog):
    def make(*parts):
        torch.manual_seed(len(parts))
        return nn.ModuleDict({part: nn.Linear(2, 2) for part in parts})

    plain, whole = make("head"), make("head", "splat", "sides")
    with caplog.at_level(logging.INFO):
        found = with_training_parts(plain.state_dict(), whole, ["splat", "sides"], "w.pth")
    assert "w.pth has no splat: it starts from random weights" in caplog.text
    expected = whole.state_dict() | plain.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    fill(whole, found, "w.pth")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        found = with_training_parts(whole.state_dict(), plain, ["splat", "sides"], "w.pth")
    assert "splat of w.pth is left out" in caplog.text
    fill(plain, found, "w.pth")
    # A part of which only something is missing is another network.
    weights = whole.state_dict()
    del weights["splat.bias"]
    with pytest.raises(ValueError, match=r"1 missing \(splat\.bias\)"):
        fill(whole, with_training_parts(weights, whole, ["splat"], "w.pth"), "w.pth")


def test_weights_that_are_not_finite_are_rejected(tmp_path, network):
    save_atomically(network.state_dict() | {"0.bias": torch.tensor([0.0, 1.0, torch.nan])},
                    tmp_path / "w.pth")  # fmt: skip
    with pytest.raises(ValueError, match=r"w\.pth: 0\.bias has 1 NaN or infinite values of 3"):
        read_weights(tmp_path / "w.pth")
    # Of a foreign training state, only the weights matter.
    content = {"state_dict": network.state_dict(), "best_loss": torch.tensor(torch.inf)}
    save_atomically(content, tmp_path / "foreign.pth")
    assert read_weights(tmp_path / "foreign.pth").tensors.keys() == network.state_dict().keys()


def test_safetensors_are_weights_like_others(tmp_path, network):
    save_safetensors(network.state_dict(), {"format": 1}, tmp_path / "w.safetensors")
    weights = read_weights(tmp_path / "w.safetensors")
    fill(network, weights.tensors, weights.path)
    assert weights.facts["format"] == 1


def test_image_encoders_of_version_0_1_load_by_their_names_of_today():
    encoder = ImageEncoder("resnet18", channels=8, num_stages=3)
    now = {f"image_encoder.{name}": value for name, value in encoder.state_dict().items()}
    before = {name.replace(".backbone.", "."): value for name, value in now.items()}
    assert "image_encoder.stem.0.weight" in before
    assert "image_encoder.stages.2.1.bn2.bias" in before
    assert "image_encoder.pyramid.smooth.weight" in before
    assert network_weights(before, "w") == now
    wrapped = {f"module.{name}": value for name, value in before.items()}
    assert network_weights({"state_dict": wrapped}, "w") == now
    assert network_weights(now, "w") == now
