import cv2
import numpy as np
import pytest

from docs.draw_framework import HEIGHT, SCENE, WIDTH, feature_volume, look, occupancy, write
from utils.labels import UNSCENES3D


def test_rays_hit_the_nearest_box():
    view = look(rows=51, columns=100)
    road, far_wall = UNSCENES3D.index("driveable_surface"), UNSCENES3D.index("terrain")
    assert view.classes[0, 50] == 0  # the sky
    assert np.isinf(view.depth_m[0, 50])
    ahead = view.classes[22, 50], view.depth_m[22, 50]
    assert ahead == (far_wall, pytest.approx(75))
    up = (0.45 - 50.5 / 51) * 1.5 * 51 / 100  # of the lowest row's rays, one meter ahead
    assert view.classes[50, 50] == road
    assert view.depth_m[50, 50] == pytest.approx(-2 / up)
    assert set(np.unique(view.classes)) == {0, *(UNSCENES3D.index(name) for *_, name in SCENE)}


def test_volumes_are_colors():
    for volume in (feature_volume(("#000000", "#ffffff"), 0), occupancy()):
        assert volume.min() >= 0
        assert volume.max() <= 1


def test_the_figure_is_the_same_on_every_run(tmp_path):
    for name in ("a.png", "b.png"):
        write(tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert cv2.imread(str(tmp_path / "a.png")).shape == (HEIGHT, WIDTH, 3)
