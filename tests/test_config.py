from pathlib import Path

import pytest

import model  # noqa: F401
from tests.toy_training import write_toy_config
from utils.config import (
    Runtime,
    Schedule,
    build_section,
    check_dataset_name,
    check_keys,
    load_config,
    parse_options,
    plain,
    read_choice,
    read_section,
)
from utils.registry import DATASETS, MODELS


def test_options_are_python_literals_or_text():
    options = parse_options(
        ["a.b=1e-3", "size=(384, 1280)", "flag=true", "off=None", "root=/data/my mine", "amp=bf16"]
    )
    assert options == {
        "a.b": 1e-3,
        "size": (384, 1280),
        "flag": True,
        "off": None,
        "root": "/data/my mine",
        "amp": "bf16",
    }


@pytest.mark.parametrize("word", ["schedule.lr", "=3"])
def test_an_option_needs_key_and_value(word):
    with pytest.raises(ValueError, match="expects key=value"):
        parse_options([word])


def test_options_override_values_of_the_file(tmp_path):
    cfg = load_config(write_toy_config(tmp_path), {"schedule.lr": 0.5, "model.dropout": 0.0})
    assert (cfg.schedule.lr, cfg.model.dropout) == (0.5, 0.0)
    assert cfg.schedule.weight_decay == 0.01  # from the base file


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("schedule.lrr", "did you mean 'schedule.lr'"),
        ("model.drop_out", "did you mean 'model.dropout'"),
        ("lr", "did you mean 'schedule.lr'"),
        ("schedule.lr.deeper", "unknown key"),
    ],
)
def test_an_option_that_the_config_lacks_is_rejected(tmp_path, key, hint):
    with pytest.raises(ValueError, match=hint):
        load_config(write_toy_config(tmp_path), {key: 1})


def test_an_option_cannot_replace_a_section(tmp_path):
    with pytest.raises(ValueError, match="'schedule' is a section"):
        load_config(write_toy_config(tmp_path), {"schedule": 1})
    assert load_config(write_toy_config(tmp_path), {"augmentation": None}).augmentation is None


def test_a_missing_file_and_a_broken_one_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config .*nowhere\.py not found"):
        load_config(tmp_path / "nowhere.py")
    for text in ("grid = dict(", "grid = undefined", "grid = 1 / 0", "_base_ = ['nowhere.py']"):
        (tmp_path / "broken.py").write_text(text)
        with pytest.raises(ValueError, match=r"broken\.py is not a valid config"):
            load_config(tmp_path / "broken.py")
    (tmp_path / "broken.md").write_text("")
    with pytest.raises(ValueError, match=r"broken\.md is not a valid config"):
        load_config(tmp_path / "broken.md")


def test_top_level_keys_must_be_known_and_complete(tmp_path):
    path = write_toy_config(tmp_path)
    text = path.read_text()
    path.write_text(text + "modalty = 'both'\n")
    with pytest.raises(ValueError, match="unknown key 'modalty'; did you mean 'modality'"):
        load_config(path)
    path.write_text(text + "_helper = 3\n")
    assert "_helper" not in load_config(path)
    with pytest.raises(ValueError, match="unknown key '_helper'"):
        load_config(path, {"_helper": 4})
    path.write_text(text.replace("data_root", "_data_root"))
    with pytest.raises(ValueError, match=r"is missing \['data_root'\]"):
        load_config(path)
    path.write_text(text.replace('modality = "lidar"', 'modality = "radar"'))
    with pytest.raises(ValueError, match=r"modality of .* must be one of .*'radar'"):
        load_config(path)


def test_sections_read_as_dataclasses(tmp_path):
    cfg = load_config(write_toy_config(tmp_path))
    assert read_section(cfg, "schedule", Schedule).epochs == 4
    assert read_section(cfg, "runtime", Runtime).best_metric == "miou"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", 0, "epochs must be at least 1"),
        ("epochs", "many", "epochs .* must be int, got 'many'"),
        ("epochs", True, "epochs .* must be int, got True"),
        ("lr", 0.0, "lr must be > 0"),
        ("warmup_share", 1.0, r"warmup_share must be in \[0, 1\)"),
        ("ema_decay", -0.1, r"ema_decay must be in \[0, 1\)"),
        ("clip_grad_norm", -1.0, "clip_grad_norm must be at least 0"),
        ("amp", "half", "amp must be one of"),
    ],
)
def test_a_bad_schedule_is_rejected(tmp_path, key, value, message):
    cfg = load_config(write_toy_config(tmp_path), {f"schedule.{key}": value})
    with pytest.raises(ValueError, match=message):
        read_section(cfg, "schedule", Schedule)


