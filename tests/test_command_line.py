import argparse
from pathlib import Path

import pytest
import torch

import eval_depth
import eval_elevation
import eval_iou
import eval_novel_depth
import eval_robustness
import predict
import train
from engine import agreement, command_line
from engine.agreement import describe_file
from engine.checkpoint.weights import read_weights
from engine.command_line import (
    add_config_options,
    add_device_option,
    add_split_option,
    add_weight_options,
    read_config,
    reject_input_folder,
    weights_to_score,
)
from engine.evaluation.depth_options import add_depth_rule_options, depth_rule
from engine.metrics.depth_errors import DepthRule
from tests.predict_config import write_config
from tests.trained import save_trained
from tools import overfit
from utils.config import load_config


def parse(*words):
    parser = argparse.ArgumentParser()
    add_config_options(parser, required=False)
    for add in (add_weight_options, add_split_option, add_device_option):
        add(parser)
    return parser.parse_args(words)


def test_values_of_the_config_come_from_all_options(tmp_path):
    words = ("--py-config", str(write_config(tmp_path)))
    given = parse(*words, "--data-root", "there", "--cfg-options", "modality=lidar")
    cfg = read_config(given, {"schedule.lr": 0.5})
    assert (cfg.data_root, cfg.modality, cfg.schedule.lr) == ("there", "lidar", 0.5)
    assert read_config(parse(*words)).data_root != "there"
    with pytest.raises(ValueError, match=r"data_root=here contradicts .* to there: leave"):
        read_config(parse(*words, "--data-root", "there", "--cfg-options", "data_root=here"))
    same = parse(*words, "--data-root", "there", "--cfg-options", "data_root=there")
    assert read_config(same).data_root == "there"


def test_a_config_comes_from_a_file_or_from_weights(tmp_path):
    with pytest.raises(ValueError, match="no config given: pass --py-config FILE, or weights that"):
        read_config(parse())
    cfg = load_config(write_config(tmp_path), {"modality": "lidar"})
    weights = read_weights(save_trained(cfg, tmp_path / "w.pth"))
    assert read_config(parse("--data-root", "there"), weights=weights).modality == "lidar"


def test_weights_are_a_file_or_the_best_of_a_training(tmp_path):
    best, other = tmp_path / "model_state_dict.pth", tmp_path / "b.pth"
    for path, value in ((best, 1.0), (other, 2.0)):
        torch.save({"weight": torch.tensor(value)}, path)
    training = ("--work-dir", str(tmp_path))
    assert weights_to_score(parse(*training)).path == best
    found = weights_to_score(parse(*training, "--resume-from", str(other)))
    assert (found.path, found.tensors["weight"].item()) == (other, 2.0)
    with pytest.raises(ValueError, match="no weights given"):
        weights_to_score(parse())


def test_processes_with_other_weights_are_an_error(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    torch.save({"weight": torch.ones(1)}, path)
    hosts = [("a", {"weights": describe_file(path)})]
    monkeypatch.setattr(command_line, "is_distributed", lambda: True)
    monkeypatch.setattr(agreement, "all_gather_object", lambda mine: [*hosts, ("b", mine[1])])
    weights_to_score(parse("--resume-from", str(path)))
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"different weights: process 0 on a has .*w.pth \(checks"):
        weights_to_score(parse("--resume-from", str(path)))


def test_a_split_and_a_device_are_chosen_among_the_known(capsys):
    args = parse()
    assert (args.split, args.device) == ("val", "auto")
    for words in (("--split", "all"), ("--device", "tpu")):
        with pytest.raises(SystemExit):
            parse(*words)
        assert "invalid choice" in capsys.readouterr().err


def test_median_scaling_is_an_option_of_both_scripts():
    for script in (eval_depth, eval_novel_depth):
        given = script.parse_arguments(["--py-config", "c.py"])
        assert depth_rule(given) == DepthRule()
        given = script.parse_arguments(["--py-config", "c.py", "--median-scaling", "torch"])
        assert depth_rule(given) == DepthRule(median_scaling="torch")


def test_the_range_of_depths_is_that_of_the_rule(monkeypatch):
    monkeypatch.setattr("engine.evaluation.depth_options.DepthRule", lambda: DepthRule(0.25, 65.0))
    for script in (eval_depth, eval_novel_depth):
        given = script.parse_arguments(["--py-config", "c.py"])
        assert (given.min_depth, given.max_depth) == (0.25, 65.0)
        given = script.parse_arguments(["--py-config", "c.py", "--max-depth", "9"])
        assert (given.min_depth, given.max_depth) == (0.25, 9.0)
    parser = argparse.ArgumentParser()
    add_depth_rule_options(parser, largest="end of the rays")
    said = " ".join(parser.format_help().split())
    assert "smallest depth that counts [m] (default: 0.25)" in said
    assert "end of the rays that counts [m] (default: 65)" in said


@pytest.mark.parametrize("script", [train, overfit])
def test_a_seed_is_one_of_those_that_torch_and_numpy_take(script, capsys):
    words = ["--py-config", "c.py", *(["--work-dir", "w"] if script is train else [])]
    assert script.parse_arguments(words).seed == 42
    assert script.parse_arguments([*words, "--seed", "7"]).seed == 7
    for seed in ("-1", str(2**32), "many"):
        with pytest.raises(SystemExit):
            script.parse_arguments([*words, "--seed", seed])
        assert (
            f"expected a whole number from 0 to 4294967295, got '{seed}'" in capsys.readouterr().err
        )


@pytest.mark.parametrize(
    ("script", "builder", "words"),
    [
        (eval_depth, "load_network", []),
        (eval_elevation, "build_model", []),
        (eval_iou, "build_model", ["--work-dir", "out"]),
        (eval_novel_depth, "load_network", []),
        (eval_robustness, "open_benchmark", ["--out", "out"]),
        (predict, "build_predictor", ["--out", "out"]),
    ],
)
def test_every_script_gives_the_network_images_of_the_size_it_was_trained_with(
    script, builder, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path)
    trained = load_config(config, {"dataset.image_size": (20, 40)})
    weights = save_trained(trained, tmp_path / "w.pth")

    class Built(Exception):
        pass

    def build(cfg, *args, **options):
        raise Built(cfg.dataset.image_size)

    monkeypatch.setattr(script, builder, build)
    words = ["--py-config", str(config), "--resume-from", str(weights), *words]
    for given, expected in (([], (20, 40)), (["dataset.image_size=(10,30)"], (10, 30))):
        options = ["--cfg-options", *given] if given else []
        with pytest.raises(Built) as built:
            script.main(script.parse_arguments([*words, *options]))
        assert tuple(built.value.args[0]) == expected


def test_results_do_not_go_where_input_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("clouds")
    inputs = [Path(), Path("images"), Path("clouds")]
    for out in ("out", "images_out", ".."):
        reject_input_folder(Path(out), inputs)
    inside = ("images/front", str(tmp_path / "clouds/a/b"), "link/new")
    for out in (".", "clouds", "./a/../clouds", str(tmp_path / "clouds"), "link", *inside):
        with pytest.raises(ValueError, match="holds input, which the results would replace"):
            reject_input_folder(Path(out), inputs)
