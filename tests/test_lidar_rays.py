import numpy as np
import torch

from dataset.class_mapping import DROP
from dataset.lidar_rays import Sweep, lidar_rays, seen_through, surfaces, voxel_classes
from dataset.point_labels import PointLabels
from utils.geometry import VoxelGrid

GRID = VoxelGrid(origin_m=(0.0, -8.0, -2.0), voxel_m=1.0, shape=(24, 16, 4))


def wall(x_m: float, *, half_m: tuple[float, float] = (4.0, 1.0)) -> np.ndarray:
    """Points every 5 cm on a wall across the road, of half a width and half a height."""
    y, z = np.meshgrid(*(np.arange(-half, half, 0.05) + 0.025 for half in half_m))
    return np.stack([np.full(y.size, x_m), y.ravel(), z.ravel()], axis=1)


OWN = Sweep(np.zeros(3), wall(20.5))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_mover_that_left_is_seen_through():
    car_then = wall(8.5, half_m=(1.0, 0.3))
    assert seen_through(OWN, car_then).all()


def test_what_still_stands_or_is_hidden_is_not_seen_through():
    assert not seen_through(OWN, wall(20.4)).any()
    assert not seen_through(OWN, wall(22.5)).any()  # Behind the wall.
    assert not seen_through(OWN, -wall(8.5)).any()  # Where the sweep has no ray.


def test_level_ground_is_not_seen_through_by_the_next_ring():
    def ring(range_m: float) -> np.ndarray:
        angle = np.radians(np.arange(-30, 30, 0.1))
        return range_m * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1) - [0, 0, 1.7]

    # Rings half a degree apart: one sweep has every second one, the other those between.
    inclinations = np.radians(np.arange(2.0, 12.0, 0.5))
    ranges = 1.7 / np.tan(inclinations)
    own = Sweep(np.zeros(3), np.concatenate([ring(r) for r in ranges[::2]]))
    other = np.concatenate([ring(r) for r in ranges[1::2]])
    assert not seen_through(own, other).any()


def test_rays_come_from_where_their_sensors_were():
    other = Sweep(np.array([-2.0, 0.0, 0.0]), wall(20.5))
    rays = lidar_rays([OWN, other], GRID, 500, rng())
    assert rays.origins_m.shape == rays.ends_m.shape == (500, 3)
    assert set(rays.origins_m[rays.is_own][:, 0].tolist()) == {0.0}
    assert set(rays.origins_m[~rays.is_own][:, 0].tolist()) == {-2.0}
    expected = torch.zeros(GRID.shape, dtype=torch.bool)
    expected[20, 4:12, 1:3] = True
    assert rays.has_point.equal(expected)


def test_a_mover_leaves_no_point_and_no_ray():
    other = Sweep(np.array([-2.0, 0.0, 0.0]), wall(8.5, half_m=(1.0, 0.3)))
    rays = lidar_rays(surfaces([OWN, other]), GRID, 500, rng())
    assert rays.is_own.all()
    assert not rays.has_point[8].any()


def labeled(sweep: Sweep, classes: np.ndarray, *, moving: bool = False) -> Sweep:
    every = np.broadcast_to(classes, len(sweep.points_m)).astype(np.uint8)
    return sweep._replace(labels=PointLabels(every, np.full(len(every), moving)))


def test_points_on_what_moves_count_in_their_own_sweep_only():
    own, other = labeled(OWN, np.array(3), moving=True), Sweep(np.zeros(3), wall(12.5))
    kept = surfaces([own, labeled(other, np.array(3)), labeled(other, np.array(3), moving=True)])
    # Nothing is seen through, because the own wall is hidden behind that of the other sweep.
    assert [len(sweep.points_m) for sweep in surfaces([other, own._replace(labels=None)])] == [
        len(other.points_m),
        len(OWN.points_m),
    ]
    assert len(kept[0].points_m) == len(OWN.points_m)
    assert len(kept[2].points_m) == 0


def test_points_that_are_no_surface_are_dropped_with_their_labels():
    classes = np.where(OWN.points_m[:, 1] > 0, 2, DROP)
    (kept,) = surfaces([labeled(OWN, classes)])
    assert (kept.points_m[:, 1] > 0).all()
    assert set(kept.labels.classes.tolist()) == {2}
    assert len(kept.labels.is_moving) == len(kept.points_m) == len(OWN.points_m) // 2


def test_a_voxel_has_the_class_of_most_of_its_labeled_points():
    points_m = np.array([[1.1, 0.1, 0.1]] * 5 + [[2.5, 0.5, 0.5]] * 2 + [[99.0, 0.0, 0.0]])
    one = labeled(Sweep(np.zeros(3), points_m), np.array([0, 0, 0, 4, 4, 0, 0, 4]))
    other = labeled(Sweep(np.zeros(3), points_m[:4]), np.array([7, 7, 7, 0]))
    unlabeled = Sweep(np.zeros(3), np.array([[5.0, 0.0, 0.0]]))
    assert voxel_classes([one, unlabeled], GRID)[1, 8, 2] == 4
    found = voxel_classes([one, other, unlabeled], GRID)
    assert found[1, 8, 2] == 7
    assert found.count_nonzero() == 1
    assert not voxel_classes([unlabeled], GRID).any()


def test_voxels_have_the_same_share_of_the_rays():
    near = np.repeat(wall(4.5, half_m=(0.5, 1.0)), 50, axis=0)
    sweep = Sweep(np.zeros(3), np.concatenate([near, OWN.points_m]))
    rays = lidar_rays([sweep], GRID, 1000, rng())
    is_near = rays.ends_m[:, 0] < 10
    # 4 of 20 voxels are near, with 25 times as many points each.
    assert 0.15 < is_near.float().mean() < 0.25


def test_the_same_seed_draws_the_same_rays():
    one, same = (lidar_rays([OWN], GRID, 50, rng()) for _ in range(2))
    assert one.ends_m.equal(same.ends_m)


def test_few_points_repeat_and_none_give_empty_rays():
    few = lidar_rays([Sweep(np.zeros(3), OWN.points_m[:3])], GRID, 10, rng())
    assert len(few.ends_m) == 10
    none = lidar_rays([Sweep(np.zeros(3), np.zeros((0, 3)))], GRID, 10, rng())
    assert none.ends_m.equal(none.origins_m)
    assert not none.has_point.any()


def test_a_moved_sweep():
    quarter = np.eye(4)
    quarter[:2, :2] = [[0, -1], [1, 0]]
    quarter[0, 3] = 5.0
    moved = Sweep(np.array([1.0, 0, 0]), np.array([[2.0, 0, 1.0]])).moved(quarter)
    assert moved.origin_m.tolist() == [5.0, 1.0, 0.0]
    assert moved.points_m.tolist() == [[5.0, 2.0, 1.0]]
    assert labeled(moved, np.array(3)).moved(quarter).labels.classes.tolist() == [3]
