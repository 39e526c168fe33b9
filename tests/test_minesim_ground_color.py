"""Colors and materials of the ground."""

import numpy as np
import pytest

from dataset.minesim.scene.ground import Ground, build_ground
from dataset.minesim.scene.locations import REGIONS
from dataset.minesim.scene.materials import material_index
from dataset.minesim.scene.road import draw_road
from dataset.minesim.scene.terrain import Terrain

RANGE = (0.0, 60.0)


def make_ground(*, snow: bool = False) -> Ground:
    rng = np.random.default_rng(8)
    region = REGIONS[0]
    terrain = Terrain(rng, region, draw_road(rng, region, RANGE), RANGE)
    return build_ground(terrain, region, RANGE, cell_m=0.8, extent_m=160.0, snow=snow)


@pytest.fixture(scope="module")
def ground() -> Ground:
    return make_ground()


def test_snow_covers_all_but_steep_and_wet_ground(ground: Ground) -> None:
    snowy = make_ground(snow=True)
    is_snow = snowy.mesh.face_material == material_index("snow")
    assert 0.4 < is_snow.mean() < 1.0
    assert snowy.mesh.face_color[is_snow].mean() > ground.mesh.face_color[is_snow].mean() + 0.2
    assert np.array_equal(snowy.face_class, ground.face_class)


def test_colors_are_albedos_and_wheel_tracks_are_darker(ground: Ground) -> None:
    color = ground.mesh.face_color
    assert color.dtype == np.float32
    assert 0.0 < color.min() < color.max() <= 1.0
    brightness = color[: 2 * ground.label.size].mean(axis=1).reshape(*ground.label.shape, 2)
    row = np.abs(ground.offset_m[None, :] - np.array([[ground.road.lane_m + 1.9], [0.0]]))
    track, crown = brightness[:, row.argmin(axis=1)].mean(axis=(0, 2))
    assert track < crown


def test_road_soil_and_walls_have_their_materials(ground: Ground) -> None:
    material = ground.mesh.face_material[: 2 * ground.label.size].reshape(*ground.label.shape, 2)
    middle = np.abs(ground.offset_m[:-1]) < 4.0
    assert (material[:, middle] == material_index("road")).mean() > 0.8
    assert (material == material_index("rock")).any()
    assert (material == material_index("soil")).any()
