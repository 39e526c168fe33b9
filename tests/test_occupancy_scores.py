import json
import math

import numpy as np
import pytest

from engine.metrics.confusion import Confusion
from engine.metrics.occupancy import describe_grid, find_convention, occupancy_scores
from utils.geometry import VoxelGrid
from utils.labels import UNSCENES3D, LabelSet


def numbered(count):
    return LabelSet("numbered", tuple(map(str, range(count))), colors=((0, 0, 0),) * count)


def scores_of(pred, target, count, convention="default", *, labels=None, free_label=0, ignore=255):
    rule = find_convention(convention)
    confusion = Confusion(count, ignore_label=ignore, ignore_invalid=rule.ignore_invalid)
    confusion.update(np.asarray(pred), np.asarray(target))
    return occupancy_scores(confusion, labels or numbered(count), convention, free_label=free_label)


def slow_scores(pred, target, classes, free_label, ignore):
    """The definitions, voxel by voxel; None where undefined."""
    counted = [(p, t) for p, t in zip(pred, target, strict=True) if t != ignore]
    hit = sum(free_label not in (p, t) for p, t in counted)
    predicted = sum(p != free_label for p, _ in counted)
    labeled = sum(t != free_label for _, t in counted)
    per_class = {}
    for label in classes:
        both = sum(p == label and t == label for p, t in counted)
        either = sum(label in (p, t) for p, t in counted)
        per_class[str(label)] = both / either if either else None
    defined = [iou for iou in per_class.values() if iou is not None]
    return {
        "iou": hit / (predicted + labeled - hit),
        "precision": hit / predicted,
        "recall": hit / labeled,
        "miou": sum(defined) / len(defined),
        "per_class_iou": per_class,
    }


def test_by_hand():
    # One free voxel kept; one false alarm of 1; 1 hit once, taken for 2 once; 2 hit once and
    # missed once; the ignored voxel counts nowhere.
    target = [0, 0, 1, 1, 2, 2, 255]
    pred = [0, 1, 1, 2, 2, 0, 1]
    scores = scores_of(pred, target, 3)
    assert scores.iou == pytest.approx(3 / 5)  # 3 of 4 found, with 1 false alarm
    assert scores.precision == pytest.approx(3 / 4)
    assert scores.recall == pytest.approx(3 / 4)
    assert scores.per_class_iou == pytest.approx({"1": 1 / 3, "2": 1 / 3})
    assert scores.miou == pytest.approx(1 / 3)
    assert math.isnan(scores.long_tail_miou)
    assert (scores.frames, scores.convention) == (1, "default")


@pytest.mark.parametrize("free_label", [0, 4])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_a_slow_loop(seed, free_label):
    rng = np.random.default_rng(seed)
    target = rng.choice([0, 1, 2, 4, 255], 200)
    pred = rng.choice([0, 1, 3, 4], 200)
    expected = slow_scores(pred, target, sorted({*range(6)} - {free_label}), free_label, 255)
    found = scores_of(pred, target, 6, free_label=free_label).to_json()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value)


def test_perfect_prediction():
    target = np.arange(12)
    scores = scores_of(target, target, 12, labels=UNSCENES3D)
    assert scores.iou == scores.precision == scores.recall == scores.miou == 1
    assert scores.long_tail_miou == 1
    assert set(scores.per_class_iou) == set(UNSCENES3D.class_names[1:])


# Label 1 is hit in 1 of 2 voxels; 2 is labeled and never predicted; 3 is predicted and never
# labeled; 4 is in neither.
TARGET = [0, 0, 1, 1, 2]
PRED = [0, 3, 1, 0, 0]


@pytest.mark.parametrize(
    ("convention", "per_class"),
    [
        ("default", {"1": 0.5, "2": 0, "3": 0, "4": None}),
        ("ssc", {"1": 0.5, "2": 0, "3": 0, "4": 0}),
        ("occ3d", {"1": 0.5, "2": 0, "3": 0, "4": None}),
        ("selfocc", {"1": 0.5, "2": 0, "3": 1, "4": 1}),
    ],
)
def test_absent_classes(convention, per_class):
    found = scores_of(PRED, TARGET, 5, convention).to_json()
    assert found["per_class_iou"] == per_class
    defined = [iou for iou in per_class.values() if iou is not None]
    assert found["miou"] == pytest.approx(sum(defined) / len(defined))
    assert found["iou"] == pytest.approx(1 / 4)
    assert found["convention"] == convention


@pytest.mark.parametrize(
    ("convention", "count", "free_label", "ignore", "mean_over"),
    [
        ("default", 12, 0, 255, range(1, 12)),
        ("default", 18, 17, 255, range(17)),
        ("default", 18, 17, 0, range(1, 17)),
        ("ssc", 20, 0, 255, range(1, 20)),
        ("occ3d", 18, 17, 255, range(17)),
        ("selfocc", 17, 0, 255, range(1, 17)),
        ("selfocc", 18, 0, 255, range(1, 17)),
        ("selfocc", 18, 17, 255, range(1, 17)),
        ("selfocc", 12, 0, 255, range(1, 12)),
    ],
)
def test_which_classes_the_mean_is_over(convention, count, free_label, ignore, mean_over):
    everything = np.arange(count)
    scores = scores_of(
        everything, everything, count, convention, free_label=free_label, ignore=ignore
    )
    assert list(scores.per_class_iou) == [str(label) for label in mean_over]


