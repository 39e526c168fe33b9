"""Placement of single meshes on the ground."""

import numpy as np
import pytest

from dataset.minesim.scene.ground import DRIVEABLE, TERRAIN, Ground
from dataset.minesim.scene.mesh import Mesh, box, merge
from dataset.minesim.scene.placer import Kind, Placer
from dataset.minesim.scene.road import Road, Waves
from utils.labels import UNSCENES3D

FLAT = Waves(np.zeros(1), np.ones(1), np.zeros(1))
GRAY = (0.5, 0.5, 0.5)


def make_placer(label: int = DRIVEABLE, seed: int = 0) -> Placer:
    """Build ground that rises by 5 % along x and 2 % to the left."""
    x, d = np.arange(-50.0, 451.0, 2.0), np.arange(-150.0, 151.0, 2.0)
    road = Road(24.0, FLAT, FLAT, FLAT)
    heights = 0.05 * x[:, None] + 0.02 * d[None, :]
    labels = np.full((len(x) - 1, len(d) - 1), label, dtype=np.uint8)
    nothing = box((1, 1, 1), (0, 0, 0), "soil", GRAY)
    ground = Ground(road, x, d, heights, labels, nothing, np.zeros(12, dtype=np.uint8))
    return Placer(ground, np.random.default_rng(seed), 60.0)


def crate(rng: np.random.Generator) -> Mesh:
    """Build an off-center box on z = 0."""
    return box((4.0, 2.0, 1.0), (3.0, 1.0, 0.5), "paint", GRAY)


def test_put_centers_the_footprint_and_tilts_with_the_ground() -> None:
    placer = make_placer()
    placer.put(crate(placer.rng), "truck", np.array([20.0, 10.0]), np.pi / 2, name="crate")
    thing = placer.objects[0]
    assert thing.label == UNSCENES3D.index("truck")
    assert np.allclose(thing.size_m, [4.0, 2.0, 1.0])
    up = np.array([-0.05, -0.02, 1.0]) / np.linalg.norm([0.05, 0.02, 1.0])
    assert np.allclose(thing.center_m, np.array([20.0, 10.0, 1.2]) + 0.5 * up, atol=1e-6)
    # Its lower corners are on the slope, which rises by 2 % along its forward axis y.
    low = placer.meshes[0].vertices[:4]
    assert np.allclose(low[:, 2], 0.05 * low[:, 0] + 0.02 * low[:, 1], atol=2e-3)


def test_upright_objects_stay_upright_and_touch_the_lowest_corner() -> None:
    placer = make_placer()
    placer.put(crate(placer.rng), "truck", np.array([20.0, 10.0]), 0.0, tilts=False)
    low, high = placer.meshes[0].bounds()
    assert high[2] - low[2] == pytest.approx(1.0)
    assert low[2] == pytest.approx(0.05 * 18.0 + 0.02 * 9.0)
    assert placer.objects == []


def test_has_room_excludes_the_ego_lane_and_other_objects() -> None:
    placer = make_placer()
    lane = placer.ground.road.lane_m
    near, far = np.array([50.0, lane + 3.9]), np.array([50.0, lane + 4.6])
    # 3 m of lane, 0.5 m of clearance and 1 m of half width.
    assert not placer.has_room(near, lane + 3.9, 2.0, across=1.0, yaw=0.0)
    assert placer.has_room(far, lane + 4.6, 2.0, across=1.0, yaw=0.0)
    # Across the road, the reach counts.
    assert not placer.has_room(far, lane + 4.6, 2.0, across=1.0, yaw=1.5)
    placer.put(crate(placer.rng), "truck", far, 0.0)
    beside = far + np.array([4.0, 0.0])
    assert not placer.has_room(beside, lane + 4.6, 2.0, across=1.0, yaw=0.0)
    assert placer.has_room(beside + np.array([1.0, 0.0]), lane + 4.6, 2.0, across=1.0, yaw=0.0)


@pytest.mark.parametrize("zone", ["oncoming", "shoulder", "near", "far", "ahead"])
def test_zones_are_where_they_should_be(zone: str) -> None:
    placer = make_placer()
    placer.scatter(Kind("crate", "truck", (crate,), {zone: 30.0}))  # type: ignore[dict-item]
    places = np.array([thing.center_m for thing in placer.objects])
    assert len(places) >= 3
    offset, x = np.abs(places[:, 1]), places[:, 0]
    reach = {"oncoming": (5.5, 6.5), "shoulder": (9.0, 13.0), "near": (9.0, 42.1)}
    low, high = reach.get(zone, (3.0, 120.1))
    is_here = x < 142.0 if zone in reach else x > 15.0
    assert ((offset[is_here] >= low) & (offset[is_here] <= high)).all()


def test_signs_face_the_ego_vehicle() -> None:
    placer = make_placer()
    placer.scatter(Kind("sign", "traffic_cone", (crate,), {"shoulder": 5.0}, faces_ego=True))
    assert placer.objects
    assert all(thing.yaw_rad == pytest.approx(np.pi) for thing in placer.objects)


def test_nothing_is_placed_off_the_drivable_surface() -> None:
    placer = make_placer(TERRAIN)
    placer.scatter(Kind("crate", "truck", (crate,), {"near": 5.0, "oncoming": 3.0}))
    assert placer.meshes == []
    assert placer.face_class().tolist() == []


def test_face_class_repeats_each_label() -> None:
    placer = make_placer()
    placer.put(crate(placer.rng), "truck", np.array([20.0, 10.0]), 0.0)
    placer.put(merge([crate(placer.rng)] * 2), "car", np.array([40.0, 10.0]), 0.0)
    assert placer.face_class().tolist() == [2] * 12 + [4] * 24
