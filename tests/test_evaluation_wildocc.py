"""The network's answers are painted volumes: what they score on WildOcc is known."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

import eval_iou
from dataset.rellis3d import classes
from engine.build.build import build_model
from engine.metrics.confusion import Confusion
from engine.metrics.occupancy import occupancy_scores
from tests.rellis3d_config import write_painting_config, write_rellis_config
from tests.rellis3d_files import TREE, occupancy, write_tiny_rellis
from utils.config import load_config
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, RELLIS3D, WILDOCC, label_set

GRID = VoxelGrid((0.0, -10.0, -2.0), 0.2, (100, 100, 40))
MARGIN = VoxelGrid((0.0, -10.4, -2.0), 0.2, (104, 104, 40))
COARSE = VoxelGrid((0.0, -10.0, -2.0), 0.4, (50, 50, 20))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """One frame each in train, val and test."""
    root = tmp_path_factory.mktemp("tiny") / "Rellis-3D"
    return write_tiny_rellis(root, sequences=("00000",), frames=4)


@pytest.fixture
def painted(tmp_path):
    """A function that writes volumes for PaintedVolume to predict, and its config."""

    def write(tiny, volumes, grid, **changes):
        for stem, labels in volumes.items():
            np.save(tmp_path / f"{stem}.npy", labels)
        return write_painting_config(tmp_path / "config.py", tiny.root, tmp_path, grid, **changes)

    return write


def evaluate(config: Path, words: str = "--benchmark wildocc --split test") -> dict:
    file = config.with_name("scores.json")
    arguments = f"--py-config {config} --work-dir {config.parent} --json {file} {words}"
    eval_iou.main(eval_iou.parse_arguments(shlex.split(arguments)))
    return json.loads(file.read_text())


def labels_of(tiny, grid, name="rellis3d"):
    """The true labels of each frame, none ignored."""
    labels = label_set(name)
    table = classes.label_table(classes.RELLIS_IDS, labels)
    found = {}
    for frame in tiny.frames:
        ids = occupancy(frame, grid)
        found[frame.stem] = np.where(ids == 0, FREE, table[ids]).astype(np.uint8)
        assert (found[frame.stem] != IGNORE).all()
    return found


@pytest.mark.parametrize("grid", [GRID, MARGIN], ids=["labels", "margin"])
@pytest.mark.parametrize("name", ["rellis3d", "wildocc"])
def test_a_volume_painted_with_the_label_scores_100(tiny, painted, grid, name, capsys):
    config = painted(tiny, labels_of(tiny, grid, name), grid, labels=name)
    found = evaluate(config)
    assert found["iou"] == found["miou"] == found["long_tail_miou"] == 1.0
    assert found["wildocc"]["iou"] == found["wildocc"]["miou"] == 1.0
    assert found["wildocc"]["convention"] == "wildocc"
    assert set(found["wildocc"]["per_class_iou"]) == set(WILDOCC.class_names[1:-1])
    assert (found["convention"], found["benchmark"], found["release"]) == (
        "default", "wildocc", "V1",
    )  # fmt: skip
    assert found["range_m"] == pytest.approx([0, -10, -2, 20, 10, 6])
    text = capsys.readouterr().out
    assert text.count("grid of WildOcc V1: 100×100×40 voxels of 0.2 m") == 2
    assert "Convention 'wildocc': a class without labels counts as 100%" in text


def test_the_reference_by_hand(tiny, painted):
    """Others count as occupied; absent classes as 100 %; all voxels, seen or not."""
    truth = labels_of(tiny, GRID, "wildocc")
    volumes = {stem: labels.copy() for stem, labels in truth.items()}
    for labels in volumes.values():
        labels[labels == WILDOCC.index("tree")] = WILDOCC.index("others")
        labels[:50][labels[:50] == WILDOCC.index("grass")] = FREE
    config = painted(tiny, volumes, GRID, labels="wildocc")
    found = evaluate(config)
    stem = tiny.frames[3].stem
    target, predicted = truth[stem], volumes[stem]
    occupied = (target > 0) & (predicted > 0)
    assert found["iou"] == occupied.sum() / ((target > 0) | (predicted > 0)).sum()
    assert found["iou"] == found["wildocc"]["iou"] < 1
    grass = ((target == 1) & (predicted == 1)).sum() / (target == 1).sum()
    # Tree 0, grass a part, bush and puddle 1, and mud, barrier and rubble 1 for being absent.
    assert found["wildocc"]["miou"] == pytest.approx((grass + 0 + 5) / 7)
    # By default, absent classes are left out, and others, predicted only, is 0.
    assert found["miou"] == pytest.approx((grass + 0 + 2 + 0) / 5)


def test_the_convention_is_that_of_selfocc_without_others():
    counts = Confusion(WILDOCC.num_classes)
    counts.update(np.array([1, 8, 0, 5]), np.array([1, 1, 8, 0]))
    found = occupancy_scores(counts, WILDOCC, "wildocc")
    assert found.per_class_iou == pytest.approx(
        dict.fromkeys(WILDOCC.class_names[1:-1], 1.0) | {"grass": 0.5}
    )
    assert found.miou == pytest.approx(6.5 / 7)
    assert found.iou == pytest.approx(2 / 4)
    assert "others" in occupancy_scores(counts, WILDOCC).per_class_iou


def test_other_classes_become_others(tiny, painted):
    """A person where a tree is: occupied, and no tree."""
    volumes = labels_of(tiny, GRID)
    for labels in volumes.values():
        labels[labels == RELLIS3D.index("tree")] = RELLIS3D.index("person")
    config = painted(tiny, volumes, GRID)
    found = evaluate(config, f"--benchmark wildocc --split test --save-pred {config.parent}/pred")
    assert found["wildocc"]["iou"] == 1.0
    assert found["wildocc"]["per_class_iou"]["tree"] == 0.0
    saved = np.load(config.parent / f"pred/{tiny.frames[3].stem}.npy")
    is_tree = occupancy(tiny.frames[3], GRID) == TREE
    assert (saved[is_tree] == WILDOCC.index("others")).all()


def test_larger_voxels_are_sampled_at_the_benchmarks(tiny, painted):
    config = painted(tiny, labels_of(tiny, COARSE), COARSE)
    found = evaluate(config)
    # Surfaces twice as thick: all of them are found, and more.
    assert found["recall"] > 0.95
    assert found["iou"] < 0.5


def test_the_threshold_is_the_networks(tiny, painted):
    config = painted(tiny, labels_of(tiny, GRID), GRID)
    config.write_text(f"{config.read_text()}model['occupied_threshold'] = 0.99999\n")
    assert evaluate(config)["recall"] == 0.0


def test_v2_is_not_comparable(tmp_path, painted, caplog):
    tiny = write_tiny_rellis(
        tmp_path / "data/Rellis-3D", sequences=("00000",), frames=4, release="V2.0"
    )
    grid = VoxelGrid((0.0, -16.0, -2.0), 0.2, (160, 160, 40))
    config = painted(
        tiny,
        labels_of(tiny, grid),
        grid,
        dataset=dict(labels_grid=vars(grid), labels_axes="forward"),
    )
    found = evaluate(config)
    assert found["wildocc"]["miou"] == 1.0
    assert found["release"] == "V2.0"
    assert "the labels are of V2.0, but published results are on V1" in caplog.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--benchmark occ3d", "--benchmark occ3d is for nuScenes: RELLIS-3D has --benchmark wil"),
        ("--benchmark wildocc --use-mask", "--use-mask: only for nuScenes"),
        ("--benchmark wildocc --distances 10", "--distances and --ray-iou: leave out --benchmark"),
        ("--occ3d", "--occ3d: only for nuScenes"),
    ],
)
def test_options_of_others_are_refused(tiny, painted, words, message):
    config = painted(tiny, labels_of(tiny, GRID), GRID)
    with pytest.raises(ValueError, match=message):
        evaluate(config, f"{words} --split test")


def test_a_network_of_both_sensors(tiny, tmp_path):
    """The network at its smallest, from files to the benchmark's table."""
    config = write_rellis_config(tmp_path / "config.py", tiny.root, dataset=dict(num_sweeps=2))
    network = build_model(load_config(config))
    torch.save(network.state_dict(), tmp_path / "model_state_dict.pth")
    found = evaluate(config)
    assert 0 <= found["iou"] <= 1
    assert found["frames"] == found["wildocc"]["frames"] == 1
