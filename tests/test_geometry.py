"""The grid's maps agree with each other, with numbers worked by hand, and in numpy and torch."""

import numpy as np
import pytest
import torch

from dataset.layout import LABEL_GRID
from utils.geometry import VoxelGrid, project_points, transform_points


def test_label_grid_spans_the_documented_range() -> None:
    assert LABEL_GRID.end_m == pytest.approx((76.8, 38.4, 5.6))


def test_center_of_a_voxel_by_hand() -> None:
    # x = (1 + 0.5)·0.3, y = 0.5·0.3 − 38.4, z = (2 + 0.5)·0.3 − 4
    center = LABEL_GRID.centers_m()[1, 0, 2]
    assert center.tolist() == pytest.approx([0.45, -38.25, -3.25], abs=1e-5)


def test_maps_invert_each_other_in_numpy_and_torch() -> None:
    points = np.random.default_rng(0).uniform(-50, 50, (7, 3))
    back = LABEL_GRID.meters_from_voxel(LABEL_GRID.voxel_from_meters(points))
    np.testing.assert_allclose(back, points, atol=1e-12)
    torch.testing.assert_close(
        LABEL_GRID.voxel_from_meters(torch.from_numpy(points)),
        torch.from_numpy(LABEL_GRID.voxel_from_meters(points)),
    )


def test_sampling_coordinates_read_the_voxel_they_name() -> None:
    grid = VoxelGrid((1.0, 2.0, 3.0), 0.5, (4, 5, 6))
    volume = torch.arange(4 * 5 * 6, dtype=torch.float32).reshape(1, 1, 4, 5, 6)
    where = grid.sampling_from_meters(grid.centers_m())[None]
    sampled = torch.nn.functional.grid_sample(volume, where, align_corners=False)
    torch.testing.assert_close(sampled, volume, atol=1e-4, rtol=0)  # float32 interpolation weights


def test_contains_takes_lower_faces_and_leaves_upper_ones() -> None:
    grid = VoxelGrid((0.0, 0.0, 0.0), 1.0, (2, 2, 2))
    points = torch.tensor([[0.0, 0.0, 0.0], [2.0, 1.0, 1.0], [1.9, 1.9, 1.9], [-0.1, 1.0, 1.0]])
    assert grid.contains(points).tolist() == [True, False, True, False]


def test_coarsening_and_back() -> None:
    coarse = LABEL_GRID.coarsen(4)
    assert coarse.shape == (64, 64, 8)
    assert coarse.end_m == pytest.approx(LABEL_GRID.end_m)
    assert coarse.coarsening_of(LABEL_GRID) == 4
    with pytest.raises(ValueError, match="does not divide"):
        LABEL_GRID.coarsen(5)
    with pytest.raises(ValueError, match="is not a coarsening"):
        VoxelGrid((0.0, 0.0, 0.0), 1.2, (64, 64, 8)).coarsening_of(LABEL_GRID)


def test_bad_grids_are_rejected() -> None:
    with pytest.raises(ValueError, match="voxel_m > 0"):
        VoxelGrid((0.0, 0.0, 0.0), 0.0, (1, 1, 1))
    with pytest.raises(ValueError, match="at least one voxel"):
        VoxelGrid((0.0, 0.0, 0.0), 1.0, (1, 0, 1))


def test_projection_by_hand() -> None:
    # A camera at the origin looking along x, focal length 100 px, center (50, 40).
    pixel_from_cam = torch.tensor([[100.0, 0, 50, 0], [0, 100, 40, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    cam_from_lidar = torch.tensor([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    points = torch.tensor([[10.0, -2.0, 1.0], [-5.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    pixels, depth = project_points(pixel_from_cam @ cam_from_lidar, points)
    assert pixels[0].tolist() == pytest.approx([70.0, 30.0])
    assert depth.tolist() == pytest.approx([10.0, -5.0, 0.0])
    assert torch.isfinite(pixels).all()


def test_transform_points_over_a_batch() -> None:
    transforms = torch.eye(4).repeat(2, 1, 1)
    transforms[1, :3, 3] = torch.tensor([1.0, 2.0, 3.0])
    moved = transform_points(transforms, torch.zeros(2, 5, 3))
    assert moved[0].abs().max() == 0
    assert moved[1, 4].tolist() == [1.0, 2.0, 3.0]


def test_a_config_dict_makes_the_same_grid() -> None:
    config = dict(origin_m=[0, -38.4, -4], voxel_m=0.3, shape=[256, 256, 32])
    assert VoxelGrid.from_config(config) == LABEL_GRID
    assert VoxelGrid.from_config(LABEL_GRID) is LABEL_GRID
    with pytest.raises(ValueError, match="keys origin_m, voxel_m and shape"):
        VoxelGrid.from_config(dict(origin=[0, 0, 0]))
    for wrong in (dict(shape=5), dict(origin_m=0.5), dict(voxel_m="big")):
        with pytest.raises(ValueError, match="three numbers for origin_m, one for voxel_m"):
            VoxelGrid.from_config(config | wrong)
