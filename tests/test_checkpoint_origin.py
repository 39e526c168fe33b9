import logging
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from dataset.options import INPUT_KEYS
from engine import __version__
from engine.checkpoint.files import save_atomically
from engine.checkpoint.origin import (
    compare_with_run,
    describe_training,
    differences,
    flat,
    stored_config,
    trained_config,
)
from engine.checkpoint.weights import TrainedWeights
from model.weight_files import read_checkpoint
from tests.predict_config import write_config
from utils.config import load_config, plain
from utils.labels import UNSCENES3D

ROOT = Path(__file__).parents[1]


@pytest.fixture
def file(tmp_path):
    return write_config(tmp_path)


def beside(file: Path, text: str) -> Path:
    """Another config that inherits from a file."""
    other = file.with_name("other.py")
    other.write_text(f'_base_ = "{file.name}"\n{text}')
    return other


def weights_of(file: Path, options: dict | None = None) -> TrainedWeights:
    """Weights of a training with the config and these overrides."""
    return TrainedWeights(Path("w.pth"), {}, describe_training(load_config(file, options)))


def values_of(cfg) -> dict:
    return plain(cfg.to_dict())


# --- what a checkpoint stores ---


def test_a_training_is_described_in_plain_values(file, tmp_path):
    cfg = load_config(file)
    facts = describe_training(cfg)
    assert facts["config"] == values_of(cfg)
    assert facts["labels"] == list(UNSCENES3D.class_names)
    assert facts["versions"] == {"unsocc": __version__, "torch": str(torch.__version__)}
    save_atomically(facts, tmp_path / "w.pth")
    assert read_checkpoint(tmp_path / "w.pth") == facts


def test_values_that_a_checkpoint_cannot_store_are_named(file):
    cfg = load_config(file, {"dataset.image_size": (30, torch.zeros(1))})
    with pytest.raises(ValueError, match=r"^dataset\.image_size\.1 is a Tensor; checkpoints store"):
        describe_training(cfg)


def test_the_version_is_that_of_the_package():
    for name in ("pyproject.toml", "CITATION.cff"):
        text = (ROOT / name).read_text(encoding="utf-8").replace('"', "").replace(" = ", ": ")
        assert f"\nversion: {__version__}\n" in text, name


def test_a_plain_state_dict_has_no_config():
    assert stored_config({"a.weight": torch.zeros(1)}, "w.pth") is None
    assert stored_config({"config": {}, "state_dict": {}}, "w.pth") is None  # another program's


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format": 2, "versions": {"unsocc": "9.0"}},
            "has format 2, written by version 9",
        ),
        ({"format": "x"}, "has format 'x', written by version"),
        ({"config": 3}, r"w\.pth contains an invalid config"),
        ({"config": {"labels": "unscenes3d"}}, r"w\.pth contains an invalid config"),
        ({"labels": ["free", "mud"]}, r"predicts the classes \['free', 'mud'\], but the label set"),
    ],
)
def test_facts_that_cannot_be_used_are_rejected(file, changes, message):
    facts = weights_of(file).facts | changes
    with pytest.raises(ValueError, match=message):
        stored_config(facts, "w.pth")


# --- which config wins ---


def test_the_config_in_the_weights_is_enough(file, caplog):
    weights = weights_of(file, {"model.dropout": 0.1, "dataset.image_size": (20, 40)})
    cfg = trained_config(weights, None, {})
    assert values_of(cfg) == weights.facts["config"]
    assert cfg.filename == "w.pth"
    assert not caplog.text


