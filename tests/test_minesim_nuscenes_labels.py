from dataclasses import replace

import numpy as np
import pytest

from dataset.minesim.scene.materials import material_index
from dataset.minesim.sensors.raycast import Caster
from dataset.minesim.write.nuscenes.labels import (
    NUSCENES_CLASS,
    RigView,
    Surface,
    nuscenes_labels,
    occupancy,
    sample_surface,
    seen_by_cameras,
    seen_by_lidar,
    targets,
)
from dataset.minesim.write.nuscenes.rig import RigCamera, ego_from_sensor
from dataset.nuscenes.index import LIDAR
from tests.minesim_world import TRUCK_BOX, tiny_world
from utils.geometry import VoxelGrid
from utils.labels import NUSCENES, UNSCENES3D

GRID = VoxelGrid((-2.0, -8.0, -1.0), 0.5, (100, 40, 10))
"""In the world's frame: the truck and the cone of the tiny world, 20 m and more ahead."""


@pytest.fixture(scope="module")
def world():
    return tiny_world()


@pytest.fixture(scope="module")
def surface(world):
    return sample_surface(world, np.zeros((1, 3)), 60.0, 0.2)


@pytest.fixture(scope="module")
def caster(world):
    return Caster(world.vertices, world.faces)


# --- classes ---


def test_every_class_maps_to_a_nuscenes_class():
    assert set(NUSCENES_CLASS) == set(UNSCENES3D.class_names[1:])
    assert set(NUSCENES_CLASS.values()) <= set(NUSCENES.class_names[1:])


@pytest.mark.parametrize(
    ("label", "material", "expected"),
    [
        ("widebody", "paint", "truck"),
        ("excavator", "steel", "construction_vehicle"),
        ("machinery", "rubber", "construction_vehicle"),
        ("muddy", "water", "other_flat"),
        ("terrain", "rock", "terrain"),
        ("terrain", "snow", "terrain"),
        ("terrain", "concrete", "manmade"),
        ("terrain", "paint", "manmade"),
        ("free", "plant", "vegetation"),
        ("free", "rubber", "others"),
        ("free", "steel", "manmade"),
        ("car", "plant", "car"),
    ],
)
def test_material_decides_where_the_class_does_not(world, label, material, expected):
    face = replace(
        world,
        faces=world.faces[:1],
        face_class=np.array([UNSCENES3D.index(label)], np.uint8),
        face_material=np.array([material_index(material)], np.uint8),
        face_color=world.face_color[:1],
    )
    assert NUSCENES.class_names[nuscenes_labels(face)[0]] == expected


# --- the surface ---


def test_points_are_spread_evenly_over_faces(world):
    one = replace(
        world,
        vertices=np.array([[0, 0, 1], [8, 0, 1], [0, 8, 1]], np.float32),
        faces=np.array([[0, 1, 2]], np.int32),
        face_class=world.face_class[:1],
        face_material=world.face_material[:1],
        face_color=world.face_color[:1],
    )
    points = sample_surface(one, np.zeros((1, 3)), 100.0, 0.1).points
    assert len(points) == 3200  # 32 m² in squares of 0.1 m.
    np.testing.assert_array_equal(points[:, 2], 1.0)
    assert points.min() >= 0
    assert (points[:, :2].sum(axis=1) <= 8.0001).all()
    cells = np.floor(points[:, :2]).astype(int)
    count = np.zeros((8, 8), int)
    np.add.at(count, tuple(cells.T), 1)
    whole = np.add.outer(np.arange(8), np.arange(8)) < 7
    assert np.abs(count[whole] - 100).max() <= 12  # Random points would deviate by 30.


def test_faces_and_points_out_of_reach_are_skipped(world):
    found = sample_surface(world, np.array([[10.0, 0.0, 0.0], [20.0, 0.0, 0.0]]), 5.0, 0.5)
    assert found.points[:, 0].min() >= 5.0
    assert found.points[:, 0].max() <= 25.0
    assert np.abs(found.points[:, 1]).max() <= 5.0
    assert NUSCENES.index("other_flat") in found.label  # The puddle.


def test_rejects_a_step_of_zero(world):
    with pytest.raises(ValueError, match="step_m must be positive"):
        sample_surface(world, np.zeros((1, 3)), 5.0, 0.0)


# --- voxels ---


