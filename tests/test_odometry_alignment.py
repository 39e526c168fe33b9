"""Joint refinement of poses, on a drive whose poses are known."""

import numpy as np

from dataset.odometry.alignment import Scan, aligned, residual_m, small_motion
from dataset.odometry.surfaces import find_surfaces, thinned
from tests.drive_files import scene, sweep, true_poses


def scans_of(poses):
    world = scene()
    clouds = [sweep(world, pose, index) for index, pose in enumerate(poses)]
    return [Scan(cloud[thinned(cloud, 0.7)], find_surfaces(cloud)) for cloud in clouds]


def test_disturbed_poses_are_found_again():
    poses = true_poses(8)
    scans = scans_of(poses)
    rng = np.random.default_rng(0)
    disturbed = poses.copy()
    for index in range(1, 8):
        motion = np.concatenate([rng.normal(0, 0.01, 3), rng.normal(0, 0.15, 3)])
        disturbed[index] = poses[index] @ small_motion(motion)
    before = disturbed.copy()
    found = aligned(scans, disturbed)
    np.testing.assert_array_equal(disturbed, before)
    np.testing.assert_allclose(found[0], np.eye(4), atol=1e-6)
    # The noise of a point is 1 cm, and the poses were off by 15 cm.
    assert np.abs(found[:, :3, 3] - poses[:, :3, 3]).max() < 0.04
    assert np.abs(found[:, :3, :3] - poses[:, :3, :3]).max() < 0.002
    step = np.linalg.inv(found[1]) @ found[0]
    assert 0.002 < residual_m(scans[0], scans[1], step) < 0.03


def test_poses_stay_where_no_surface_is_seen():
    empty = Scan(np.zeros((0, 3)), find_surfaces(np.zeros((0, 3))))
    poses = true_poses(3)
    np.testing.assert_allclose(aligned([empty] * 3, poses), poses)
    assert np.isnan(residual_m(empty, empty, np.eye(4)))
