import math

import pytest
import torch
from jaxtyping import TypeCheckError

from model.voxelize import (
    NUM_VOXEL_FEATURES,
    to_dense,
    voxel_features,
    voxel_mean,
    voxelize,
)
from utils.geometry import VoxelGrid

GRID = VoxelGrid(origin_m=(0.0, -2.0, -1.0), voxel_m=0.5, shape=(8, 8, 4))


def test_points_worked_by_hand():
    first = torch.tensor(
        [
            [0.1, -1.9, -0.9, 1.0],  # voxel 0 0 0
            [3.9, 1.9, 0.9, 2.0],  # voxel 7 7 3
            [0.4, -1.6, -0.6, 3.0],  # voxel 0 0 0
            [4.0, 0.0, 0.0, 4.0],  # on the upper face: outside
        ]
    )
    second = torch.tensor([[0.0, -2.0, -1.0, 5.0]])  # on the lower faces: inside
    voxels = voxelize([first, second], GRID)
    assert voxels.coordinates.tolist() == [[0, 0, 0, 0], [0, 7, 7, 3], [1, 0, 0, 0]]
    assert voxels.num_points.tolist() == [2, 1, 1]
    assert voxels.number == 3
    assert voxels.voxel_of_point.tolist() == [0, 1, 0, 3, 2]  # 3: none.
    assert voxels.points[:, 3].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_against_a_slow_loop():
    points = [5 * torch.rand(100, 4) - torch.tensor([0.5, 2.5, 2.5, 0.0]) for _ in range(2)]
    voxels = voxelize(points, GRID)
    expected: dict[tuple[int, ...], int] = {}
    for number, frame in enumerate(points):
        for point in frame.tolist():
            index = [
                math.floor((value - origin) / 0.5)
                for value, origin in zip(point, GRID.origin_m, strict=False)
            ]
            if all(0 <= i < n for i, n in zip(index, GRID.shape, strict=True)):
                key = (number, *index)
                expected[key] = expected.get(key, 0) + 1
    assert len(expected) > 10
    got = dict(
        zip(map(tuple, voxels.coordinates.tolist()), voxels.num_points.tolist(), strict=True)
    )
    assert got == expected


def test_nothing_inside():
    voxels = voxelize([torch.full((3, 4), -9.0), torch.empty(0, 4)], GRID)
    assert voxels.number == 0
    assert voxels.coordinates.tolist() == [[2, 0, 0, 0]]  # One row of padding.
    assert voxels.num_points.tolist() == [0]
    features = voxel_features(voxels, GRID, 1.0)
    assert features.shape == (1, NUM_VOXEL_FEATURES)
    assert not features.any()


def test_a_fixed_number_of_rows():
    points = torch.rand(60, 4)
    wanted, got = voxelize([points], GRID), voxelize([points], GRID, 20)
    number = int(wanted.number)
    assert number == got.number == len(wanted.coordinates) < 20
    assert torch.equal(got.coordinates[:number], wanted.coordinates)
    assert (got.coordinates[number:] == torch.tensor([1, 0, 0, 0])).all()
    features = voxel_features(got, GRID, 1.0)
    torch.testing.assert_close(features[:number], voxel_features(wanted, GRID, 1.0))
    assert not features[number:].any()
    few = voxelize([points], GRID, 3)
    assert few.number == number
    assert torch.equal(few.coordinates, wanted.coordinates[:3])
    assert torch.equal(few.num_points, wanted.num_points[:3])
    assert few.voxel_of_point.max() == 3


def test_points_may_have_any_precision_and_are_not_written():
    points = torch.rand(5, 4, dtype=torch.float64)
    before = points.clone()
    features = voxel_features(voxelize([points], GRID), GRID, 1.0)
    assert features.dtype == torch.float32
    assert torch.equal(points, before)


def test_features_worked_by_hand():
    # Two points of voxel 1 4 2, whose center is (0.75, 0.25, 0.25).
    points = torch.tensor([[0.75, 0.25, 0.25, 0.0, 0.1], [0.95, 0.25, 0.05, 0.9, 0.3]])
    voxels = voxelize([points], GRID)
    features = voxel_features(voxels, GRID, 10.0)[0]
    offset = [0.2, 0.0, -0.2]
    position = [2 * 0.85 / 4 - 1, 2 * 2.25 / 4 - 1, 2 * 1.15 / 2 - 1]
    ranges = [math.hypot(0.75, 0.25, 0.25), math.hypot(0.95, 0.25, 0.05)]
    expected = [
        *offset,
        *position,
        math.log(10) / 2,
        sum(ranges) / 2 / 50,
        0.2,
        *[0.04, 0.0, -0.04, 0.0, 0.0, 0.04],  # covariance xx, xy, xz, yy, yz, zz
        math.log(2),
    ]
    torch.testing.assert_close(features, torch.tensor(expected), atol=1e-6, rtol=1e-5)


def test_age_is_zero_without_a_column_for_it():
    points = torch.rand(6, 4)
    with_age = torch.cat([points, torch.zeros(6, 1)], dim=1)
    assert torch.equal(
        voxel_features(voxelize([points], GRID), GRID, 1.0),
        voxel_features(voxelize([with_age], GRID), GRID, 1.0),
    )


def test_points_without_intensity_are_rejected():
    voxels = voxelize([torch.rand(6, 3)], GRID)
    with pytest.raises(ValueError, match="got 3 columns"):
        voxel_features(voxels, GRID, 1.0)


def test_mean_against_a_slow_loop():
    voxels = voxelize([torch.rand(50, 4)], GRID)
    values = torch.rand(len(voxels.points), 3)
    mean = voxel_mean(values, voxels)
    for row in range(len(mean)):
        torch.testing.assert_close(mean[row], values[voxels.voxel_of_point == row].mean(0))


def test_dense_volume():
    coordinates = torch.tensor([[0, 1, 0, 2], [1, 0, 3, 0]])
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    volume = to_dense(features, coordinates, (2, 4, 3), 2)
    assert volume.shape == (2, 2, 2, 4, 3)
    assert volume.is_contiguous(memory_format=torch.channels_last_3d)
    assert volume[0, :, 1, 0, 2].tolist() == [1.0, 2.0]
    assert volume[1, :, 0, 3, 0].tolist() == [3.0, 4.0]
    assert volume.sum() == 10.0


def test_padding_is_not_in_a_volume():
    coordinates = torch.tensor([[0, 0, 0, 1], [1, 0, 0, 0], [1, 0, 0, 0]])
    volume = to_dense(torch.ones(3, 2), coordinates, (1, 1, 2), 1)
    assert volume[0].flatten().tolist() == [0, 1, 0, 1]
    assert volume.is_contiguous(memory_format=torch.channels_last_3d)


def test_wrong_shapes_are_caught():
    with pytest.raises(TypeCheckError):
        to_dense(torch.rand(2, 3), torch.zeros(2, 3, dtype=torch.int32), (2, 2, 2), 1)