def test_a_bad_runtime_is_rejected(tmp_path):
    cfg = load_config(write_toy_config(tmp_path), {"runtime.num_workers": -1})
    with pytest.raises(ValueError, match="num_workers must be at least 0"):
        read_section(cfg, "runtime", Runtime)


def test_keys_of_a_section_must_be_known_and_complete(tmp_path):
    cfg = load_config(write_toy_config(tmp_path, epoch=3))
    with pytest.raises(ValueError, match=r"schedule of .*toy\.py: unknown key 'epoch'; did"):
        read_section(cfg, "schedule", Schedule)
    cfg = load_config(write_toy_config(tmp_path))
    del cfg.schedule["lr"]
    with pytest.raises(ValueError, match=r"schedule of .* is missing \['lr'\]"):
        read_section(cfg, "schedule", Schedule)
    cfg.schedule = 3
    with pytest.raises(ValueError, match="must be a dict, got 3"):
        read_section(cfg, "schedule", Schedule)


def test_an_integer_is_a_float_too(tmp_path):
    cfg = load_config(write_toy_config(tmp_path), {"schedule.lr": 1})
    assert read_section(cfg, "schedule", Schedule).lr == 1


def test_misspelt_keys_of_a_class_name_the_config_and_the_key(tmp_path):
    cfg = load_config(write_toy_config(tmp_path))
    cfg.model.droput = 0.1
    with pytest.raises(
        ValueError, match=r"model of .*toy\.py: unknown key 'droput'; did you mean 'dr"
    ):
        build_section(cfg, "model", MODELS)
    del cfg.model["droput"]
    with pytest.raises(ValueError, match="missing 3 required positional arguments"):
        build_section(cfg, "model", MODELS)
    with pytest.raises(ValueError, match=r"\['dropout'\] are set elsewhere"):
        build_section(cfg, "model", MODELS, {"dropout": 0.3})


def test_misspelt_keys_are_found_in_parts_too(tmp_path):
    cfg = load_config(write_toy_config(tmp_path))
    cfg.model = dict(
        type="UnsOcc", coarsening=2, loss={}, parts=dict(head=dict(type="OccupancyHead", chanels=3))
    )
    with pytest.raises(ValueError, match=r"head in parts in model of .*: unknown key 'chanels'"):
        build_section(cfg, "model", MODELS)
    cfg.model.parts.head = dict(type="OccupancyHat")
    with pytest.raises(ValueError, match="unknown type 'OccupancyHat'; did you mean 'Occ"):
        build_section(cfg, "model", MODELS)


def test_an_unknown_class_is_rejected(tmp_path):
    cfg = load_config(write_toy_config(tmp_path), {"dataset.type": "ToyFrame"})
    with pytest.raises(ValueError, match="unknown type 'ToyFrame'; did you mean 'ToyFrames'"):
        build_section(cfg, "dataset", DATASETS)


def test_a_bug_in_a_constructor_keeps_its_type(tmp_path):
    class Broken:
        def __init__(self) -> None:
            raise TypeError("unsupported operand")

    MODELS.register_module(name="Broken", module=Broken, force=True)
    cfg = load_config(write_toy_config(tmp_path))
    cfg.model = dict(type="Broken")
    with pytest.raises(TypeError, match="unsupported operand"):
        build_section(cfg, "model", MODELS)


def test_the_data_set_of_the_command_line_must_be_that_of_the_config(tmp_path):
    cfg = load_config(write_toy_config(tmp_path))
    check_dataset_name(cfg, None)
    check_dataset_name(cfg, "toyframes")
    with pytest.raises(ValueError, match=r"nuscenes, but .* is a config for ToyFrames"):
        check_dataset_name(cfg, "nuscenes")


def test_small_helpers(tmp_path):
    check_keys(["a"], ["a", "b"], "here")
    with pytest.raises(ValueError, match=r"here: unknown key 'zzz' \(known keys: \['a', 'b'\]"):
        check_keys(["zzz"], ["a", "b"], "here")
    cfg = load_config(write_toy_config(tmp_path))
    assert type(plain(cfg.grid)) is dict
    assert plain(cfg.grid)["origin_m"] == (0.0, 0.0, 0.0)
    assert plain([(1, {"a": [2]})]) == [(1, {"a": [2]})]
    assert read_choice(cfg, "modality", ("lidar",)) == "lidar"


@pytest.mark.parametrize("name", ["schedule", "runtime"])
def test_the_base_sections_are_complete(name):
    text = (Path(__file__).parents[1] / f"config/_base_/{name}.py").read_text()
    values: dict = {}
    exec(text, values)
    kind = {"schedule": Schedule, "runtime": Runtime}[name]
    assert kind(**values[name])
