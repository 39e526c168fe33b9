import math

import pytest
import torch

from dataset.sample import Batch, ImageMasks, LidarRays
from model.label_free import label_free_terms, mask_term
from model.objective import LossOptions
from tests.test_video import GRID, OPTIONS, camera, video


def options(supervision: str) -> LossOptions:
    settings = dict(proposals=OPTIONS.proposals, depths_m=OPTIONS.depths_m)
    return LossOptions(weights={}, supervision=supervision, label_free=settings)


def logits_of(occupied: torch.Tensor) -> torch.Tensor:
    return torch.stack([1 - occupied, occupied / 2, occupied / 2], dim=1).log()


def batch(**fields: object) -> Batch:
    return Batch(stems=["1.0"], scenes=["drive"], **fields)


def lidar_rays() -> LidarRays:
    ends_m = torch.tensor([[[10.5, 0.5, 0.5]]])
    has_point = torch.zeros(1, *GRID.shape, dtype=torch.bool)
    has_point[0, 10, 12, 8] = True
    return LidarRays(torch.zeros_like(ends_m), ends_m, torch.ones(1, 1) > 0, has_point)


def test_a_sweep_measures_the_whole_grid():
    occupied = torch.full((1, *GRID.shape), 0.1)
    occupied[0, 10, 12, 8] = 0.7
    found = label_free_terms(
        logits_of(occupied), GRID, batch(lidar_rays=lidar_rays()), options("lidar"), 4
    )
    assert set(found.terms) == {"lidar_rays", "unexplained_occupancy"}
    assert found.terms["unexplained_occupancy"].item() == pytest.approx(0.1, rel=1e-5)
    assert found.depth_m is None


def test_columns_of_matched_pixels_count_more_than_the_others():
    torch.manual_seed(0)
    occupied = torch.full((1, *GRID.shape), 0.1)
    logits = logits_of(occupied).requires_grad_()
    found = label_free_terms(logits, GRID, batch(video=video()), options("video"), 4)
    assert set(found.terms) == {"matched_columns"}
    found.terms["matched_columns"].backward()
    pull = logits.grad.abs().sum(dim=(0, 1, 3, 4))
    assert pull[9:11].amin() > 2 * pull[[4, 20]].amax()
    assert (pull > 0).all()
    assert found.depth_m.shape == (1, 1, 12, 16)


def test_pixels_tell_of_the_columns_without_points():
    torch.manual_seed(0)
    logits = logits_of(torch.full((1, *GRID.shape), 0.1)).requires_grad_()
    fields = batch(video=video(), lidar_rays=lidar_rays())
    found = label_free_terms(logits, GRID, fields, options("both"), 4)
    assert set(found.terms) == {"lidar_rays", "matched_columns", "unexplained_occupancy"}
    assert found.terms["unexplained_occupancy"].item() == pytest.approx(0.1, rel=1e-4)
    found.terms["matched_columns"].backward()
    pull = logits.grad.abs().sum(dim=(0, 1, 4))
    assert pull[8:12].sum() > 0.8 * pull.sum()
    assert not pull[10, 12]  # The column of the point.


def test_few_columns_without_points_count_little():
    torch.manual_seed(0)
    logits = logits_of(torch.full((1, *GRID.shape), 0.1))
    rays = lidar_rays()
    all_columns = rays._replace(has_point=torch.zeros_like(rays.has_point))
    few_columns = rays._replace(has_point=torch.ones_like(rays.has_point))
    few_columns.has_point[:, 9:11, 11:13] = False
    values = []
    for lidar in (all_columns, few_columns):
        torch.manual_seed(0)
        fields = batch(video=video(), lidar_rays=lidar)
        found = label_free_terms(logits, GRID, fields, options("both"), 4)
        values.append(found.terms["matched_columns"].item())
    assert 0 < values[1] < 0.2 * values[0]


def test_a_mask_teaches_the_class_where_its_rays_end():
    occupied = torch.full((1, *GRID.shape), 0.01)
    occupied[:, 10] = 0.99  # A wall.
    logits = logits_of(occupied).requires_grad_()
    labels = torch.full((1, 1, 48, 64), 2, dtype=torch.uint8)
    labels[..., :32] = 255
    masks = ImageMasks(camera(0.0)[None, None], labels)
    term = mask_term(logits, GRID, masks, 40.0, 4)
    assert term.item() == pytest.approx(-math.log(0.5), rel=1e-4)
    term.backward()
    assert not logits.grad[:, 0].any()
    pull = -logits.grad[0, 2]
    assert pull[10].sum() > 0.85 * pull.sum()  # The rest ends in front of it.
    assert not pull[:, 13:].any()  # To the left, where the mask says nothing.


def test_labeled_points_teach_the_class_of_their_voxels_only():
    logits = logits_of(torch.full((1, *GRID.shape), 0.1)).requires_grad_()
    classes = torch.zeros((1, *GRID.shape), dtype=torch.uint8)
    classes[0, 10, 12, 8] = 2
    fields = batch(lidar_rays=lidar_rays(), voxel_classes=classes)
    found = label_free_terms(logits, GRID, fields, options("lidar"), 4)
    term = found.terms["point_classes"]
    assert term.item() == pytest.approx(-math.log(0.5), rel=1e-5)
    term.backward()
    assert logits.grad[0, :, 10, 12, 8].tolist() == pytest.approx([0.0, 0.5, -0.5])
    assert logits.grad.count_nonzero() == 2
