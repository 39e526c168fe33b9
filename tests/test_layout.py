import numpy as np
import pytest

from dataset import layout


def test_the_release_has_204_by_217_cells_from_the_near_right_corner_on():
    grid = layout.elevation_grid((204, 217))
    assert layout.elevation_shape(0.1) == grid.shape
    assert (grid.near_right_m, grid.cell_m) == ((25.0, -10.88), 0.1)
    assert grid.far_left_m == pytest.approx((45.4, 10.82))


def test_the_older_toolkits_cells_come_from_the_shape():
    grid = layout.elevation_grid((511, 544))
    assert (grid.near_right_m, grid.cell_m) == ((25.0, -10.88), 0.04)
    assert grid.far_left_m == pytest.approx((45.44, 10.88))


def test_every_shape_means_one_edge():
    for cm in range(1, 51):
        shape = layout.elevation_shape(cm / 100)
        assert layout.elevation_grid(shape).cell_m == cm / 100


@pytest.mark.parametrize("shape", [(217, 204), (204, 218), (4, 6)])
def test_another_shape_is_rejected(shape):
    with pytest.raises(ValueError, match=f"got {shape[0]}×{shape[1]}"):
        layout.elevation_grid(shape)


def test_points_beyond_the_last_whole_cell_mix_into_the_last_row_and_column():
    is_mixed = layout.mixed_elevation_cells((204, 217))
    assert is_mixed[-1].all()
    assert is_mixed[:, -1].all()
    assert not is_mixed[:-1, :-1].any()
    # 544 cells of 0.04 m fill the width, 511 the length but for one.
    is_mixed = layout.mixed_elevation_cells((511, 544))
    assert is_mixed[-1].all()
    assert np.count_nonzero(is_mixed) == 544
