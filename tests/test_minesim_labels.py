from itertools import product

import numpy as np
import pytest

from dataset import layout
from dataset.map_labels import DEPTH_RANGE_M, elevation_image, occupancy_rows, splat_window
from dataset.minesim.sensors.camera import CameraRenderer
from dataset.minesim.sensors.lidar import scan
from dataset.minesim.sensors.rig import Camera, Rig, vehicle_from_lidar
from dataset.minesim.sensors.stage import make_stage
from dataset.minesim.write.labels import (
    ClipMap,
    accumulate,
    depth_image,
    local_map,
    voxel_downsample,
)
from tests.minesim_world import TRUCK, straight_drive, tiny_world

CAMERA = Camera(480, 300)
RIG = Rig(CAMERA)
LIDAR_HEIGHT_M = RIG.lidar_height_m
TICK = 20


@pytest.fixture(scope="module")
def stage():
    return make_stage(tiny_world())


@pytest.fixture(scope="module")
def clip(stage):
    return accumulate(stage, np.random.default_rng(0))


@pytest.fixture(scope="module")
def pose(stage):
    return stage.world.drive.world_from_vehicle[TICK] @ vehicle_from_lidar()


@pytest.fixture(scope="module")
def scanned(stage, pose):
    return scan(stage, pose, 2.0, np.random.default_rng(1))


# Accumulated map.


def test_map_points_lie_on_surfaces_without_noise(clip):
    ground = clip.points[clip.label == 11]
    assert len(ground) > 10_000
    assert np.abs(ground[:, 2]).max() < 1e-3
    truck = clip.points[clip.label == TRUCK]
    assert truck[:, 0].min() == pytest.approx(26.0, abs=1e-3)  # Its rear, which faces the drive.


def test_map_keeps_one_point_per_voxel(clip):
    cubes = np.floor(clip.points / np.float32(0.1)).astype(int)
    assert len(np.unique(cubes, axis=0)) == len(cubes)


def test_same_seed_same_map(stage, clip):
    again = accumulate(stage, np.random.default_rng(0))
    assert again.points.tobytes() == clip.points.tobytes()
    assert again.label.tobytes() == clip.label.tobytes()


def test_map_covers_most_points_of_a_frame(clip, pose, scanned):
    points, _ = local_map(clip, pose)
    occupied = set(map(tuple, np.floor(points / 0.3).astype(int)))
    own = np.floor(scanned.points[:, :3] / 0.3).astype(int)
    near = [
        any((x + i, y + j, z + k) in occupied for i, j, k in product((-1, 0, 1), repeat=3))
        for x, y, z in own[::40].tolist()
    ]
    assert np.mean(near) > 0.9


def test_voxel_downsample_keeps_the_first_point_of_each_voxel():
    points = np.array([[0.5, 0, 0], [-0.5, 0, 0], [0.6, 0.1, 0], [0.5, 0, 1.5]], np.float32)
    assert voxel_downsample(points, 1.0).tolist() == [1, 0, 3]  # By x, then z.
    assert voxel_downsample(points[:0], 1.0).tolist() == []


def test_voxel_downsample_matches_a_dictionary():
    points = np.random.default_rng(0).uniform(-3, 3, (500, 3)).astype(np.float32)
    first: dict[tuple[int, ...], int] = {}
    for index, point in enumerate(points):
        first.setdefault(tuple(np.floor(point / np.float32(0.7)).astype(int).tolist()), index)
    assert voxel_downsample(points, 0.7).tolist() == [first[cube] for cube in sorted(first)]


def test_voxel_downsample_rejects_too_many_voxels():
    points = np.array([[0, 0, 0], [1e7, 1e7, 1e7]], np.float32)
    with pytest.raises(ValueError, match="use a larger voxel_m"):
        voxel_downsample(points, 0.1)


