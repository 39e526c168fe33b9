import pickle

import pytest
import torch
from torch import nn

from engine.checkpoint.files import AVERAGED, WEIGHTS, read_checkpoint, save_atomically
from engine.checkpoint.weights import fill, network_weights, read_weights


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


def test_an_interrupted_write_leaves_the_old_file(tmp_path, network, monkeypatch):
    path = tmp_path / "latest.pth"
    save_atomically({"weights": network.state_dict()}, path)
    before = path.read_bytes()

    def fail(content: object, file: object) -> None:
        file.write(b"half a file")  # type: ignore[attr-defined]
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        save_atomically({}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint .*w\.pth not found; train\.py writes"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize("keep", [0, 10, 500, -1])
def test_a_truncated_checkpoint_is_rejected(tmp_path, network, keep):
    path = tmp_path / "w.pth"
    save_atomically(network.state_dict(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"w\.pth .*(not a checkpoint|more than tensors|is empty)"):
        read_checkpoint(path)


class Evil:
    def __reduce__(self):
        return print, ("code from a checkpoint ran",)


@pytest.mark.parametrize("content", [Evil(), {"weights": Evil()}])
def test_a_checkpoint_cannot_run_code(tmp_path, content, capsys):
    torch.save(content, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil\.pth .* must not run code") as caught:
        read_checkpoint(tmp_path / "evil.pth")
    assert "weights_only" not in str(caught.value)  # torch advises how to run it all the same.
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=r"evil\.pkl"):
        read_checkpoint(tmp_path / "evil.pkl")
    assert "ran" not in capsys.readouterr().out


def test_something_else_than_a_dict_is_rejected(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="holds a Tensor, expected a dict"):
        read_checkpoint(tmp_path / "w.pth")


def test_weights_are_found_where_projects_put_them(network):
    weights, averaged = network.state_dict(), other(network)
    assert network_weights(weights, "w") == weights
    assert network_weights({"state_dict": weights, "meta": {}}, "w") == weights
    assert network_weights({WEIGHTS: weights, AVERAGED: None}, "w") == weights
    assert network_weights({WEIGHTS: weights, AVERAGED: averaged}, "w") == averaged
    wrapped = {f"module.{name}": value for name, value in weights.items()}
    assert network_weights(wrapped, "w") == weights


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"state_dict": {"a": 3}}])
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
