import numpy as np
import pytest

from dataset import layout
from dataset.check.agreement import (
    depth_agreement,
    elevation_agreement,
    map_agreement,
    occupancy_agreement,
)

CAMERA = {
    "P2": np.array([[10.0, 0, 20, 0], [0, 10, 10, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    "R0_rect": np.eye(4),
    "Tr_velo_to_cam": np.array([[0, -1.0, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]),
}


def cloud_of(points):
    return np.column_stack([points, np.ones(len(points))]).astype(np.float32)


def line(count=40, x=10.0, z=0.0):
    """Returns beside each other."""
    return np.column_stack([np.full(count, x), np.linspace(-4, 4, count), np.full(count, z)])


def band(x=10.0, z=0.0):
    """Points on a square ahead, dense enough for every sector."""
    ahead, left = np.meshgrid(np.linspace(x - 4, x + 4, 60), np.linspace(-4, 4, 60))
    return np.stack([ahead, left, np.full_like(ahead, z)], axis=-1).reshape(-1, 3)


def rows_at(points):
    index = np.floor(layout.LABEL_GRID.voxel_from_meters(points)).astype(np.int64)
    return np.unique(np.column_stack([index, np.full(len(index), 11)]), axis=0)


def test_points_within_a_voxel_of_an_occupied_one():
    points, rows = band(), rows_at(band())
    assert occupancy_agreement(cloud_of(points), rows) == 1.0
    assert occupancy_agreement(cloud_of(points), np.add(rows, [0, 0, 1, 0])) == 1.0
    assert occupancy_agreement(cloud_of(points), np.add(rows, [0, 0, 2, 0])) == 0.0
    outside = np.vstack([points, line(x=100.0)])
    assert occupancy_agreement(cloud_of(outside), rows) == 1.0
    half = np.vstack([points, band(z=3.0)])
    assert occupancy_agreement(cloud_of(half), rows) == 0.5


def test_only_points_that_a_label_can_cover_are_compared():
    points = band()
    aside = points @ [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]
    beyond = cloud_of(np.vstack([points, band(x=30.0), aside]))
    assert occupancy_agreement(beyond, rows_at(points)) == 1.0
    assert map_agreement(beyond, points.astype(np.float32)) == 1.0


def test_points_near_the_map():
    points = band()
    near, far = (np.add(points, [0, 0, step]).astype(np.float32) for step in (0.28, 0.31))
    assert map_agreement(cloud_of(points), near) == 1.0
    assert map_agreement(cloud_of(points), far) == 0.0
    many = np.tile(np.vstack([points, np.add(points, [0, 0, 2])]), (5, 1))
    assert map_agreement(cloud_of(many), near) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("label_m", "share"), [(10.0, 1.0), (10.9, 1.0), (11.1, 0.0), (8.9, 0.0), (0.0, None)]
)
def test_returns_of_the_labels_depth(label_m, share):
    depth_m = np.full((20, 40), label_m, np.float32)
    assert depth_agreement(cloud_of(line()), CAMERA, depth_m) == share


def test_only_labeled_pixels_and_depths_up_to_80_m_count():
    depth_m = np.full((20, 40), 10.0, np.float32)
    depth_m[:, :20] = 0.0
    cloud = cloud_of(np.vstack([line(60), line(60, x=90.0)]))
    assert depth_agreement(cloud, CAMERA, depth_m) == 1.0
    singular = CAMERA | {"R0_rect": np.zeros((4, 4))}
    assert depth_agreement(cloud, singular, depth_m) is None


def test_elevation_lies_with_its_first_row_far_and_first_column_left():
    elevation_m = np.full((204, 217), np.nan, np.float32)
    elevation_m[0, 0] = -2.0  # The far left.
    far_left = np.tile([[45.31, 10.73, -2.4]], (30, 1))
    assert elevation_agreement(cloud_of(far_left), elevation_m) == 1.0
    assert elevation_agreement(cloud_of(far_left - [0, 0, 0.2]), elevation_m) == 0.0
    for other in ([45.29, 10.73, -2.0], [45.31, 10.71, -2.0], [45.41, 10.73, -2.0]):
        assert elevation_agreement(cloud_of(np.tile([other], (30, 1))), elevation_m) is None


def test_too_few_returns_say_nothing():
    few = cloud_of(line(19))
    rows = np.array([[0, 0, 0, 1]])
    assert occupancy_agreement(few, rows) is None
    assert map_agreement(few, few[:, :3]) is None
    assert depth_agreement(few, CAMERA, np.full((20, 40), 10.0, np.float32)) is None
    assert elevation_agreement(few, np.zeros((204, 217), np.float32)) is None