def test_a_voxel_takes_the_class_of_its_points(surface):
    volume = occupancy(surface, np.eye(4), GRID)

    def at(x, y, z):
        index = np.floor(GRID.voxel_from_meters(np.array([x, y, z]))).astype(int)
        return NUSCENES.class_names[volume[tuple(index)]]

    (x, y, z), (length, _, height) = TRUCK_BOX
    assert at(x, y, z + height / 2 + 0.1) == "truck"
    assert at(x - length / 2 + 0.1, y, z) == "truck"
    assert at(x, y, z) == "free"  # Hollow.
    assert at(5.2, -3.0, 0.1) == "driveable_surface"
    assert at(5.2, -7.0, 0.1) == "terrain"
    assert at(5.2, -3.0, 0.7) == "free"
    assert at(22.1, -3.1, 0.9) == "traffic_cone"
    ground = volume[:, :, 2]
    assert (ground[4:90] > 0).all()  # No holes.


def test_the_grid_moves_with_its_frame(surface):
    turned = np.array([[0, -1, 0, 30], [1, 0, 0, 4], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    grid = VoxelGrid((-4.0, -8.0, -0.5), 1.0, (8, 16, 4))
    volume = occupancy(surface, turned, grid)
    truck = np.argwhere(volume == NUSCENES.index("truck"))
    # 8 m along the world's x, which is y here, and 3 m across.
    np.testing.assert_array_equal(np.ptp(truck, axis=0)[:2], [2 + 1, 7 + 1])


def test_targets_are_on_the_surface_if_there_is_one(surface):
    points, is_surface = targets(surface, np.eye(4), GRID)
    volume = occupancy(surface, np.eye(4), GRID)
    np.testing.assert_array_equal(is_surface.reshape(GRID.shape), volume > 0)
    voxel = np.floor(GRID.voxel_from_meters(points.astype(np.float64) + 1e-6))
    index = np.argwhere(np.ones(GRID.shape, bool))
    assert (np.abs(voxel - index).max(axis=1) == 0).mean() > 0.999
    ground = points.reshape(*GRID.shape, 3)[10, 20, 2]
    assert ground[2] == pytest.approx(0.0)
    air = points.reshape(*GRID.shape, 3)[10, 20, 5]
    np.testing.assert_allclose(air, [3.25, 2.25, 1.75])


# --- visibility ---


def _look(caster, camera, world_from_cam):
    rays = camera.rays.reshape(3, -1).T @ world_from_cam[:3, :3].T.astype(np.float32)
    hits = caster.first_hits(world_from_cam[:3, 3].astype(np.float32), rays)
    depth = np.where(hits.face < 0, np.inf, hits.distance).astype(np.float32)
    return RigView(camera, world_from_cam, depth.reshape(camera.height, camera.width))


PLACES = np.array(
    [
        [25.0, 4.0, 1.5],  # Air before the truck.
        [26.0, 4.0, 1.5],  # The truck's back.
        [34.0, 4.0, 1.5],  # Its front, behind it.
        [45.0, 5.5, 0.5],  # Air occluded by it.
        [12.0, -1.0, 0.0],  # Road.
        [12.0, -1.0, -0.6],  # Under the road.
        [-12.0, 0.0, 0.5],  # Air behind the car.
        [20.0, 0.0, 60.0],  # Far above.
    ],
    np.float32,
)
IS_SURFACE = np.array([0, 1, 1, 0, 1, 0, 0, 0], bool)


def test_cameras_see_what_is_not_occluded(caster):
    camera = RigCamera("CAM_FRONT", 160, 90)
    front = _look(caster, camera, camera.vehicle_from_cam)
    seen = seen_by_cameras(caster, [front], PLACES, IS_SURFACE)
    np.testing.assert_array_equal(seen, [1, 1, 0, 0, 1, 0, 0, 0])
    back = RigCamera("CAM_BACK", 160, 90)
    both = seen_by_cameras(
        caster, [front, _look(caster, back, back.vehicle_from_cam)], PLACES, IS_SURFACE
    )
    np.testing.assert_array_equal(both, [1, 1, 0, 0, 1, 0, 1, 0])
    assert not seen_by_cameras(caster, [], PLACES, IS_SURFACE).any()


def test_the_lidar_sees_all_around_between_its_beams(caster):
    seen = seen_by_lidar(caster, ego_from_sensor(LIDAR), PLACES, IS_SURFACE)
    np.testing.assert_array_equal(seen, [1, 1, 0, 0, 1, 0, 1, 0])
    under = np.array([[1.2, 0.0, 0.0]], np.float32)  # Road below the lowest beam.
    assert not seen_by_lidar(caster, ego_from_sensor(LIDAR), under, np.array([True])).any()


def test_no_surface_gives_a_free_volume():
    nothing = Surface(np.empty((0, 3), np.float32), np.empty(0, np.uint8))
    assert not occupancy(nothing, np.eye(4), GRID).any()
