import json

import numpy as np
import pytest

from dataset.rellis3d.statistics import count_splits
from engine.build.class_balance import class_counts, class_weights
from tests.rellis3d_files import label_rows, write_tiny_rellis
from tools import dataset_statistics
from utils.labels import RELLIS3D, WILDOCC


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "Rellis-3D"
    return write_tiny_rellis(root, sequences=("00000",), frames=4)


def run(*arguments):
    words = [str(word) for word in (*arguments, "--workers", 1)]
    dataset_statistics.main(dataset_statistics.parse_arguments(words))


def test_voxels_of_a_split(tiny):
    found = count_splits(tiny.root, "lists", workers=1)
    assert {split: counts.frames for split, counts in found.items()} == {
        "train": 2, "val": 1, "test": 1,
    }  # fmt: skip
    rows = np.concatenate([label_rows(frame) for frame in tiny.frames[:2]])
    for number, name in ((3, "grass"), (4, "tree"), (19, "bush")):
        assert found["train"].voxels[RELLIS3D.index(name)] == (rows[:, 3] == number).sum()
    assert found["train"].frames_with[RELLIS3D.index("puddle")] == 2
    assert found["train"].shares.sum() == pytest.approx(1.0)


def test_void_is_ignored_or_one_of_the_others(tiny, tmp_path):
    own = write_tiny_rellis(tmp_path / "Rellis-3D", sequences=("00000",), frames=4)
    path = own.labels_root / "V1/00000/000003.npy"
    np.save(path, np.array([[1, 1, 1, 0], [2, 2, 2, 17], [3, 3, 3, 3]]))
    found = count_splits(own.root, "lists", workers=1)["test"]
    assert (found.ignored, found.voxels.sum()) == (1, 2)
    found = count_splits(own.root, "lists", WILDOCC, workers=1)["test"]
    assert (found.ignored, found.voxels[WILDOCC.index("others")]) == (0, 2)
    np.save(path, np.array([[1, 1, 1, 99]]))
    with pytest.raises(ValueError, match=r"000003\.npy: expected the ids .* found \[99\]"):
        count_splits(own.root, "lists", workers=1)


def test_the_tool_prints_values_for_a_config(tiny, tmp_path, capsys):
    run(tiny.root, "--labels", "wildocc", "--json", tmp_path / "counts.json")
    text = capsys.readouterr().out
    counted = count_splits(tiny.root, "lists", WILDOCC, workers=1)["train"]
    weights = class_weights(counted, WILDOCC.index("grass"))
    assert f"class_weights={tuple(weights)}" in text
    assert len(weights) == len(class_counts(counted)) == WILDOCC.num_classes
    assert weights[:2] == [1.0, 1.0]
    assert f"class_counts={tuple(class_counts(counted))}" in text
    content = json.loads((tmp_path / "counts.json").read_text())
    assert content["train"]["voxels"]["grass"] == counted.voxels[1]


def test_whole_sequences(tiny, capsys):
    run(tiny.root, "--split-source", "sequence")
    assert capsys.readouterr().out.startswith("train: 4 frames")


def test_options_of_others_are_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match="--plot and --distinct are not for RELLIS-3D"):
        run(tiny.root, "--distinct")
    with pytest.raises(ValueError, match="are only for RELLIS-3D"):
        run(tmp_path, "--labels", "wildocc")
