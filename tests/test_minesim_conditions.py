"""Conditions of a scene."""

import numpy as np
import pytest

from dataset.minesim.scene.conditions import apply_condition, sky_of, snow_of
from dataset.minesim.scene.world import World, WorldOptions, build_world
from tests.minesim_world import tiny_world

SMALL = {"duration_s": 1.0, "cell_m": 2.0, "extent_m": 150.0, "location": "location_6"}


@pytest.fixture(name="worlds", scope="module")
def _worlds() -> dict[str, World]:
    return {
        condition: build_world(5, WorldOptions(condition=condition, **SMALL))
        for condition in ("standard", "wet", "dust", "night")
    }


def test_a_condition_leaves_the_scene_below_it_as_it_is(worlds: dict[str, World]) -> None:
    standard = worlds["standard"]
    for condition, world in worlds.items():
        count = len(standard.faces)
        assert world.environment.condition == condition
        np.testing.assert_array_equal(
            world.drive.world_from_vehicle, standard.drive.world_from_vehicle
        )
        if condition == "night":  # Its light masts come last.
            assert len(world.faces) > count
        else:
            assert len(world.faces) == count
        if not standard.environment.snow:
            np.testing.assert_array_equal(world.face_class[:count], standard.face_class)
            np.testing.assert_array_equal(
                world.vertices[: len(standard.vertices)], standard.vertices
            )


def test_each_condition_changes_what_it_says(worlds: dict[str, World]) -> None:
    assert worlds["standard"].face_film is None
    assert worlds["standard"].environment.plumes is None
    assert worlds["wet"].face_film is not None
    assert worlds["wet"].face_color.mean() < 0.9 * worlds["standard"].face_color.mean()
    assert worlds["dust"].environment.plumes is not None
    assert worlds["night"].environment.sky == "night"
    names = [thing.name for thing in worlds["night"].objects]
    assert names.count("light mast") >= 1
    assert not worlds["wet"].environment.snow
    assert not worlds["dust"].environment.snow


@pytest.mark.parametrize("seed", range(5))
def test_a_low_sun_stands_ahead(seed: int) -> None:
    world = tiny_world(sky="low_sun")
    rng = np.random.default_rng(seed)
    found = apply_condition(world.environment, "low_sun", world.drive, (), rng)
    x, y, z = found.sun_direction
    assert z == world.environment.sun_direction[2]
    assert abs(np.rad2deg(np.arctan2(y, x))) <= 32.0


def test_dirt_on_the_lens_has_a_seed() -> None:
    world = tiny_world()
    rng = np.random.default_rng(0)
    found = apply_condition(world.environment, "lens_dirt", world.drive, (), rng)
    assert found.lens_seed is not None
    assert found.plumes is None


def test_needed_skies() -> None:
    rng = np.random.default_rng(0)
    assert sky_of("night", rng) == "night"
    assert sky_of("standard", rng) is None
    assert {sky_of("wet", rng) for _ in range(20)} == {"overcast", "clear"}
    assert snow_of("standard") is None


def test_dust_rises_at_machines_near_the_drive() -> None:
    world = tiny_world()
    rng = np.random.default_rng(0)
    found = apply_condition(world.environment, "dust", world.drive, world.objects, rng)
    assert found.plumes is not None
    truck = world.objects[0].center_m
    away = np.linalg.norm(found.plumes.center_m[:, :2] - truck[:2], axis=1)
    assert (away < 10.0).sum() >= 5
