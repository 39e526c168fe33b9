"""The whole scene."""

import itertools
from collections import Counter

import numpy as np
import pytest

from dataset.minesim.scene.locations import REGIONS
from dataset.minesim.scene.materials import MATERIALS
from dataset.minesim.scene.world import LOCATIONS, World, WorldOptions, build_world, world_of_scene

SMALL = WorldOptions(duration_s=3.0, cell_m=1.0, extent_m=160.0)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(11, SMALL)


def test_scenes_of_a_data_set_cycle_through_all_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[int, WorldOptions]] = []

    def note(seed: int, options: WorldOptions) -> World:
        built.append((seed, options))
        return object.__new__(World)

    monkeypatch.setattr("dataset.minesim.scene.world.build_world", note)
    for seed, number in itertools.product((3, 4), range(len(LOCATIONS))):
        world_of_scene(seed, number, duration_s=3.0, cell_m=1.0)
    first, second = built[: len(LOCATIONS)], built[len(LOCATIONS) :]
    assert {options.location for _, options in first} == set(LOCATIONS)
    assert [o.location for _, o in first] != [o.location for _, o in second]
    assert len({seed for seed, _ in built}) == len(built)
    assert {(o.duration_s, o.cell_m) for _, o in built} == {(3.0, 1.0)}


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    tiny = WorldOptions(duration_s=1.0, cell_m=2.0, extent_m=150.0)
    return [build_world(seed, tiny) for seed in range(8)]


def test_arrays_are_consistent(world: World) -> None:
    faces = len(world.faces)
    assert world.vertices.dtype == np.float32
    assert world.faces.dtype == np.int32
    assert world.faces.max() < len(world.vertices)
    assert len(world.face_class) == len(world.face_material) == len(world.face_color) == faces
    assert world.face_class.max() <= 11
    assert world.face_material.max() < len(MATERIALS)
    assert np.isfinite(world.vertices).all()
    assert world.face_color.min() >= 0.0
    assert world.face_color.max() <= 1.0


def test_same_seed_same_bytes(world: World) -> None:
    again = build_world(11, SMALL)
    for name in ("vertices", "faces", "face_class", "face_material", "face_color"):
        assert getattr(world, name).tobytes() == getattr(again, name).tobytes()
    poses = world.drive.world_from_vehicle
    assert poses.tobytes() == again.drive.world_from_vehicle.tobytes()
    assert world.environment.sun_direction.tobytes() == again.environment.sun_direction.tobytes()


def test_another_seed_gives_another_world(world: World) -> None:
    other = build_world(12, SMALL)
    assert other.faces.shape != world.faces.shape or not np.array_equal(
        other.vertices, world.vertices
    )


def test_drive_follows_the_ground(world: World) -> None:
    position = world.drive.world_from_vehicle[:, :3, 3]
    assert len(position) == 31
    assert np.abs(position[:, 2] - world.height_m(position[:, :2])).max() < 0.35
    assert np.linalg.norm(position[-1] - position[0]) > 8.0


def test_given_options_are_kept() -> None:
    given = WorldOptions(
        duration_s=1.0, cell_m=1.5, extent_m=150.0, location="location_3", sky="dusk", snow=True
    )
    world = build_world(1, given)
    assert world.location == "location_3"
    assert world.environment.sky == "dusk"
    assert world.environment.snow
    assert len(world.drive.time_s) == 11


def test_locations_classes_and_objects_vary(worlds: list[World]) -> None:
    assert len({world.location for world in worlds}) >= 3
    assert {world.location for world in worlds} <= set(LOCATIONS)
    seen: Counter[int] = Counter()
    for world in worlds:
        seen.update(int(label) for label in np.unique(world.face_class))
    # Ground classes and rocks are in every scene; every machine is in many scenes.
    assert all(seen[label] == len(worlds) for label in (1, 10, 11))
    assert all(seen[label] >= 2 for label in range(12))
    machines = [sum(thing.label in {2, 3, 4, 5, 6} for thing in world.objects) for world in worlds]
    assert 2.0 <= np.mean(machines) <= 7.0


def test_names_match_the_regions() -> None:
    assert tuple(region.name for region in REGIONS) == LOCATIONS


def test_demo_size_has_a_fraction_of_the_triangles() -> None:
    full = build_world(2, WorldOptions(duration_s=3.0))
    demo = build_world(2, WorldOptions(duration_s=3.0, cell_m=0.8))
    assert 300_000 < len(full.faces) < 700_000
    assert len(demo.faces) < 0.5 * len(full.faces)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duration_s": 0.0}, "duration_s must be >= 0.1"),
        ({"cell_m": 5.0}, "cell_m must be between"),
        ({"extent_m": 10.0}, "extent_m must be >= 150"),
        ({"location": "location_9"}, "unknown location"),
    ],
)
def test_invalid_options_are_rejected(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WorldOptions(**changes)
