from pathlib import Path

import pytest

import model  # noqa: F401
from engine.build.build import build_dataset, build_model
from engine.build.section import Section
from tests.toy_training import write_toy_config
from utils.config import load_config
from utils.registry import DATASETS, MODELS

DEMO = Path(__file__).parents[1] / "config/minesim/minesim_occ.py"
NAN = float("nan")


def test_misspelt_keys_of_a_class_name_the_config_and_the_key(tmp_path):
    cfg = load_config(write_toy_config(tmp_path))
    cfg.model.droput = 0.1
    with pytest.raises(
        ValueError, match=r"model of .*toy\.py: unknown key 'droput'; did you mean 'dr"
    ):
        Section(cfg, "model", MODELS).build()
    del cfg.model["droput"]
    with pytest.raises(ValueError, match="missing 3 required positional arguments"):
        Section(cfg, "model", MODELS).build()
    with pytest.raises(ValueError, match=r"\['dropout'\] are set elsewhere"):
        Section(cfg, "model", MODELS).build({"dropout": 0.3})


def test_misspelt_keys_are_found_in_parts_too(tmp_path):
    cfg = load_config(write_toy_config(tmp_path))
    cfg.model = dict(
        type="UnsOcc", coarsening=2, loss={}, parts=dict(head=dict(type="OccupancyHead", chanels=3))
    )
    with pytest.raises(ValueError, match=r"model\.parts\.head of .*: unknown key 'chanels'"):
        Section(cfg, "model", MODELS).build()
    cfg.model.parts.head = dict(type="OccupancyHat")
    with pytest.raises(ValueError, match="unknown type 'OccupancyHat'; did you mean 'Occ"):
        Section(cfg, "model", MODELS).build()


def test_an_unknown_class_is_rejected(tmp_path):
    cfg = load_config(write_toy_config(tmp_path), {"dataset.type": "ToyFrame"})
    with pytest.raises(ValueError, match="unknown type 'ToyFrame'; did you mean 'ToyFrames'"):
        Section(cfg, "dataset", DATASETS).build()


def test_a_bug_in_a_constructor_keeps_its_type(tmp_path):
    class Broken:
        def __init__(self) -> None:
            raise TypeError("unsupported operand")

    MODELS.register_module(name="Broken", module=Broken, force=True)
    cfg = load_config(write_toy_config(tmp_path))
    cfg.model = dict(type="Broken")
    with pytest.raises(TypeError, match="unsupported operand"):
        Section(cfg, "model", MODELS).build()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("coarsening", 2.0, "an integer, got 2.0"),
        ("loss.weights.depth", NAN, "a finite number, got nan"),
        ("loss.weights.depth", "much", "a finite number, got 'much'"),
        ("loss.weights", None, "a dict, got None"),
        (
            "loss.class_weights",
            (1.0, None),
            r"a sequence of finite numbers or None, got \(1.0, None",
        ),
        ("loss.class_counts", 3, "a sequence of integers or None, got 3"),
        ("loss.effective_number_beta", True, "a finite number, got True"),
        ("rendering.stride", 2.5, "an integer, got 2.5"),
        ("rendering.far_m", float("inf"), "a finite number, got inf"),
        ("sensor_dropout.camera", "0,5", "a finite number, got '0,5'"),
        ("parts.lift.bins.num", 48.5, "an integer, got 48.5"),
        ("parts.lift.bins.spacing", 1, "text, got 1"),
        ("parts.lift.channels", "many", "an integer, got 'many'"),
        ("parts.decoder.channels", (32, 64.0), r"a sequence of integers, got \(32, 64.0\)"),
        ("parts.image_encoder.weights", 18, "text or None, got 18"),
        ("parts.head", None, "a dict, got None"),
    ],
)
def test_types_in_the_model_are_checked(key, value, expected):
    cfg = load_config(DEMO, {f"model.{key}": value})
    with pytest.raises(ValueError, match=rf"^model\.{key} of .*minesim_occ\.py must be {expected}"):
        build_model(cfg)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("num_sweeps", 1.5, "an integer, got 1.5"),
        ("max_range_m", "far", "a finite number, got 'far'"),
        ("max_range_m", NAN, "a finite number, got nan"),
        ("image_size", (160.7, 256), r"a sequence of integers or None, got \(160.7, 256\)"),
        ("image_size", "160x256", "a sequence of integers or None, got '160x256'"),
        ("image_crop", (0, 0, 1, NAN), "a sequence of finite numbers, got"),
        ("split_source", None, "text, got None"),
    ],
)
def test_types_in_the_data_set_are_checked(key, value, expected):
    cfg = load_config(DEMO, {f"dataset.{key}": value})
    with pytest.raises(ValueError, match=rf"^dataset\.{key} of .*\.py must be {expected}"):
        build_dataset(cfg, "train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_scale": 0.9}, r"\.image_scale of .* must be 2 finite numbers, got 0\.9"),
        ({"brightness": NAN}, r"\.brightness of .* must be a finite number, got nan"),
        ({"brightnes": 0.1}, r" of .*: unknown key 'brightnes'; did you mean 'brightness'"),
    ],
)
def test_types_in_the_augmentation_are_checked(options, message):
    cfg = load_config(DEMO)
    cfg.augmentation = options
    with pytest.raises(ValueError, match="^augmentation" + message):
        build_dataset(cfg, "train", training=True)
    with pytest.raises(FileNotFoundError):  # Validation is not augmented.
        build_dataset(cfg, "val")
