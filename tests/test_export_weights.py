import pytest
import torch

from engine.build.build import build_model
from engine.checkpoint.weights import read_weights
from engine.prediction.predictor import build_unsocc
from tests.predict_config import write_config
from tests.trained import save_trained
from tools import export_weights
from utils.config import load_config, plain


def run(*words):
    export_weights.main(export_weights.parse_arguments([str(word) for word in words]))


def test_exported_weights_need_nothing_else(tmp_path, capsys):
    cfg = load_config(write_config(tmp_path), {"dataset.image_size": (20, 40)})
    path = save_trained(cfg, tmp_path / "w.pth", versions={"unsocc": "0.1.0", "torch": "2.0"})
    out = tmp_path / "w.safetensors"
    run(path, "--out", out, "--data-root", "data/mine")
    assert f"{out}: " in capsys.readouterr().err
    exported, trained = read_weights(out), read_weights(path)
    for name, value in trained.tensors.items():
        assert torch.equal(exported.tensors[name], value)
    assert exported.facts["config"] == plain(cfg.to_dict()) | {"data_root": "data/mine"}
    assert exported.facts["versions"] == {"unsocc": "0.1.0", "torch": "2.0"}
    assert build_unsocc(out, device="cpu").inputs.image_size == (20, 40)


def test_weights_without_a_config_get_one(tmp_path):
    config = write_config(tmp_path)
    torch.save(build_model(load_config(config)).state_dict(), tmp_path / "w.pth")
    words = (tmp_path / "w.pth", "--out", tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="does not contain its config: pass --py-config"):
        run(*words)
    run(*words, "--py-config", config)
    assert build_unsocc(tmp_path / "w.safetensors", device="cpu").grid.shape == (32, 32, 4)


def test_wrong_files_are_rejected(tmp_path):
    config = write_config(tmp_path)
    with pytest.raises(ValueError, match=r"--out must end in \.safetensors, got .*w\.pt$"):
        run("w.pth", "--out", tmp_path / "w.pt")
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="does not match the network"):
        run(tmp_path / "w.pth", "--out", tmp_path / "w.safetensors", "--py-config", config)
    assert not (tmp_path / "w.safetensors").exists()