def test_local_map_is_in_the_lidar_frame():
    pose = np.eye(4)
    pose[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]  # Facing along the world y axis.
    pose[:3, 3] = (100.0, 50.0, 2.0)
    points = np.array([[100, 60, 0], [97, 50, 2], [100, 20, 0], [100, 190, 0]], np.float32)
    local, label = local_map(ClipMap(points, np.array([11, 10, 9, 8], np.uint8)), pose)
    np.testing.assert_allclose(local, [[10, 0, -2], [0, 3, 0]], atol=1e-5)  # Others are too far.
    assert label.tolist() == [11, 10]


# Occupancy.


def test_voxel_takes_the_most_frequent_class_and_the_smaller_on_a_tie():
    corner = np.array(layout.LABEL_GRID.origin_m, np.float32)
    offsets = np.array([[0.1] * 3, [0.2] * 3, [0.15] * 3, [0.4, 0.1, 0.1], [0.5, 0.1, 0.1]])
    label = np.array([11, 11, 2, 10, 3], np.uint8)
    rows = occupancy_rows((corner + offsets).astype(np.float32), label)
    assert rows.tolist() == [[0, 0, 0, 11], [1, 0, 0, 3]]


def test_background_is_kept_and_points_outside_the_grid_are_dropped():
    points = np.array([[1.0, 0, 0], [-0.1, 0, 0], [76.8, 0, 0], [1.0, 0, 5.7]], np.float32)
    rows = occupancy_rows(points, np.array([0, 11, 11, 11], np.uint8))
    assert rows.tolist() == [[3, 128, 13, 0]]
    assert occupancy_rows(points[:0], np.empty(0, np.uint8)).shape == (0, 4)


def test_surfaces_are_one_voxel_thin_and_complete_near_the_drive(clip, pose):
    rows = occupancy_rows(*local_map(clip, pose))
    road = rows[rows[:, 3] == 11]
    z = int(np.floor((-LIDAR_HEIGHT_M - layout.LABEL_GRID.origin_m[2]) / 0.3))
    assert set(road[:, 2].tolist()) == {z}
    columns = np.zeros((256, 256), bool)
    columns[rows[:, 0], rows[:, 1]] = True
    assert columns[:110, 112:133].mean() > 0.97  # Up to 33 m ahead, beside the puddle and truck.


def test_occupancy_covers_the_points_of_a_frame(clip, pose, scanned):
    rows = occupancy_rows(*local_map(clip, pose))
    occupied = np.zeros((258, 258, 34), bool)
    for i, j, k in product((0, 1, 2), repeat=3):
        occupied[rows[:, 0] + i, rows[:, 1] + j, rows[:, 2] + k] = True
    voxel = np.floor(layout.LABEL_GRID.voxel_from_meters(scanned.points[:, :3])).astype(int)
    inside = ((voxel >= 0) & (voxel < layout.LABEL_GRID.shape)).all(axis=1)
    assert occupied[tuple(voxel[inside].T + 1)].mean() > 0.9


# Depth.


def test_depth_label_matches_the_rendered_depth(stage, clip, pose, scanned):
    rendered = CameraRenderer(stage, CAMERA).take(
        stage.world.drive.world_from_vehicle[TICK], np.random.default_rng(0)
    )
    points = np.concatenate([local_map(clip, pose)[0], scanned.points[:, :3]])
    depth = depth_image(points, rendered.depth_m, RIG)
    valid = depth > 0
    assert 0.3 < valid.mean() < 0.7
    error = np.abs(depth[valid] / layout.DEPTH_UNITS_PER_M / rendered.depth_m[valid] - 1)
    # The window reaches a pixel or two up and down, where the ground is nearer or farther.
    assert np.median(error) < 0.01
    assert (error < 0.1).mean() > 0.97


def _flat_depth(value=np.inf):
    return np.full((300, 480), value, np.float32)


def _ahead(*depths_m):
    """Return points on the optical axis, in the LiDAR frame."""
    to_lidar = np.linalg.inv(RIG.pixel_from_lidar)
    pixels = [[240.5 * d, 150.5 * d, d, 1.0] for d in depths_m]
    return (np.array(pixels) @ to_lidar.T)[:, :3].astype(np.float32)


