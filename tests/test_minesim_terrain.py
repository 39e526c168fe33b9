"""The relief of the pit."""

from dataclasses import replace

import numpy as np
import pytest

from dataset.minesim.scene.locations import REGIONS, Location, SideKind
from dataset.minesim.scene.road import draw_road
from dataset.minesim.scene.terrain import Heap, Terrain, draw_heaps, draw_side

RANGE = (0.0, 120.0)


def make_terrain(right: SideKind, left: SideKind, seed: int = 5) -> Terrain:
    rng = np.random.default_rng(seed)
    region: Location = replace(REGIONS[0], layouts=((right, left),))
    return Terrain(rng, region, draw_road(rng, region, RANGE), RANGE)


def profile(terrain: Terrain, offset: float) -> np.ndarray:
    """Return height above the road center at an offset beyond the edge; negative is right."""
    x = np.linspace(*RANGE, 60)
    beyond = offset + np.sign(offset) * terrain.road.half_width(x)
    center = terrain.survey(x, np.zeros_like(x)).height_m
    return terrain.survey(x, beyond).height_m - center


def test_walls_rise_drops_fall_and_floors_stay_level() -> None:
    terrain = make_terrain("wall", "drop")
    assert np.median(profile(terrain, -25.0)) > 7.0
    assert np.median(profile(terrain, 40.0)) < -7.0
    assert np.abs(np.median(profile(make_terrain("wall", "floor"), 20.0))) < 1.0


def test_road_is_smooth_to_drive_on() -> None:
    terrain = make_terrain("wall", "floor")
    x = np.arange(0.0, 120.0, 0.4)
    height = terrain.survey(x, np.full_like(x, terrain.road.lane_m)).height_m
    # 3 cm of roughness plus puddle hollows over 0.4 m: never a step of 0.15 m.
    assert np.abs(np.diff(height)).max() < 0.15


def test_rubble_is_only_at_walls() -> None:
    terrain = make_terrain("wall", "floor")
    x = np.linspace(*RANGE, 200)[:, None]
    out = np.linspace(-1.0, 4.0, 30)[None, :]
    edge = terrain.road.half_width(x)
    assert terrain.survey(x, -(edge + out)).rubble.max() > 0.6
    assert terrain.survey(x, edge + out).rubble.max() == 0.0


def test_drop_is_guarded_by_a_berm() -> None:
    terrain = make_terrain("wall", "drop")
    x = np.linspace(*RANGE, 50)
    crest = terrain.survey(x, terrain.road.half_width(x) + terrain.left.berm_out_m)
    assert np.median(crest.body) == 1.0
    assert np.median(profile(terrain, terrain.left.berm_out_m)) > 0.5


def test_survey_is_consistent_between_grids_and_points() -> None:
    terrain = make_terrain("wall", "floor")
    x, d = np.array([10.0, 30.0])[:, None], np.array([-20.0, 3.0, 44.0])[None, :]
    grid = terrain.survey(x, d).height_m
    single = terrain.survey(np.array([30.0]), np.array([44.0])).height_m
    assert grid.shape == (2, 3)
    assert grid[1, 2] == pytest.approx(single[0], abs=1e-4)  # float32 noise


def test_puddles_make_hollows_and_wet_ground() -> None:
    for seed in range(20):
        terrain = make_terrain("wall", "floor", seed)
        if terrain.road.puddles:
            break
    puddle = terrain.road.puddles[0]
    here = terrain.survey(np.array([puddle.x_m]), np.array([puddle.offset_m]))
    assert here.wet[0] == 1.0
    dry = Terrain.__new__(Terrain)
    dry.__dict__.update(terrain.__dict__)
    dry.road = replace(terrain.road, puddles=())
    there = dry.survey(np.array([puddle.x_m]), np.array([puddle.offset_m]))
    assert there.height_m[0] - here.height_m[0] >= puddle.depth_m - 1e-4


def test_heaps_are_where_they_are_placed() -> None:
    terrain = make_terrain("wall", "floor")
    xy = terrain.road.place(60.0, 60.0)
    terrain.heaps = ()
    before = terrain.survey(np.array([60.0]), np.array([60.0]))
    terrain.heaps = (Heap(xy, 2.0, 0.7),)
    after = terrain.survey(np.array([60.0]), np.array([60.0]))
    # Noise changes a heap's height by at most a quarter.
    assert 1.4 < after.height_m[0] - before.height_m[0] < 2.6
    assert after.body[0] == 1.0


def test_heaps_are_only_drawn_on_floors() -> None:
    rng = np.random.default_rng(0)
    road = draw_road(rng, REGIONS[0], RANGE)
    wall, floor = (draw_side(rng, kind, REGIONS[0]) for kind in ("wall", "floor"))
    heaps = draw_heaps(rng, road, (wall, floor), RANGE)
    offsets = road.offset(np.array([heap.xy_m for heap in heaps]))
    assert len(heaps) >= 4
    assert (offsets > 20.0).all()


@pytest.mark.parametrize("kind", ["wall", "floor", "drop"])
def test_sections_run_outward(kind: SideKind) -> None:
    side = draw_side(np.random.default_rng(1), kind, REGIONS[1])
    assert (np.diff(side.out_m) > 0).all()
    assert side.up_m[0] == 0.0
    assert side.kind == kind


def test_same_seed_same_relief() -> None:
    x, d = np.linspace(0, 100, 40), np.linspace(-60, 60, 40)
    first = make_terrain("wall", "floor").survey(x, d).height_m
    assert np.array_equal(first, make_terrain("wall", "floor").survey(x, d).height_m)
