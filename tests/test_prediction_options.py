import argparse

import numpy as np
import pytest
import torch

from dataset.layout import LABEL_GRID
from dataset.occupancy_files import write_prediction
from engine.build.build import build_model
from engine.checkpoint.weights import read_weights
from engine.command_line import read_config
from engine.frames.sources import SensorChoice
from engine.prediction.options import (
    add_source_options,
    build_source,
    live_sensors,
    load_predictor,
)
from tests.layout_files import write_tiny_unscenes3d
from tests.predict_config import write_config
from tests.trained import save_trained
from utils.config import load_config


@pytest.fixture
def words(tmp_path):
    """A config, data and predictions of half of its frames."""
    stems = write_tiny_unscenes3d(tmp_path / "data", scenes={"scene_00000": "location_1"}, sweeps=0)
    write_prediction(tmp_path / "pred", stems[1], np.ones((32, 32, 4), np.uint8))
    config = write_config(tmp_path)
    torch.save(build_model(load_config(config)).state_dict(), tmp_path / "weights.pth")
    return ["--py-config", str(config), "--data-root", str(tmp_path / "data")]


def parse(words):
    parser = argparse.ArgumentParser()
    add_source_options(parser)
    return parser.parse_args(words)


def test_a_data_set(words):
    source = build_source(parse(words))
    assert len(source.stems) == 2
    assert source.read(0).predicted is None
    assert source.read(0).sample.elevation_m is not None


def test_only_the_annotations_asked_for(words):
    sample = build_source(parse(words), annotations=("occupancy",)).read(0).sample
    assert sample.occupancy is not None
    assert sample.elevation_m is None


def test_saved_predictions_choose_the_frames(words, tmp_path):
    source = build_source(parse([*words, "--pred", str(tmp_path / "pred")]))
    assert len(source.stems) == 1
    assert (source.read(0).prediction == 1).all()
    assert source.read(0).label is not None


def test_a_checkpoint_predicts(words, tmp_path):
    args = parse([*words, "--resume-from", str(tmp_path / "weights.pth"), "--device", "cpu"])
    assert build_source(args).read(1).prediction.shape == (32, 32, 4)
    weights = read_weights(args.resume_from)
    network = load_predictor(args, read_config(args), weights).network
    for name, weight in torch.load(tmp_path / "weights.pth").items():
        assert torch.equal(network.state_dict()[name], weight)


def test_weights_with_their_config_are_enough(words, tmp_path):
    cfg = load_config(words[1], {"data_root": words[3]})
    save_trained(cfg, tmp_path / "w.pth")
    source = build_source(parse(["--resume-from", str(tmp_path / "w.pth"), "--device", "cpu"]))
    assert len(source.stems) == 2
    assert source.read(1).prediction.shape == (32, 32, 4)


def test_a_split(words, tmp_path):
    scenes = {"scene_00000": "location_1", "scene_00006": "location_4_5"}
    stems = write_tiny_unscenes3d(tmp_path / "two", scenes=scenes, sweeps=0)
    words = [*words[:2], "--data-root", str(tmp_path / "two")]
    assert list(build_source(parse([*words, "--split", "val"])).stems) == stems[2:]
    assert list(build_source(parse(words)).stems) == stems


def test_predictions_alone(tmp_path):
    write_prediction(tmp_path, "1.0", np.zeros((64, 64, 8), np.uint8))
    source = build_source(parse(["--pred", str(tmp_path)]))
    assert source.grid == LABEL_GRID.coarsen(4)
    assert source.read(0).label is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "nothing to show: pass --py-config FILE, --resume-from FILE or --pred DIR"),
        ("--pred x --data-root y", "--data-root needs --py-config or --resume-from"),
        ("--pred x --resume-from y", "pass only one"),
        ("--pred x --sensors lidar", "--sensors is for the network of --resume-from"),
        ("--pred x --scene y", "--scene needs --py-config or --resume-from"),
        ("--pred x --resume-from y --py-config z", "pass only one"),
    ],
)
def test_options_that_do_not_go_together(line, message):
    with pytest.raises(ValueError, match=message):
        build_source(parse(line.split()))


def test_the_sensors_of_a_network_are_chosen_and_changed(words, tmp_path):
    words += ["--resume-from", str(tmp_path / "weights.pth"), "--device", "cpu"]
    source = build_source(parse([*words, "--sensors", "lidar"]))
    choice = live_sensors(source)
    assert isinstance(choice, SensorChoice)
    assert (choice.sensors, choice.choices) == ("lidar", ("both", "camera", "lidar"))
    choice.use_sensors("camera")
    assert source.predict._predictor.network.sensors == "camera"
    alone = build_source(parse([*words, "--cfg-options", "modality=lidar"]))
    assert live_sensors(alone) is None
    assert live_sensors(build_source(parse(words[:4]))) is None
