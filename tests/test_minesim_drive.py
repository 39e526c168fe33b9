"""The ego drive: poses on the road, and consistent velocities and accelerations."""

from itertools import pairwise

import numpy as np
import pytest

from dataset.minesim.scene.drive import Drive, SpeedPlan, draw_speed, drive_along
from dataset.minesim.scene.road import Road, Waves

FLAT = Waves(np.zeros(1), np.ones(1), np.zeros(1))


def make_road() -> Road:
    course = Waves(np.array([12.0]), np.array([300.0]), np.array([0.4]))
    return Road(width_m=24.0, course=course, profile=FLAT, edge=FLAT)


def bumpy(xy: np.ndarray) -> np.ndarray:
    return 1.5 * np.sin(xy[:, 0] / 20.0) + 0.04 * xy[:, 1] + 0.03 * np.sin(xy[:, 0] * 3.0)


@pytest.fixture(scope="module")
def drive() -> Drive:
    speed = SpeedPlan(6.0, 2.0, 12.0, 1.0)
    return drive_along(
        make_road(), bumpy, speed, Waves(np.ones(1) * 0.3, np.ones(1) * 80, np.zeros(1)), 10.0
    )


def test_a_pose_every_tenth_of_a_second(drive: Drive) -> None:
    assert drive.world_from_vehicle.shape == (101, 4, 4)
    assert np.allclose(drive.time_s, np.arange(101) / 10)
    assert drive.world_from_vehicle[0, 0, 3] == pytest.approx(0.0, abs=1e-6)


def test_velocity_is_the_derivative_of_the_position(drive: Drive) -> None:
    position = drive.world_from_vehicle[:, :3, 3]
    rate = (position[2:] - position[:-2]) / 0.2
    rotation = drive.world_from_vehicle[1:-1, :3, :3]
    velocity = np.einsum("tij,tj->ti", rotation, drive.velocity_mps[1:-1])
    # Central differences over 0.2 s are off by h²/6 times the jerk: about 0.01 m/s.
    assert np.abs(velocity - rate).max() < 0.02


def test_acceleration_is_the_derivative_of_the_velocity(drive: Drive) -> None:
    rotation = drive.world_from_vehicle[:, :3, :3]
    velocity = np.einsum("tij,tj->ti", rotation, drive.velocity_mps)
    rate = (velocity[2:] - velocity[:-2]) / 0.2
    acceleration = np.einsum("tij,tj->ti", rotation, drive.acceleration_mps2)[1:-1]
    # The suspension passes bumps of up to 2 Hz, which differences over 0.2 s blur.
    assert np.abs(acceleration - rate)[:, :2].max() < 0.02
    assert np.abs(acceleration - rate)[:, 2].max() < 0.15


def test_poses_are_rigid_and_face_the_motion(drive: Drive) -> None:
    rotation = drive.world_from_vehicle[:, :3, :3]
    assert np.allclose(rotation @ rotation.transpose(0, 2, 1), np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(rotation), 1.0)
    assert np.allclose(drive.velocity_mps[:, 1:], 0.0, atol=1e-9)
    assert (drive.velocity_mps[:, 0] > 3.0).all()
    assert (rotation[:, 2, 2] > 0.95).all()


def test_vehicle_stands_on_the_ground_and_tilts_with_it(drive: Drive) -> None:
    position = drive.world_from_vehicle[:, :3, 3]
    # The suspension smooths out the 3 cm washboard.
    assert np.abs(position[:, 2] - bumpy(position[:, :2])).max() < 0.08
    # The ground rises by 4 % to the left.
    left = drive.world_from_vehicle[:, :3, 1]
    assert np.median(left[:, 2] / np.hypot(left[:, 0], left[:, 1])) == pytest.approx(
        0.04, abs=0.015
    )


def test_drive_stays_in_its_lane(drive: Drive) -> None:
    road = make_road()
    offset = road.offset(drive.world_from_vehicle[:, :2, 3])
    assert np.abs(offset - road.lane_m).max() < 0.31


def test_distance_is_the_integral_of_the_speed() -> None:
    plan = SpeedPlan(6.0, 2.0, 12.0, 1.0)
    time = np.linspace(0.0, 10.0, 100_001)
    speed = plan.mean_mps + plan.swing_mps * np.sin(2 * np.pi * time / 12.0 + 1.0)
    by_hand = np.sum((speed[1:] + speed[:-1]) / 2) * 1e-4
    assert plan.distance_m(np.array([10.0]))[0] == pytest.approx(by_hand, abs=1e-6)


def test_distance_along_a_bend_is_the_distance_driven() -> None:
    steady = drive_along(
        make_road(), lambda xy: np.zeros(len(xy)), SpeedPlan(5.0, 0.0, 9.0, 0.0), FLAT, 4.0
    )
    position = steady.world_from_vehicle[:, :3, 3]
    length = sum(np.linalg.norm(b - a) for a, b in pairwise(position))
    # 20 m along the centerline; the right lane is slightly longer or shorter in a bend.
    assert length == pytest.approx(20.0, rel=0.02)


def test_drawn_speeds_stay_between_3_and_10() -> None:
    for seed in range(50):
        plan = draw_speed(np.random.default_rng(seed))
        assert plan.mean_mps - plan.swing_mps >= 3.0
        assert plan.mean_mps + plan.swing_mps <= 10.0