def test_a_point_fills_its_splat_window():
    depth = depth_image(_ahead(10.0), _flat_depth(), RIG)
    edge = splat_window(CAMERA.width) // 2
    rows, columns = np.nonzero(depth)
    assert (rows.min(), rows.max()) == (150 - edge, 150 + edge)
    assert (columns.min(), columns.max()) == (240 - edge, 240 + edge)
    assert set(depth[depth > 0].tolist()) == {2560}


def test_nearest_point_wins_and_occluded_points_are_dropped():
    assert depth_image(_ahead(30.0, 10.0, 20.0), _flat_depth(), RIG)[150, 240] == 2560
    assert not depth_image(_ahead(30.0), _flat_depth(10.0), RIG).any()


def test_depths_out_of_range_are_dropped():
    low, high = DEPTH_RANGE_M
    points = _ahead(low - 0.1, high + 0.1, -5.0)
    assert not depth_image(points, _flat_depth(), RIG).any()


def test_border_is_empty(clip, pose):
    depth = depth_image(local_map(clip, pose)[0], _flat_depth(), RIG)
    edge = splat_window(CAMERA.width) // 2
    assert not depth[-edge:].any()
    assert not depth[:, :edge].any()
    assert depth[-edge - 1].any()


@pytest.mark.parametrize(("width", "window"), [(1920, 9), (960, 5), (480, 3), (64, 3)])
def test_splat_window_scales_with_the_image(width, window):
    assert splat_window(width) == window


# Elevation.


def test_elevation_is_the_mean_of_all_points_in_a_cell():
    points = np.array(
        [[25.01, -10.87, -2], [25.09, -10.79, -1], [45.39, 10.81, -2.5], [25.11, 10.71, -3]]
    )
    elevation = elevation_image(points.astype(np.float32))
    assert elevation.shape == (204, 217)
    assert elevation[203, 216] == (1.0 + 1.5) * 256  # The near right corner.
    assert elevation[0, 0] == (1.0 + 2.5) * 256  # The far left one.
    assert elevation[202, 1] == (1.0 + 3.0) * 256
    assert np.count_nonzero(elevation) == 3


def test_beyond_the_last_cell_elevation_wraps_around_to_the_other_side():
    far, left, out = [45.45, 0.0, -2], [30.0, 10.85, -3], [45.5, 0.0, -2]
    elevation = elevation_image(np.array([far, left, out, [24.9, 0, -2]], np.float32))
    assert elevation[203].max() == (1.0 + 2.0) * 256
    assert elevation[153, 216] == (1.0 + 3.0) * 256
    assert np.count_nonzero(elevation) == 2


def test_elevation_above_a_meter_wraps_around():
    elevation = elevation_image(np.array([[30.0, 0.0, 1.5]], np.float32))
    assert elevation.max() == 65_536 - 128
    assert elevation.max() > layout.ELEVATION_WRAPPED


def test_elevation_decodes_to_the_terrain_height(stage, clip, pose):
    elevation = elevation_image(local_map(clip, pose)[0])
    valid = elevation > 0
    assert valid.mean() > 0.3
    height = layout.ELEVATION_TOP_M - elevation / layout.ELEVATION_UNITS_PER_M + LIDAR_HEIGHT_M
    # The road lies at 0; only the puddle, the truck and the cone stand above it.
    assert np.median(np.abs(height[valid])) < 0.01
    assert (np.abs(height[valid]) < 0.02).mean() > 0.8


def test_a_standing_vehicle_is_scanned_once(stage):
    still = straight_drive(1.0)
    still.world_from_vehicle[:, 0, 3] = 0.0
    world = tiny_world()
    object.__setattr__(world, "drive", still)
    clip = accumulate(make_stage(world), np.random.default_rng(0))
    assert 5_000 < len(clip.points) < 45_000
