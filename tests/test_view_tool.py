import importlib.util
import socket

import numpy as np
import pytest
import torch

from dataset.layout import LABEL_GRID
from tests.layout_files import write_tiny_unscenes3d
from tests.predict_config import write_config
from tools.view import build_source, check_server, main, parse_arguments
from utils.build import build_model
from utils.config import load_config
from utils.metrics.files import write_prediction


@pytest.fixture
def words(tmp_path):
    """A config, data and predictions of half of its frames."""
    stems = write_tiny_unscenes3d(tmp_path / "data", scenes={"scene_00000": "location_1"}, sweeps=0)
    write_prediction(tmp_path / "pred", stems[1], np.ones((32, 32, 4), np.uint8))
    config = write_config(tmp_path)
    torch.save(build_model(load_config(config)).state_dict(), tmp_path / "weights.pth")
    return ["--py-config", str(config), "--data-root", str(tmp_path / "data")]


def test_only_this_machine_may_look_unless_told_otherwise():
    arguments = parse_arguments([])
    assert arguments.host == "127.0.0.1"
    assert arguments.port == 8080


def test_a_data_set(words):
    source = build_source(parse_arguments(words))
    assert len(source.stems) == 2
    assert source.read(0).predicted is None


def test_saved_predictions_choose_the_frames(words, tmp_path):
    source = build_source(parse_arguments([*words, "--pred", str(tmp_path / "pred")]))
    assert len(source.stems) == 1
    assert (source.read(0).prediction == 1).all()
    assert source.read(0).label is not None


def test_a_checkpoint_predicts(words, tmp_path):
    weights = str(tmp_path / "weights.pth")
    source = build_source(parse_arguments([*words, "--resume-from", weights, "--device", "cpu"]))
    assert source.read(1).prediction.shape == (32, 32, 4)


def test_predictions_alone(tmp_path):
    write_prediction(tmp_path, "1.0", np.zeros((64, 64, 8), np.uint8))
    source = build_source(parse_arguments(["--pred", str(tmp_path)]))
    assert source.grid == LABEL_GRID.coarsen(4)
    assert source.read(0).label is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "nothing to look at: give --py-config FILE, or --pred DIR"),
        ("--pred x --data-root y", "--data-root needs --py-config"),
        ("--pred x --resume-from y", "--resume-from needs --py-config"),
        ("--pred x --scene y", "--scene needs --py-config"),
        ("--pred x --resume-from y --py-config z", "give one"),
    ],
)
def test_options_that_do_not_go_together(line, message):
    with pytest.raises(ValueError, match=message):
        build_source(parse_arguments(line.split()))


def test_without_viser_one_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs viser, which is not installed: pip install -r"):
        main(parse_arguments(["--pred", "x"]))


def test_a_taken_port_and_wrong_numbers_are_refused_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ValueError, match="--keep is at least 1 and --ahead 0, got 0 and 6"):
        check_server(parse_arguments(["--keep", "0"]))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=rf"cannot listen at 127.0.0.1:{port}.*--port"):
            check_server(parse_arguments(["--port", str(port)]))


def test_help_names_the_ways_to_start(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse_arguments(["--help"])
    text = capsys.readouterr().out
    assert "Look at frames in the browser" in text
    assert "--resume-from FILE" in text
