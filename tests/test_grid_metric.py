import pytest
import torch

from dataset.sample import Batch
from engine.evaluation.grid_metric import GridMetric, distance_masks
from engine.metrics.confusion import Confusion
from engine.metrics.occupancy import occupancy_scores
from engine.metrics.ray_iou import RayCounts, ray_scores
from tests.test_occupancy_metric import Predicted, pair
from utils.geometry import VoxelGrid

GRID = VoxelGrid((0.0, -4.0, -1.0), 1.0, (8, 8, 2))


def score(metric, frames=3):
    for k in range(frames):
        pred, target = pair(k, GRID.shape)
        batch = Batch([str(k)], scenes=[""], occupancy=target[None])
        metric.process(batch, [Predicted(str(k), pred)])
    return metric.evaluate(frames)


def test_each_voxel_is_in_one_range():
    masks = torch.stack(distance_masks(GRID, (0.0, 2.0, 5.0)))
    assert (masks.sum(0) == 1).all()
    near = masks[0].any(-1).nonzero().tolist()
    # Centers 0.5 or 1.5 m ahead and aside: (1.5, 1.5) is 2.12 m away.
    assert near == [[0, 2], [0, 3], [0, 4], [0, 5], [1, 3], [1, 4]]


def test_ranges_are_scored_on_their_voxels_alone():
    metric = GridMetric("unscenes3d", GRID, distances_m=(2.0, 5.0))
    score(metric)
    masks = distance_masks(GRID, (0.0, 2.0, 5.0))
    for mask, found in zip(masks, metric.distances.bands, strict=True):
        expected = Confusion(12)
        for k in range(3):
            expected.update(*pair(k, GRID.shape), mask)
        assert found == occupancy_scores(expected, metric.labels)
    content = metric.distances.to_json()["by_distance"]
    assert [(band["from_m"], band["to_m"]) for band in content] == [(0, 2), (2, 5), (5, None)]
    assert content[1]["miou"] == metric.distances.bands[1].miou
    assert "2–5 " in metric.distances.table()
    assert "5 and more" in metric.distances.table()


def test_rays_start_at_the_lidar():
    metric = GridMetric("unscenes3d", GRID, ray_iou=True)
    metrics = score(metric)
    expected = RayCounts(12)
    for k in range(3):
        expected.update(*pair(k, GRID.shape), torch.zeros(1, 3), GRID)
    assert metric.rays == ray_scores(expected, metric.labels)
    assert metrics["rayiou"] == metric.rays.rayiou


def test_a_second_evaluation_starts_from_zero():
    metric = GridMetric("unscenes3d", GRID, distances_m=(2.0,), ray_iou=True)
    score(metric)
    first = [found.to_json() for found in metric.all_scores]
    score(metric)
    assert [found.to_json() for found in metric.all_scores] == first


def test_nothing_more_than_requested_is_scored():
    metric = GridMetric("unscenes3d", GRID)
    score(metric)
    assert metric.all_scores == [metric.scores]


@pytest.mark.parametrize("distances", [(5.0, 2.0), (2.0, 2.0), (-1.0,)])
def test_distances_must_increase(distances):
    with pytest.raises(ValueError, match="--distances must be above 0 and increase"):
        GridMetric("unscenes3d", GRID, distances_m=distances)
