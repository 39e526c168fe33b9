import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import Evaluator

from dataset.sample import Batch
from engine.evaluation.depth_metric import DepthMetric
from engine.metrics import depth
from engine.metrics.depth_errors import DepthRule
from model.novel_view import ViewOptions
from model.prediction import Prediction
from tests.model_inputs import pinhole
from utils.geometry import VoxelGrid

GRID = VoxelGrid(origin_m=(0.0, -6.0, -3.0), voxel_m=0.5, shape=(40, 24, 12))
OPTIONS = ViewOptions(size=(5, 9))
IMAGE = (20, 40)


def make_metric():
    return DepthMetric(GRID, DepthRule(), OPTIONS)


def wall(stem, x):
    """A prediction of a wall at the voxels of one x."""
    logits = torch.zeros(2, *GRID.shape)
    logits[1] = -20.0
    logits[1, x] = 20.0
    return Prediction(stem, logits.argmax(dim=0).to(torch.uint8), logits=logits)


def frames(stems, depth_m, cameras=1):
    projection = pinhole(*IMAGE, 60.0).expand(len(stems), cameras, 4, 4)
    labels = torch.zeros(len(stems), cameras, *IMAGE)
    labels[..., 5:8, 10:20] = depth_m
    return Batch(stems, [""] * len(stems), pixel_from_lidar=projection, depth_m=labels)


def test_errors_of_a_wall_that_is_too_near():
    metric = make_metric()
    metric.process(frames(["a", "b"], 15.25), [wall("a", 30), wall("b", 20)])
    found = metric.evaluate(2)
    # The first is right to half a voxel, the second 5 m too near.
    assert found["depth_abs_rel"] == pytest.approx(5 / 15.25 / 2, abs=0.02)
    assert found["depth_rmse"] == pytest.approx(5 / 2, abs=0.3)
    assert found["depth_a1"] == pytest.approx(0.5)
    assert set(found) == {
        *("depth_abs_rel", "depth_sq_rel", "depth_rmse", "depth_rmse_log"),
        *("depth_a1", "depth_a2", "depth_a3"),
    }
    assert metric.scores.total.frames == 2


def test_images_average_within_cameras_and_a_frame_given_twice_counts_once():
    metric = make_metric()
    for _ in range(2):
        metric.process(frames(["a"], 15.25, cameras=6), [wall("a", 30)])
    metric.process(frames(["b"], 15.25, cameras=6), [wall("b", 20)])
    assert metric.evaluate(2)["depth_a1"] == pytest.approx(0.5)
    assert metric.scores.total.frames == 12
    assert len(metric.scores.total.cameras) == 6


def test_images_of_all_processes_count_once(monkeypatch):
    other, mine = make_metric(), make_metric()
    other.process(frames(["a", "b"], 15.25), [wall("a", 30), wall("b", 30)])
    images = other._meter.images
    monkeypatch.setattr(depth, "all_gather_object", lambda own: [images, own])
    mine.process(frames(["b", "c"], 15.25), [wall("b", 30), wall("c", 20)])
    assert mine.evaluate(3)["depth_a1"] == pytest.approx(2 / 3)


def test_starts_anew_after_each_evaluation():
    metric = make_metric()
    metric.process(frames(["a"], 15.25), [wall("a", 20)])
    assert metric.evaluate(1)["depth_a1"] == 0.0
    metric.process(frames(["b"], 15.25), [wall("b", 30)])
    assert metric.evaluate(1)["depth_a1"] == 1.0


def test_frames_without_labels_give_nan():
    metric = make_metric()
    metric.process(frames(["a"], 0.0), [wall("a", 30)])
    assert all(math.isnan(value) for value in metric.evaluate(1).values())


def test_is_built_and_run_by_name():
    grid = dict(origin_m=GRID.origin_m, voxel_m=GRID.voxel_m, shape=GRID.shape)
    evaluator = Evaluator([dict(type="DepthMetric", grid=grid)])
    evaluator.process(data_samples=[wall("a", 30)], data_batch=frames(["a"], 15.25))
    assert evaluator.evaluate(1)["depth_a1"] == 1.0


def test_rejects_what_it_cannot_compare():
    metric, prediction = make_metric(), wall("a", 30)
    with pytest.raises(ValueError, match=r"expected predictions of frames \['b'\], got \['a'\]"):
        metric.process(frames(["b"], 9.0), [prediction])
    with pytest.raises(ValueError, match=r"frames \['a'\] have no depth labels"):
        metric.process(Batch(["a"], [""]), [prediction])
    silent = SimpleNamespace(stem="a", log_free=None)
    with pytest.raises(ValueError, match="frame a: the prediction has no free-space"):
        metric.process(frames(["a"], 9.0), [silent])
