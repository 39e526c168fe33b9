import numpy as np
import pytest
import torch

from dataset.minesim.labels import elevation_picture
from utils.elevation import ElevationRegion, fill_gaps, mean_heights, resize_map

REGION = ElevationRegion((10.0, 14.0), (-3.0, 3.0), (4, 6))  # Cells of 1 m.


def test_cells_of_points_by_hand():
    points = torch.tensor([[13.9, 2.9, 0.0], [10.1, -2.9, 0.0], [12.0, 0.0, 0.0]])
    expected = torch.tensor([[0.1, 0.1], [3.9, 5.9], [2.0, 3.0]])
    torch.testing.assert_close(REGION.cells_from_metres(points), expected)


def test_centers_lie_in_the_middle_of_their_cells():
    cells = REGION.cells_from_metres(REGION.centers_m())
    expected = np.moveaxis(np.indices((4, 6)), 0, -1) + 0.5
    np.testing.assert_allclose(cells, expected, atol=1e-5)


def test_a_wide_region_has_the_same_cells():
    wide, (row, column) = REGION.widen(2, 8)
    assert wide.shape == (8, 16)
    assert wide.cell_m == pytest.approx(REGION.cell_m)
    inner = wide.centers_m()[row : row + 4, column : column + 6]
    torch.testing.assert_close(inner, REGION.centers_m())


@pytest.mark.parametrize(
    "change", [dict(x_m=(5.0, 5.0)), dict(y_m=(3.0, -3.0)), dict(shape=(0, 6))]
)
def test_an_empty_region_is_refused(change):
    fields = dict(x_m=(10.0, 14.0), y_m=(-3.0, 3.0), shape=(4, 6)) | change
    with pytest.raises(ValueError, match="an elevation region needs"):
        ElevationRegion(**fields)


def test_mean_heights_by_hand():
    first = torch.tensor(
        [[13.5, 2.5, 1.0, 9.0], [13.6, 2.4, 2.0, 9.0], [10.5, -2.5, -4.0, 9.0], [9.9, 0, 7, 9]]
    )
    height, count = mean_heights([first, torch.zeros(0, 4)], REGION)
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
    region = ElevationRegion((25.08, 45.48), (-10.82, 10.88), (204, 217))
    height, count = mean_heights([torch.from_numpy(points)], region)
    units = elevation_picture(points)
    is_known = (units > 0) & (count[0, 0].numpy() > 0)
    # Points on a cell's edge may fall on either side of it.
    assert ((units > 0) != (count[0, 0].numpy() > 0)).mean() < 1e-3
    label = 1.0 - units[is_known] / 256
    error = np.abs(label - height[0, 0].numpy()[is_known])
    assert np.quantile(error, 0.99) <= 1 / 256 + 1e-4


def test_gaps_are_filled_between_what_is_known():
    height = torch.zeros(1, 1, 9, 12)
    is_known = torch.zeros(1, 1, 9, 12, dtype=torch.bool)
    height[0, 0, :, 0], height[0, 0, :, -1] = 1.0, 12.0
    is_known[0, 0, :, [0, -1]] = True
    filled = fill_gaps(height, is_known)
    assert torch.equal(filled[is_known], height[is_known])
    across = filled[0, 0, 4]
    assert (across.diff() > 0).all()
    # A slope between two walls; not exactly straight after so few passes.
    torch.testing.assert_close(across, torch.arange(1.0, 13.0), atol=0.6, rtol=0)


def test_a_filled_map_stays_between_the_extremes_and_has_no_gap():
    generator = torch.Generator().manual_seed(0)
    height = torch.rand(2, 1, 33, 20, generator=generator) - 3
    is_known = torch.rand(2, 1, 33, 20, generator=generator) < 0.05
    height = torch.where(is_known, height, torch.nan)  # What is unknown does not matter.
    filled = fill_gaps(height, is_known)
    assert (filled >= -3).all()
    assert (filled <= -2).all()


def test_one_known_cell_fills_its_frame_and_none_gives_zero():
    is_known = torch.zeros(2, 1, 6, 5, dtype=torch.bool)
    is_known[0, 0, 2, 3] = True
    filled = fill_gaps(torch.full((2, 1, 6, 5), -2.5), is_known)
    torch.testing.assert_close(filled[0], torch.full((1, 6, 5), -2.5))
    assert not filled[1].any()


def test_a_map_is_brought_to_other_cells():
    plane = REGION.centers_m()[None, ..., 0]
    assert resize_map(plane, (4, 6)) is plane
    fine = ElevationRegion(REGION.x_m, REGION.y_m, (8, 12)).centers_m()[..., 0]
    resized = resize_map(plane, (8, 12))[0]
    torch.testing.assert_close(resized[1:-1], fine[1:-1])