def test_an_all_free_prediction_scores_two_classes_of_sixteen_under_selfocc():
    target = np.arange(18)
    target[[3, 4]] = 17  # The two classes that no label has count 100 %.
    scores = scores_of(np.full(18, 17), target, 18, "selfocc", free_label=17)
    assert scores.miou == pytest.approx(0.125)
    assert scores.iou == 0


def test_only_selfocc_warns_that_it_flatters(caplog):
    for convention in ("default", "ssc", "occ3d"):
        scores_of(PRED, TARGET, 5, convention)
    assert not caplog.records
    scores = scores_of(PRED, TARGET, 5, "selfocc")
    assert "inflates" in caplog.text
    assert "inflates" in scores.table()


def test_occ3d_ignores_labels_beyond_its_classes():
    target, pred = [0, 1, 17, 18, 255], [0, 1, 17, 3, 3]
    scores = scores_of(pred, target, 18, "occ3d", free_label=17)
    assert (scores.iou, scores.miou) == (1, 1)


def test_long_tail_is_the_mean_over_the_nine_others():
    target = np.array([0, 1, 2, 10, 10, 11, 11])
    pred = np.array([0, 1, 0, 10, 0, 11, 11])
    scores = scores_of(pred, target, 12, labels=UNSCENES3D)
    assert scores.long_tail_miou == pytest.approx(0.5)  # barrier 1, truck 0, seven in neither
    assert scores.miou == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    under_ssc = scores_of(pred, target, 12, "ssc", labels=UNSCENES3D)
    assert under_ssc.long_tail_miou == pytest.approx(1 / 9)
    assert under_ssc.miou == pytest.approx(2.5 / 11)


def test_nothing_to_score_is_undefined():
    found = scores_of([0, 1], [255, 255], 3).to_json()
    assert found["iou"] is found["precision"] is found["recall"] is found["miou"] is None
    assert found["per_class_iou"] == {"1": None, "2": None}


def test_nothing_predicted_has_no_precision():
    found = scores_of([0, 0], [0, 1], 2).to_json()
    assert (found["iou"], found["precision"], found["recall"]) == (0, None, 0)
    found = scores_of([0, 1], [0, 0], 2).to_json()
    assert (found["iou"], found["precision"], found["recall"]) == (0, 0, None)


def test_counts_are_pooled_before_the_division():
    confusion = Confusion(2)
    confusion.update(np.array([1, 1, 1, 1]), np.array([1, 1, 1, 1]))  # IoU 1 over 4 voxels
    confusion.update(np.array([0]), np.array([1]))  # IoU 0 over 1 voxel
    assert occupancy_scores(confusion, numbered(2)).miou == pytest.approx(4 / 5)


def test_json_holds_the_keys_and_no_nan():
    found = scores_of(PRED, TARGET, 5).to_json()
    assert list(found) == [
        "iou", "precision", "recall", "miou", "long_tail_miou", "per_class_iou", "frames",
        "convention",
    ]  # fmt: skip
    json.dumps(found, allow_nan=False)


def test_table_lists_percent_and_dashes_in_order():
    table = scores_of(PRED, TARGET, 5).table("2×2×2 voxels")
    lines = [line.split() for line in table.splitlines()]
    rows = [tuple(line) for line in lines if len(line) in (2, 3) and not line[0].startswith("-")]
    assert rows == [
        ("IoU", "25.00"),
        ("precision", "50.00"),
        ("recall", "33.33"),
        ("1", "50.00"),
        ("2", "0.00"),
        ("3", "0.00"),
        ("4", "-"),
        ("mIoU", "16.67"),
        ("long-tail", "mIoU", "-"),
    ]
    assert "Percent; 1 frame; grid 2×2×2 voxels." in table
    assert "Convention 'default'" in table


def test_describe_grid():
    fine = VoxelGrid((0.0, -38.4, -4.0), 0.3, (256, 256, 32))
    assert describe_grid(fine) == "256×256×32 voxels of 0.3 m"
    assert describe_grid(fine, fine) == "256×256×32 voxels of 0.3 m"
    coarse = describe_grid(fine.coarsen(4), fine)
    assert coarse.startswith("64×64×8 voxels of 1.2 m (labels coarsened by 4")


def test_rejects_unknown_conventions_and_other_label_sets():
    with pytest.raises(ValueError, match=r"unknown convention 'iou'; known:.*selfocc"):
        occupancy_scores(Confusion(5), numbered(5), "iou")
    with pytest.raises(ValueError, match="counts are over 5 labels, but 'unscenes3d' has 12"):
        occupancy_scores(Confusion(5), UNSCENES3D)
    with pytest.raises(ValueError, match="free label must be 0–4, got 5"):
        occupancy_scores(Confusion(5), numbered(5), free_label=5)
