import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from torch import Tensor

from dataset.occupancy_files import read_labels
from dataset.sample import Batch
from engine.evaluation.occupancy_metric import OccupancyMetric
from engine.metrics.confusion import Confusion
from engine.metrics.occupancy import occupancy_scores

FRAMES = 5


@dataclass
class Predicted:
    stem: str
    occupancy: Tensor


def pair(k, shape=(4, 3, 2)):
    rng = np.random.default_rng(k)
    pred, target = (rng.integers(0, 12, shape, dtype=np.uint8) for _ in range(2))
    target[rng.random(shape) < 0.2] = 255
    return torch.from_numpy(pred), torch.from_numpy(target)


def give(metric, frames):
    """What a validation loop gives for one batch."""
    pairs, stems = [pair(k) for k in frames], [f"{k}.5" for k in frames]
    predictions = [Predicted(stem, pred) for stem, (pred, _) in zip(stems, pairs, strict=True)]
    targets = torch.stack([target for _, target in pairs])
    metric.process(Batch(stems, scenes=[""] * len(stems), occupancy=targets), predictions)


def expected_scores(frames):
    confusion = Confusion(12)
    for k in frames:
        confusion.update(*pair(k))
    return occupancy_scores(confusion, OccupancyMetric("unscenes3d").labels)


def test_gives_the_scores_of_all_batches():
    metric = OccupancyMetric("unscenes3d")
    give(metric, [0, 1])
    give(metric, [2])
    found = metric.evaluate(3)
    expected = expected_scores(range(3))
    assert metric.scores == expected
    assert found["miou"] == pytest.approx(expected.miou)
    assert found["long_tail_miou"] == pytest.approx(expected.long_tail_miou)
    assert found["iou_truck"] == pytest.approx(expected.per_class_iou["truck"])
    assert set(found) == {
        "iou", "precision", "recall", "miou", "long_tail_miou",
        *(f"iou_{name}" for name in metric.labels.class_names[1:]),
    }  # fmt: skip
    assert all(type(value) is float for value in found.values())


def test_starts_anew_after_each_evaluation():
    metric = OccupancyMetric("unscenes3d")
    for frames in ([0, 1], [3]):
        give(metric, frames)
        metric.evaluate(len(frames))
        assert metric.scores == expected_scores(frames)


def test_a_frame_given_twice_counts_once():
    metric = OccupancyMetric("unscenes3d")
    for frames in ([0, 1], [2, 0]):
        give(metric, frames)
    metric.evaluate(3)
    assert metric.scores == expected_scores(range(3))


def test_undefined_scores_are_nan():
    metric = OccupancyMetric("unscenes3d")
    ignored = torch.full((1, 2, 2, 2), 255, dtype=torch.uint8)
    prediction = Predicted("a", torch.zeros(2, 2, 2, dtype=torch.uint8))
    metric.process(Batch(["a"], [""], occupancy=ignored), [prediction])
    assert all(math.isnan(value) for value in metric.evaluate(1).values())


def test_is_built_and_run_by_name(tmp_path):
    evaluator = Evaluator([dict(type="OccupancyMetric", labels="unscenes3d", convention="ssc")])
    batch = Batch(["a"], [""], occupancy=torch.ones(1, 2, 2, 2, dtype=torch.uint8))
    prediction = Predicted("a", torch.ones(2, 2, 2, dtype=torch.uint8))
    evaluator.process(data_samples=[prediction], data_batch=batch)
    assert evaluator.evaluate(1)["miou"] == pytest.approx(1 / 11)


def test_saves_each_prediction(tmp_path):
    metric = OccupancyMetric("unscenes3d", save_pred=str(tmp_path / "pred"))
    give(metric, [0, 1])
    assert sorted(path.name for path in (tmp_path / "pred").iterdir()) == ["0.5.npy", "1.5.npy"]
    saved = read_labels(tmp_path / "pred" / "1.5.npy")
    assert saved.dtype == np.uint8
    assert np.array_equal(saved, pair(1)[0].numpy())


def test_rejects_predictions_that_do_not_fit_the_batch():
    metric = OccupancyMetric("unscenes3d")
    free = torch.zeros(1, 2, 2, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"expected predictions of frames \['a'\], got \['b'\]"):
        metric.process(Batch(["a"], [""], occupancy=free), [Predicted("b", free[0])])
    with pytest.raises(ValueError, match=r"frames \['a'\] have no occupancy labels"):
        metric.process(Batch(["a"], [""]), [Predicted("a", free[0])])
    with pytest.raises(ValueError, match=r"frame a: the prediction of 8 scored voxels .* \[12\]"):
        metric.process(Batch(["a"], [""], occupancy=free), [Predicted("a", free[0] + 12)])


def test_rejects_to_score_a_part_of_the_data_set():
    metric = OccupancyMetric("unscenes3d")
    give(metric, [0, 1])
    with pytest.raises(ValueError, match=r"expected scores of all 3 frames .* got 2"):
        metric.evaluate(3)


def test_rejects_unknown_names():
    with pytest.raises(ValueError, match="unknown label set 'mars'"):
        OccupancyMetric("mars")
    with pytest.raises(ValueError, match="unknown convention 'iou'"):
        OccupancyMetric("unscenes3d", "iou")
