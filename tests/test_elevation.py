from dataclasses import replace

import numpy as np
import pytest
import torch

from dataset import layout
from dataset.elevation import ElevationGrid, credible, lay_surface, mean_heights, resample_map
from dataset.map_labels import elevation_image

GRID = ElevationGrid((10.0, -3.0), 1.0, (4, 6))
RELEASE = layout.elevation_grid((204, 217))


# --- where the cells lie ---


@pytest.mark.parametrize(
    ("point", "cell"),
    [
        ((25.0, -10.88), (203, 216)),  # The near right corner: the cells are counted from here.
        ((25.09, -10.79), (203, 216)),
        ((25.11, -10.77), (202, 215)),
        ((45.39, 10.81), (0, 0)),
        ((35.05, 0.0), (103, 108)),  # 10.05 and 10.88 m from the corner.
        ((45.41, 0.0), (-1, 108)),  # The region ends at 45.48 m, the last whole cell at 45.4 m.
        ((35.05, 10.83), (103, -1)),
        ((24.99, -10.89), (204, 217)),
    ],
)
@pytest.mark.parametrize("array", [np.array, torch.tensor])
def test_cells_of_the_release_by_hand(point, cell, array):
    cells = RELEASE.cells_of(array([[*point, -2.0]]))
    assert tuple(cells[0].tolist()) == cell
    is_inside = 0 <= cell[0] < 204 and 0 <= cell[1] < 217
    assert bool(RELEASE.holds(cells)[0]) == is_inside


def test_an_edge_belongs_to_the_cell_that_is_further_from_the_corner():
    cells = GRID.cells_of(torch.tensor([[10.0, -3.0], [11.0, -2.0], [13.999, 2.999]]))
    assert cells.tolist() == [[3, 5], [2, 4], [0, 0]]


def test_cells_as_the_release_counts_them():
    # Index from the near right corner, cut to a whole number, then turned around.
    points = np.random.default_rng(0).uniform((25, -10.88), (45.4, 10.82), (500, 2))
    expected = [(203 - int((x - 25) / 0.1), 216 - int((y + 10.88) / 0.1)) for x, y in points]
    np.testing.assert_array_equal(RELEASE.cells_of(points), expected)


def test_centers_lie_in_the_middle_of_their_cells():
    centers = RELEASE.centers_m()
    torch.testing.assert_close(centers[203, 216], torch.tensor([25.05, -10.83]))
    torch.testing.assert_close(centers[0, 0], torch.tensor([45.35, 10.77]))
    cells = np.moveaxis(np.indices((204, 217)), 0, -1)
    np.testing.assert_array_equal(RELEASE.cells_of(centers), cells)


def test_a_wide_grid_has_the_same_cells():
    wide, (row, column) = GRID.widen(2, 8)
    assert wide.shape == (8, 16)
    assert wide.cell_m == GRID.cell_m
    inner = wide.centers_m()[row : row + 4, column : column + 6]
    torch.testing.assert_close(inner, GRID.centers_m())


@pytest.mark.parametrize("change", [dict(cell_m=0.0), dict(shape=(0, 6))])
def test_a_grid_without_cells_is_rejected(change):
    with pytest.raises(ValueError, match="an elevation grid needs"):
        replace(GRID, **change)


def test_a_grid_of_a_config():
    fields = dict(near_right_m=[10, -3], cell_m=1, shape=[4, 6])
    assert ElevationGrid.from_config(fields) == GRID
    assert ElevationGrid.from_config(GRID) is GRID
    with pytest.raises(ValueError, match="has the keys near_right_m, cell_m and shape, got"):
        ElevationGrid.from_config(fields | dict(origin=1))


# --- maps ---


def test_mean_heights_by_hand():
    first = torch.tensor(
        [[13.5, 2.5, 1.0, 9.0], [13.6, 2.4, 2.0, 9.0], [10.5, -2.5, -4.0, 9.0], [9.9, 0, 7, 9]]
    )
    height, count = mean_heights([first, torch.zeros(0, 4)], GRID)
    assert height.shape == count.shape == (2, 1, 4, 6)
    assert height[0, 0, 0, 0] == 1.5
    assert height[0, 0, 3, 5] == -4.0
    assert count[0].sum() == 3
    assert count[0, 0, 0, 0] == 2
    assert not count[1].any()
    assert not height[1].any()


