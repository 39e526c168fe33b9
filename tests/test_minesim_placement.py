"""Placement of objects: on the ground, clear of the ego lane and of each other."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from dataset.minesim.scene.ground import DRIVEABLE, Ground, build_ground
from dataset.minesim.scene.locations import REGIONS
from dataset.minesim.scene.materials import material_index
from dataset.minesim.scene.placement import KINDS, place_objects
from dataset.minesim.scene.placer import CORRIDOR_M, Placer
from dataset.minesim.scene.road import draw_road
from dataset.minesim.scene.terrain import Terrain
from utils.labels import UNSCENES3D

END_M = 50.0


def make_scene(seed: int = 3) -> tuple[Ground, Terrain]:
    rng = np.random.default_rng(seed)
    region = replace(REGIONS[0], layouts=(("wall", "floor"),))
    terrain = Terrain(rng, region, draw_road(rng, region, (0.0, END_M + 80)), (0.0, END_M + 80))
    reach = (-12.0, END_M + 84)
    return build_ground(terrain, region, reach, cell_m=1.0, extent_m=200.0, snow=False), terrain


@pytest.fixture(scope="module")
def scene() -> tuple[Ground, Terrain]:
    return make_scene()


@pytest.fixture(scope="module")
def placers(scene: tuple[Ground, Terrain]) -> list[Placer]:
    return [place_objects(np.random.default_rng(k), *scene, END_M, plants=True) for k in range(3)]


def test_density_changes_the_number_of_objects_of_a_class(scene: tuple[Ground, Terrain]) -> None:
    def classes(density: dict[str, float] | None) -> Counter[str]:
        found: Counter[str] = Counter()
        for k in range(2):
            rng = np.random.default_rng(k)
            placer = place_objects(rng, *scene, END_M, plants=False, density=density)
            found.update(UNSCENES3D.class_names[item.label] for item in placer.objects)
        return found

    assert classes({}) == classes(None)
    usual, changed = classes(None), classes({"car": 5.0, "truck": 0.0})
    assert changed["truck"] == 0 < usual["truck"]
    assert changed["car"] > 2 * usual["car"]


def test_ego_lane_is_free(placers: list[Placer]) -> None:
    for placer in placers:
        road = placer.ground.road
        points = np.concatenate([mesh.vertices for mesh in placer.meshes])
        on_drive = (points[:, 0] > -5.0) & (points[:, 0] < END_M + 80.0)
        low = points[:, 2] - placer.ground.height_m(points[:, :2]) < 5.0
        offset = road.offset(points[:, :2])[on_drive & low]
        assert np.abs(offset - road.lane_m).min() > CORRIDOR_M


def test_machines_do_not_overlap(placers: list[Placer]) -> None:
    for placer in placers:
        things = [thing for thing in placer.objects if thing.size_m[0] > 2.0]
        for k, first in enumerate(things):
            for second in things[k + 1 :]:
                gap = np.linalg.norm((first.center_m - second.center_m)[:2])
                reach = np.hypot(*first.size_m[:2]) / 2 + np.hypot(*second.size_m[:2]) / 2
                assert gap > reach - 0.2  # tilting shifts a box's center slightly


def test_machines_stand_on_driveable_ground(placers: list[Placer]) -> None:
    wheeled = {"haul truck", "pickup", "wheel loader", "machine", "wide-body truck", "excavator"}
    found = set()
    for placer in placers:
        for thing in placer.objects:
            if thing.name in wheeled:
                place = thing.center_m[None, :2]
                found.add(thing.name)
                assert placer.ground.label_at(place)[0] == DRIVEABLE
                base = thing.center_m[2] - thing.size_m[2] / 2
                assert base == pytest.approx(placer.ground.height_m(place)[0], abs=0.7)
    assert len(found) >= 4


def test_every_class_occurs(placers: list[Placer]) -> None:
    seen = {label for placer in placers for label in placer.labels}
    for name in ("barrier", "truck", "machinery", "traffic_cone"):
        assert UNSCENES3D.index(name) in seen
    assert {kind.class_name for kind in KINDS} <= {*UNSCENES3D.class_names}


def test_face_class_follows_the_meshes(placers: list[Placer]) -> None:
    placer = placers[0]
    classes = placer.face_class()
    assert len(classes) == sum(len(mesh.faces) for mesh in placer.meshes)
    assert classes[0] == placer.labels[0]
    assert classes[-1] == placer.labels[-1]


def test_same_seed_same_places(scene: tuple[Ground, Terrain], placers: list[Placer]) -> None:
    again = place_objects(np.random.default_rng(0), *scene, END_M, plants=True)
    assert [thing.name for thing in again.objects] == [t.name for t in placers[0].objects]
    assert np.array_equal(again.meshes[-1].vertices, placers[0].meshes[-1].vertices)


def test_plants_are_optional(scene: tuple[Ground, Terrain], placers: list[Placer]) -> None:
    plain = place_objects(np.random.default_rng(0), *scene, END_M, plants=False)
    plant = material_index("plant")
    assert any((mesh.face_material == plant).any() for mesh in placers[0].meshes)
    assert not any((mesh.face_material == plant).any() for mesh in plain.meshes)
