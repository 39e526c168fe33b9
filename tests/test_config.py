import dataclasses
from pathlib import Path

import pytest

from tests.toy_training import write_toy_config
from utils.config import (
    Runtime,
    Schedule,
    check_dataset_name,
    load_config,
    parse_options,
    plain,
    read_choice,
    read_section,
)


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
    broken = tmp_path / "broken.py"
    for text, problem in {
        "\ngrid = dict(": "line 2 is not Python: '.' was never closed",
        "grid = undefined": "NameError: name 'undefined' is not defined",
        "grid = 1 / 0": "ZeroDivisionError",
        "_base_ = ['nowhere.py']": r"its base .*nowhere\.py: the file does not exist",
        "_base_ = ['broken' + '.py']": "_base_ must be a list of file names, got .'broken' [+] ",
        "_base_ = [3]": r"_base_ must be a list of file names, got \[3\]",
    }.items():
        broken.write_text(text)
        with pytest.raises(ValueError, match=rf"broken\.py is not a valid config: {problem}"):
            load_config(broken)


@pytest.mark.parametrize("name", ["config.md", "config.json", "config.yaml", "config.pkl"])
@pytest.mark.parametrize("is_base", [False, True])
def test_only_python_files_are_configs(tmp_path, name, is_base):
    other = tmp_path / name
    other.write_text("!!python/object/apply:os.system ['touch ran']")
    if is_base:
        (tmp_path / "config.py").write_text(f"_base_ = {name!r}")
    with pytest.raises(ValueError, match=r"expected a Python file \(\.py\), as in config/"):
        load_config(tmp_path / "config.py" if is_base else other)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xef\xbb\xbflabels = 'unscenes3d'\n", "byte order mark; save it as UTF-8 without one"),
        ("a = 1\n# K\xf6nig\n".encode("latin-1"), "line 2 is not UTF-8; save it as UTF-8"),
        (b"\x80\x04\x95pickle", "line 1 is not UTF-8"),
        (b"a = 1\0\n", "null bytes"),
    ],
)
def test_a_config_is_text_in_utf8(tmp_path, content, problem):
    base = tmp_path / "base.py"
    base.write_bytes(content)
    with pytest.raises(ValueError, match=rf"base\.py is not a valid config: .*{problem}"):
        load_config(base)
    (tmp_path / "config.py").write_text("import pathlib; pathlib.Path('ran').touch()\n"
        "_base_ = 'base.py'\n")  # fmt: skip
    with pytest.raises(ValueError, match=rf"config\.py is not .* its base .*base\.py: .*{problem}"):
        load_config(tmp_path / "config.py")


def test_a_config_that_is_its_own_base_is_rejected(tmp_path):
    (tmp_path / "config.py").write_text("_base_ = './other.py'\n")
    (tmp_path / "other.py").write_text("_base_ = ['config.py']\n")
    with pytest.raises(ValueError, match=r"config\.py is not a valid config: it is its own base"):
        load_config(tmp_path / "config.py")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data_root", 2024, r"data_root of .*toy\.py must be text, got 2024; put it in quotes"),
        ("labels", None, "labels of .* must be text, got None"),
        ("grid.shape", (4, 4.5, 4), r"grid\.shape of .* must be 3 integers, got \(4, 4\.5, 4\)"),
        ("grid.shape", (4, 4), "grid.shape of .* must be 3 integers"),
        ("grid.voxel_m", float("nan"), "grid.voxel_m of .* must be a finite number, got nan"),
        ("grid.voxel_m", "wide", "grid.voxel_m of .* must be a finite number, got 'wide'"),
        ("grid.origin_m", (0, 0, float("inf")), "grid.origin_m of .* must be 3 finite numbers"),
    ],
)
def test_types_at_the_top_level_are_checked(tmp_path, key, value, message):
    with pytest.raises(ValueError, match=message):
        load_config(write_toy_config(tmp_path), {key: value})


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
        ("epochs", "many", "schedule.epochs of .*toy.py must be an integer, got 'many'"),
        ("epochs", True, "epochs of .* must be an integer, got True"),
        ("epochs", 1.0, "epochs of .* must be an integer, got 1.0"),
        ("lr", 0.0, "lr must be > 0"),
        ("lr", float("nan"), "schedule.lr of .* must be a finite number, got nan"),
        ("weight_decay", float("inf"), "weight_decay of .* must be a finite number, got inf"),
        ("amp", None, "schedule.amp of .* must be text, got None"),
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
    path = write_toy_config(tmp_path)
    path.write_text(path.read_text() + "dataset = 3\n")
    with pytest.raises(ValueError, match=r"dataset of .*toy\.py must be a dict, got 3"):
        load_config(path)


def test_an_integer_is_a_float_too(tmp_path):
    cfg = load_config(write_toy_config(tmp_path), {"schedule.lr": 1})
    assert read_section(cfg, "schedule", Schedule).lr == 1


def test_the_data_set_of_the_command_line_must_be_that_of_the_config(tmp_path):
    cfg = load_config(write_toy_config(tmp_path))
    check_dataset_name(cfg, None)
    check_dataset_name(cfg, "toyframes")
    with pytest.raises(ValueError, match=r"nuscenes, but .* is a config for ToyFrames"):
        check_dataset_name(cfg, "nuscenes")


def test_small_helpers(tmp_path):
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


def test_configs_of_older_checkpoints_stay_complete(tmp_path):
    """A key that is added later needs a default."""
    required = {
        kind: {
            field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING
        }
        for kind in (Schedule, Runtime)
    }
    assert required == {
        Schedule: {
            "epochs", "batch_size", "lr", "warmup_share", "min_lr_share", "weight_decay",
            "gradient_accumulation", "clip_grad_norm", "ema_decay", "amp", "val_interval",
        },
        Runtime: {
            "num_workers", "log_interval", "checkpoint_iters", "best_metric", "tensorboard",
            "find_unused_parameters", "compile", "cudnn_benchmark",
        },
    }  # fmt: skip
    cfg = load_config(write_toy_config(tmp_path))
    cfg.schedule.pop("repeat_threshold", None)
    assert read_section(cfg, "schedule", Schedule).repeat_threshold == 0.0