def test_mean_heights_are_what_the_labels_are_made_of():
    rng = np.random.default_rng(0)
    points = rng.uniform((24, -11, -3), (46, 11, 0), (20_000, 3)).astype(np.float32)
    height, count = mean_heights([torch.from_numpy(points)], RELEASE)
    units = elevation_image(points)
    is_mixed = layout.mixed_elevation_cells(RELEASE.shape)
    units[is_mixed], count[0, 0][torch.from_numpy(is_mixed)] = 0, 0
    is_known = (units > 0) & (count[0, 0].numpy() > 0)
    # Points on a cell's edge may fall on either side of it.
    assert ((units > 0) != (count[0, 0].numpy() > 0)).mean() < 1e-3
    label = 1.0 - units[is_known] / 256
    error = np.abs(label - height[0, 0].numpy()[is_known])
    assert np.quantile(error, 0.99) <= 1 / 256 + 1e-4


# --- surfaces through known cells ---


def scattered(share, *, shape=(64, 80), seed=0):
    """A slope of 10 % along the rows and 3 % along the columns, known here and there."""
    row, column = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
    plane = (-2.0 + 0.01 * row - 0.003 * column)[None, None]
    known = torch.rand(plane.shape, generator=torch.Generator().manual_seed(seed)) < share
    return plane, known


@pytest.mark.parametrize("stretch", [1.0, 3.0])
def test_a_slope_is_followed_into_the_gaps(stretch):
    plane, known = scattered(0.06)
    surface = lay_surface(torch.where(known, plane, 0.0), known.float(), stretch=stretch)
    error = (surface - plane).abs()[..., 8:-8, 8:-8]
    # The nearest known cell alone is 2 cm off on average.
    assert error.mean() < 0.001
    assert error.max() < 0.02


def test_noise_of_dense_cells_is_averaged():
    plane, known = scattered(1.1)
    noise = 0.02 * torch.randn(plane.shape, generator=torch.Generator().manual_seed(1))
    surface = lay_surface(plane + noise, known.float(), stretch=1.0)
    assert (surface - plane)[..., 4:-4, 4:-4].abs().mean() < 0.5 * noise.abs().mean()


def test_a_stretched_surface_follows_a_rut_along_the_rows_axis():
    height = torch.zeros(1, 1, 64, 64)
    height[..., 30:34] = -0.3  # A rut along x.
    known = torch.rand(height.shape, generator=torch.Generator().manual_seed(0)) < 0.06
    off = [
        (lay_surface(height * known, known.float(), stretch=stretch) - height).abs().mean()
        for stretch in (1.0, 4.0)
    ]
    assert off[1] < 0.75 * off[0]


def test_one_known_cell_holds_everywhere_and_none_gives_zero():
    weight = torch.zeros(2, 1, 16, 32)
    weight[0, 0, 2, 3] = 1.0
    surface = lay_surface(torch.full((2, 1, 16, 32), -2.5), weight, stretch=2.0)
    torch.testing.assert_close(surface[0], torch.full((1, 16, 32), -2.5))
    assert not surface[1].any()


def test_frames_of_a_batch_do_not_see_each_other():
    (plane, known), (other, known_too) = scattered(0.05), scattered(0.3, seed=1)
    both = lay_surface(
        torch.cat([plane, -other]), torch.cat([known, known_too]).float(), stretch=3.0
    )
    torch.testing.assert_close(both[:1], lay_surface(plane, known.float(), stretch=3.0))


def test_a_surface_of_other_sizes_is_rejected():
    with pytest.raises(ValueError, match=r"must be multiples of 16, got \(16, 40\)"):
        lay_surface(torch.zeros(1, 1, 16, 40), torch.zeros(1, 1, 16, 40), stretch=1.0)


def test_returns_of_dust_are_not_believed():
    plane, known = scattered(0.06)
    dust = known & (torch.rand(plane.shape, generator=torch.Generator().manual_seed(3)) < 0.05)
    assert dust.sum() > 5
    height = torch.where(dust, plane + 1.0, plane)
    weight = credible(height, known)
    assert weight[dust].max() < 0.1
    assert weight[known & ~dust].median() > 0.9
    assert not weight[~known].any()
    inner = (..., slice(8, -8), slice(8, -8))
    off = [
        (lay_surface(height, one, stretch=3.0) - plane)[inner].abs().mean()
        for one in (weight, known.float())
    ]
    assert off[0] < 0.4 * off[1]


def test_a_map_is_brought_to_other_cells():
    def plane(grid):
        x, y = grid.centers_m().unbind(-1)
        return (2 * x - y)[None]

    same = plane(GRID)
    assert resample_map(same, GRID, GRID) is same
    fine = ElevationGrid((11.0, -2.5), 0.25, (8, 20))
    torch.testing.assert_close(resample_map(same, GRID, fine), plane(fine))
    # From the middles of the outermost cells on, they hold.
    beyond = resample_map(same, GRID, ElevationGrid((9.0, -3.0), 1.0, (5, 6)))
    torch.testing.assert_close(beyond[:, 4], same[:, 3])
    torch.testing.assert_close(beyond[:, :4], same)
