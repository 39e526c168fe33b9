import numpy as np
import pytest
import torch

from dataset import layout
from dataset.map_labels import elevation_image
from dataset.sample import Sample
from engine.evaluation.elevation_baselines import (
    interpolate_linearly,
    interpolate_points,
    mean_map,
)

NAN = torch.nan
GRID = layout.elevation_grid((204, 217))


def labeled(*rows):
    return Sample(stem="1.5", elevation_m=torch.tensor(rows))


def test_mean_map_by_hand():
    frames = [labeled([1.0, NAN, NAN]), labeled([2.0, -4.0, NAN])]
    mean = mean_map(frames)
    # The last cell is known nowhere: mean of the three known values.
    torch.testing.assert_close(mean, torch.tensor([[1.5, -4.0, -1 / 3]]))


def test_a_mean_of_labels_of_two_sizes_is_rejected():
    with pytest.raises(ValueError, match=r"one shape, got \(1, 4\) after \(1, 2\)"):
        mean_map([labeled([-2.0] * 2), labeled([-4.0] * 4)])


def test_a_mean_of_nothing_is_rejected():
    with pytest.raises(ValueError, match="no cell of the training set"):
        mean_map([labeled([NAN])])
    with pytest.raises(ValueError, match="no cell of the training set"):
        mean_map([])
    with pytest.raises(ValueError, match=r"frame 1.5 was read without"):
        mean_map([Sample(stem="1.5")])


def test_returns_fall_into_the_cells_of_the_label():
    rng = np.random.default_rng(0)
    points = rng.uniform((25.1, -10.8, -3), (45.4, 10.8, 0), (500, 3)).astype(np.float32)
    units = elevation_image(points)
    heights = interpolate_points(torch.from_numpy(points), GRID).numpy()
    is_known = units > 0
    assert heights.shape == GRID.shape
    # The label is cut to 1/256 m; a few points lie on an edge between cells.
    error = np.abs(1 - units[is_known] / 256 - heights[is_known])
    assert np.quantile(error, 0.98) < 1 / 256 + 1e-4


def test_a_plane_is_exact_between_the_returns():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(24.2, 46.3, 4000), rng.uniform(-11.6, 11.6, 4000)
    centers = GRID.centers_m().numpy()
    x, y = (np.floor(x * 10) / 10 + 0.03, np.floor(y * 10) / 10 + 0.03)  # One place in a cell.
    slope = lambda x, y: 0.05 * x - 0.02 * y - 3  # noqa: E731
    points = torch.from_numpy(np.column_stack([x, y, slope(x, y)])).float()
    heights = interpolate_points(points, GRID).numpy()
    expected = slope(centers[..., 0], centers[..., 1])
    # The returns stand for the middle of their cells, 2 cm off: 1 mm on this slope. A cell that is
    # drawn into a sliver beside it counts as on the sliver's edge, up to two cells away.
    assert np.median(np.abs(heights - expected)) < 0.001
    assert np.abs(heights - expected).max() < 0.012


def test_linear_between_three_cells_by_hand():
    height = np.zeros((5, 5), np.float32)
    height[0, 0], height[4, 0], height[0, 4] = 0.0, 4.0, 8.0
    known = np.array([[0, 0], [4, 0], [0, 4]])
    filled = interpolate_linearly(height, known)
    for row in range(5):
        for column in range(5 - row):
            assert filled[row, column] == pytest.approx(row + 2 * column, abs=1e-5)
    # Outside of the triangle the nearest known cell holds.
    assert filled[4, 4] in (4.0, 8.0)
    assert filled[4, 2] == 4.0


@pytest.mark.parametrize("number", [1, 2, 3, 40])
def test_interpolation_keeps_what_is_known_and_stays_between(number):
    rng = np.random.default_rng(number)
    known = np.unique(rng.integers(0, (20, 30), (number, 2)), axis=0)
    height = np.full((20, 30), 99.0, np.float32)
    height[known[:, 0], known[:, 1]] = rng.uniform(-3, -1, len(known))
    before = height.copy()
    filled = interpolate_linearly(height, known)
    values = height[known[:, 0], known[:, 1]]
    np.testing.assert_array_equal(filled[known[:, 0], known[:, 1]], values)
    assert filled.min() >= values.min() - 1e-5
    assert filled.max() <= values.max() + 1e-5
    np.testing.assert_array_equal(height, before)


def test_a_frame_without_returns_is_rejected():
    with pytest.raises(ValueError, match="no LiDAR point is near the elevation region"):
        interpolate_points(torch.tensor([[5.0, 0.0, -2.0, 1.0]]), GRID)
