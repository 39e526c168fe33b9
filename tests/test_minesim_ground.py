"""The ground mesh."""

from dataclasses import replace

import numpy as np
import pytest

from dataset.minesim.scene.ground import (
    BARRIER,
    DRIVEABLE,
    MUDDY,
    TERRAIN,
    Ground,
    build_ground,
    classify,
)
from dataset.minesim.scene.locations import REGIONS
from dataset.minesim.scene.materials import material_index
from dataset.minesim.scene.road import Puddle, draw_road
from dataset.minesim.scene.terrain import Survey, Terrain

RANGE = (0.0, 60.0)


def make_ground() -> Ground:
    rng = np.random.default_rng(8)
    region = replace(REGIONS[0], layouts=(("wall", "floor"),))
    road = draw_road(rng, region, RANGE)
    road = replace(road, puddles=(Puddle(30.0, 2.0, (2.5, 1.5), 0.25, 0.0),))
    terrain = Terrain(rng, region, road, RANGE)
    return build_ground(terrain, region, RANGE, cell_m=0.6, extent_m=160.0, snow=False)


@pytest.fixture(scope="module")
def ground() -> Ground:
    return make_ground()


def grid_faces(ground: Ground) -> int:
    return 2 * ground.label.size


def test_mesh_has_no_cracks(ground: Ground) -> None:
    """Each inner edge is shared by two triangles that traverse it in opposite directions."""
    faces = ground.mesh.faces[: grid_faces(ground)].astype(np.int64)
    edges = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    count = len(ground.x_m) * len(ground.offset_m)
    forward, backward = edges @ [count, 1], edges @ [1, count]
    alone = np.setdiff1d(forward, backward)
    border = 2 * (len(ground.x_m) - 1) + 2 * (len(ground.offset_m) - 1)
    assert len(np.unique(forward)) == len(forward)
    assert len(alone) == border


def test_faces_look_up(ground: Ground) -> None:
    corners = ground.mesh.vertices[ground.mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normal[:, 2] > 0).all()


def test_height_matches_the_triangles(ground: Ground) -> None:
    """Inside a triangle, height is the barycentric mean of its corners."""
    rng = np.random.default_rng(0)
    chosen = rng.choice(grid_faces(ground), 300, replace=False)
    weight = rng.dirichlet(np.ones(3), 300)
    corners = ground.mesh.vertices[ground.mesh.faces[chosen]]
    points = (weight[..., None] * corners).sum(axis=1)
    near = np.abs(ground.road.offset(points[:, :2])) < 40.0
    error = np.abs(ground.height_m(points[:, :2]) - points[:, 2])[near]
    # Rows curve with the road while triangles are straight: a difference of millimeters.
    assert error.max() < 0.01


def test_height_at_corners_and_beyond_the_grid(ground: Ground) -> None:
    vertices = ground.mesh.vertices[:1000:37]
    assert np.allclose(ground.height_m(vertices[:, :2]), vertices[:, 2], atol=1e-6)
    assert np.isfinite(ground.height_m(np.array([[1e5, -1e5]]))).all()


def test_rows_are_fine_on_the_road_and_finer_in_ruts(ground: Ground) -> None:
    on_road = np.abs(ground.offset_m[:-1]) < ground.road.width_m / 2
    assert np.diff(ground.offset_m)[on_road].max() <= 0.6 + 1e-9
    fine = (ground.x_m[:-1] >= RANGE[0]) & (ground.x_m[:-1] < RANGE[1] - 0.6)
    assert np.allclose(np.diff(ground.x_m)[fine], 0.6)
    assert ground.x_m[-1] == pytest.approx(RANGE[1] + 160.0, abs=0.6)
    assert ground.offset_m[-1] == pytest.approx(160.0)


def test_road_is_driveable_wall_is_terrain_puddle_is_muddy(ground: Ground) -> None:
    x = np.linspace(5.0, 55.0, 40)
    assert (
        ground.label_at(ground.road.point(x, np.full(40, ground.road.lane_m))) == DRIVEABLE
    ).all()
    wall = -(ground.road.width_m / 2 + 8.0)
    assert (ground.label_at(ground.road.point(x, np.full(40, wall))) == TERRAIN).mean() > 0.9
    puddle = ground.road.point(np.array([30.0]), np.array([2.0]))
    assert ground.label_at(puddle).tolist() == [MUDDY]


def test_water_is_level_and_lies_in_its_hollow(ground: Ground) -> None:
    is_water = ground.mesh.face_material == material_index("water")
    water = ground.mesh.vertices[np.unique(ground.mesh.faces[is_water])]
    assert np.ptp(water[:, 2]) < 1e-9
    assert (ground.face_class[is_water] == MUDDY).all()
    middle = ground.road.point(np.array([30.0]), np.array([2.0]))
    assert ground.height_m(middle)[0] < water[0, 2] - 0.05
    # At the rim the ground is above the water.
    rim = water[np.hypot(*(water[:, :2] - middle).T) > 0.5]
    assert (ground.height_m(rim[:, :2]) > rim[:, 2]).all()


def make_cells(**changes: float) -> Survey:
    values = dict(height_m=0, out_m=3.0, flat_m=50, body=0, rubble=0, rut_m=0, wet=0)
    values.update(changes)
    return Survey(**{name: np.full((1, 1), float(value)) for name, value in values.items()})


@pytest.mark.parametrize(
    ("changes", "slope", "label"),
    [
        ({}, 0.1, DRIVEABLE),
        ({}, 0.5, TERRAIN),
        ({"flat_m": 2.0}, 0.1, TERRAIN),
        ({"body": 0.9}, 0.1, TERRAIN),
        ({"out_m": -5.0}, 0.5, DRIVEABLE),
        ({"rubble": 0.9}, 0.5, BARRIER),
        ({"rut_m": -0.25}, 0.1, BARRIER),
        ({"wet": 1.0, "rut_m": -0.25}, 0.1, MUDDY),
    ],
)
def test_classify_by_hand(changes: dict[str, float], slope: float, label: int) -> None:
    assert classify(make_cells(**changes), np.full((1, 1), slope)).tolist() == [[label]]
