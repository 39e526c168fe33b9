import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from engine.checkpoint.files import save_atomically
from model.weight_files import check_finite, first_non_finite, read_checkpoint, save_safetensors


@pytest.fixture
def network():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


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
    with pytest.raises(ValueError, match="is a folder: name a file in it"):
        read_checkpoint(tmp_path)


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


# --- damage ---


def damage(path: Path, member: str) -> None:
    """Overwrite the first byte of a member of a ZIP archive."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        found = next(info for info in archive.infolist() if info.filename.endswith(member))
    start = found.header_offset
    names = sum(int.from_bytes(content[start + at : start + at + 2], "little") for at in (26, 28))
    content[start + 30 + names] ^= 0xFF
    path.write_bytes(content)


def test_a_damaged_tensor_is_named(tmp_path):
    shared = torch.ones(5)
    content = {
        "weights": {"a": shared, "same": shared[:2], "empty": torch.zeros(0), "b": torch.ones(3)},
        "optimizer": {"state": [{"step": torch.ones(())}]},
    }
    names = {"0": "weights.a", "2": "weights.b", "3": "optimizer.state.0.step"}
    for key, name in names.items():
        save_atomically(content, tmp_path / "w.pth")
        damage(tmp_path / "w.pth", f"/data/{key}")
        with pytest.raises(ValueError, match=rf"w\.pth .*: {name} does not match its checksum"):
            read_checkpoint(tmp_path / "w.pth")


def test_damage_outside_the_tensors_is_found(tmp_path, network):
    save_atomically(network.state_dict(), tmp_path / "w.pth")
    damage(tmp_path / "w.pth", "/data.pkl")
    with pytest.raises(ValueError, match=r"w\.pth .*: .*data\.pkl does not match its checksum"):
        read_checkpoint(tmp_path / "w.pth")


def test_files_without_checksums_load(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(3)}, tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_checkpoint(tmp_path / "w.pth")["a"], torch.ones(3))
    torch.save({"a": torch.ones(3)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_checkpoint(tmp_path / "old.pth")["a"], torch.ones(3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "run git lfs pull"),
        ("\n<!DOCTYPE html>\n<html>Sign in</html>", "is a web page, not a checkpoint"),
        ("", "is empty: copy it again"),
        ("some text", "w.pth"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_other_files_are_named(tmp_path, content, message, suffix):
    path = tmp_path / f"w{suffix}"
    path.write_text(content)
    with pytest.raises(ValueError, match=message.replace(".pth", suffix)) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


# --- finite values ---


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_first_tensor_that_is_not_finite_is_described(value):
    bad = torch.tensor([1.0, value, value])
    content = {"count": torch.tensor(3), "list": [torch.ones(2), {"bad": bad}], "name": "x"}
    assert first_non_finite(content) == "list.1.bad has 2 NaN or infinite values of 3"
    with pytest.raises(ValueError, match=r"^w\.pth: list\.1\.bad has 2 NaN or .* use another"):
        check_finite(content, "w.pth")


def test_finite_values_pass():
    halves = [torch.full((2,), 6e4, dtype=kind) for kind in (torch.float16, torch.bfloat16)]
    content = {"halves": halves, "empty": torch.zeros(0), "flag": True}
    assert first_non_finite(content) is None
    check_finite(content, "w.pth")


# --- safetensors ---

FACTS = {"format": 1, "config": {"grid": {"shape": (2, 3)}, "sensors": None}, "labels": ("a", "b")}


def test_safetensors_keep_weights_and_facts(tmp_path):
    wide = torch.arange(6.0).view(2, 3)
    half = torch.ones(2, dtype=torch.bfloat16)
    weights = {"t": wide.T, "same": wide, "half": half, "n": torch.tensor(7), "0": torch.zeros(0)}
    save_safetensors(weights, FACTS, tmp_path / "w.safetensors")
    found = read_checkpoint(tmp_path / "w.safetensors")
    tensors = found.pop("weights")
    assert found == FACTS
    assert tensors.keys() == weights.keys()
    assert all(torch.equal(tensors[name], weights[name]) for name in weights)


def test_safetensors_of_other_programs_are_weights_only(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    found = read_checkpoint(tmp_path / "w.safetensors")
    assert list(found) == ["weights"]
    assert torch.equal(found["weights"]["a"], torch.ones(2))


def test_a_damaged_safetensors_file_is_rejected(tmp_path):
    path = tmp_path / "w.safetensors"
    save_safetensors({"a": torch.ones(2), "b": torch.ones(2)}, FACTS, path)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\0")  # the last byte of b
    with pytest.raises(ValueError, match=r"w\.safetensors .*: b does not match its checksum"):
        read_checkpoint(path)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"w\.safetensors .* is corrupt or not a checkpoint"):
        read_checkpoint(path)
    save_file({"a": torch.ones(2)}, path, {"unsocc": "{"})
    with pytest.raises(ValueError, match=r"w\.safetensors .* is corrupt or not a checkpoint"):
        read_checkpoint(path)