def test_weights_without_a_config_need_one(file):
    bare = TrainedWeights(Path("w.pth"), {}, {"a": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"w\.pth does not contain its config: pass --py-config"):
        trained_config(bare, None, {})
    cfg = trained_config(bare, file, {"model.dropout": 0.4})
    assert values_of(cfg) == values_of(load_config(file, {"model.dropout": 0.4}))


def test_network_and_input_are_of_the_weights_and_the_rest_of_the_file(file, caplog):
    trained = {"model.dropout": 0.1, "dataset.image_size": (20, 40), "grid.voxel_m": 4.8}
    weights = weights_of(file, trained | {"data_root": "there", "schedule.lr": 0.5})
    with caplog.at_level(logging.INFO, logger="engine"):
        cfg = trained_config(weights, file, {"schedule.batch_size": 3})
    assert (cfg.model.dropout, cfg.dataset.image_size, cfg.grid.voxel_m) == (0.1, (20, 40), 4.8)
    assert (cfg.data_root, cfg.schedule.lr, cfg.schedule.batch_size) == ("", 2e-4, 3)
    warning, info = caplog.messages
    assert warning.startswith(f"settings of {file} that are ignored, because w.pth was trained")
    assert "model.dropout=0.2 (trained with 0.1)" in warning
    assert "dataset.image_size=(30, 48) (trained with (20, 40))" in warning
    assert "data_root='' (trained with 'there')" in info
    assert "schedule.batch_size=3 (trained with 1)" in info
    assert "runtime" not in info


def test_a_config_with_the_same_values_says_nothing(file, caplog):
    as_list = {"dataset.image_size": [30, 48]}
    trained_config(weights_of(file, as_list), file, {})
    assert not caplog.text


def test_an_input_default_of_the_training_stays(file):
    other = beside(file, 'dataset = dict(max_range_m=20.0, split_source="region")')
    cfg = trained_config(weights_of(file), other, {})
    assert "max_range_m" not in cfg.dataset
    assert cfg.dataset.split_source == "region"


def test_another_data_set_takes_the_inputs_that_it_has_too(file):
    values = 'type="NuScenes", version="auto", image_size=(10, 20), num_sweeps=10'
    other = beside(file, f"dataset = dict(_delete_=True, {values})")
    cfg = trained_config(weights_of(file, {"dataset.image_size": (20, 40)}), other, {})
    expected = dict(type="NuScenes", version="auto", image_size=(20, 40), num_sweeps=10)
    assert plain(cfg.dataset) == expected


def test_what_the_user_types_wins_with_a_warning(file, caplog):
    cfg = trained_config(weights_of(file), None, {"dataset.image_size": (20, 40), "data_root": "d"})
    assert cfg.dataset.image_size == (20, 40)
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warning == (
        "w.pth was trained with other settings: dataset.image_size=(20, 40) (trained with (30, 48))"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "nuscenes"}, "labels='unscenes3d', but the command line has labels='nuscenes'"),
        ({"modality": "lidar"}, r"modality='both', but the command line .*; --sensors chooses"),
        ({"model.dropuot": 1}, r"unknown key 'model\.dropuot' in w\.pth; did you mean"),
    ],
)
def test_contradictions_are_rejected(file, options, message):
    with pytest.raises(ValueError, match=message):
        trained_config(weights_of(file), None, options)


def test_a_config_of_other_labels_is_rejected(file):
    other = beside(file, 'labels = "nuscenes"')
    with pytest.raises(ValueError, match=r"labels='unscenes3d', but .*other\.py has labels='nusc"):
        trained_config(weights_of(file), other, {})


# --- a training that starts from a checkpoint ---


def test_a_run_names_how_it_differs_from_its_checkpoint(file, caplog):
    now = values_of(load_config(file))
    changed = {"model.dropout": 0.1, "schedule.lr": 0.5, "runtime.compile": True}
    trained = values_of(load_config(file, changed))
    compare_with_run(trained, now, Path("w.pth"), exact=False)
    dropout = "w.pth was trained with other settings: model.dropout=0.2 (trained with 0.1)"
    assert caplog.messages == [dropout]
    compare_with_run(trained, now, Path("w.pth"), exact=True)
    rate = "schedule.lr=0.0002 (trained with 0.5)"
    assert caplog.messages[1] == dropout.replace(": ", f": {rate}, ")
    compare_with_run(now, now, Path("w.pth"), exact=True)
    compare_with_run(None, now, Path("w.pth"), exact=True)
    assert len(caplog.messages) == 2
    with pytest.raises(ValueError, match="labels='nuscenes', but this run has labels='unscenes3d'"):
        compare_with_run(trained | {"labels": "nuscenes"}, now, Path("w.pth"), exact=False)


def test_differences_are_of_values_and_not_of_their_kind():
    now = {"a": {"b": (1, 2), "c": 3, "e": {}}, "d": None}
    before = {"a": {"b": [1, 2], "c": 4.0, "e": {}}, "f": "x"}
    assert differences(now, before) == [
        "a.c=3 (trained with 4.0)",
        "d=None (trained with nothing)",
        "f=nothing (trained with 'x')",
    ]
    assert flat(now) == {"a.b": (1, 2), "a.c": 3, "a.e": {}, "d": None}


def test_every_key_of_a_data_set_is_an_input_or_says_how_its_files_are_read():
    files = {"type", "split_source", "pose_rule", "version", "labels_source", "labels_root"}
    files |= {"use_mask", "intensity_max"}
    for name in ("unscenes3d", "nuscenes"):
        keys = set(Config.fromfile(str(ROOT / f"config/_base_/{name}.py")).dataset)
        assert keys <= files | set(INPUT_KEYS), name
