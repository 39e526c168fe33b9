import shutil

import numpy as np
import pytest

from dataset import layout
from dataset.poses import LidarPoses, same_transform
from tests.layout_files import Rig, world_from_imu, write_tiny_unscenes3d

SCENE = "scene_00000"


def write(root, **options):
    write_tiny_unscenes3d(root, scenes={SCENE: "location_1"}, frames=3, labels=False, **options)
    stems = sorted(path.stem for path in (root / layout.CALIBS).iterdir())
    return {SCENE: stems}


@pytest.mark.parametrize("holds_pose", [False, True])
@pytest.mark.parametrize("forced", [False, True])
def test_both_readings_give_the_same_poses(tmp_path, holds_pose, forced):
    frames = write(tmp_path, calibration_holds_pose=holds_pose)
    rule = "pose" if holds_pose else "extrinsic"
    poses = LidarPoses(tmp_path, rule if forced else "auto", frames)
    assert poses.rule_of_scene == {SCENE: rule}
    for tick, stem in enumerate(frames[SCENE]):
        expected = world_from_imu(tick) @ Rig((60, 96)).imu_from_lidar
        # Metres of a million, printed with 12 digits after the first.
        np.testing.assert_allclose(poses.world_from_lidar(stem, SCENE), expected, atol=1e-5)


def test_a_forced_rule_is_followed_against_the_files(tmp_path):
    frames = write(tmp_path)
    poses = LidarPoses(tmp_path, "pose", frames)
    expected = Rig((60, 96)).imu_from_lidar
    np.testing.assert_allclose(poses.world_from_lidar(frames[SCENE][2], SCENE), expected, atol=1e-9)


def test_the_rule_pose_reads_no_vehicle_info(tmp_path):
    frames = write(tmp_path, calibration_holds_pose=True)
    shutil.rmtree(tmp_path / layout.VEHICLE_INFOS)
    poses = LidarPoses(tmp_path, "auto", frames)
    assert poses.world_from_lidar(frames[SCENE][0], SCENE).shape == (4, 4)


def test_rules_are_found_scene_by_scene(tmp_path):
    frames = write(tmp_path, calibration_holds_pose=True)
    stems = frames[SCENE]
    poses = LidarPoses(tmp_path, "auto", {"a": stems[:3], "b": stems[3:4]})
    assert poses.rule_of_scene == {"a": "pose", "b": "extrinsic"}  # One frame: no turn to see.


def test_transforms_are_the_same_but_for_printed_digits():
    matrices = np.stack([world_from_imu(0), world_from_imu(0), world_from_imu(1)])
    matrices[1] += 5e-5
    assert same_transform(matrices[0], matrices).tolist() == [True, True, False]
    matrices[1, 1, 3] += 0.2
    assert same_transform(matrices[0], matrices).tolist() == [True, False, False]


def test_poses_of_a_straight_drive_are_no_extrinsic(tmp_path):
    frames = write(tmp_path, calibration_holds_pose=True)
    for tick, stem in enumerate(frames[SCENE]):
        pose = np.eye(4)[:3]
        pose[0, 3] = 0.6 * tick
        path = tmp_path / layout.relative_path(layout.CALIBS, stem)
        lines = [line for line in path.read_text().splitlines() if "imu" not in line]
        numbers = " ".join(map(str, pose.flat))
        path.write_text("\n".join([*lines, f"Tr_velo_to_imu: {numbers}"]))
    poses = LidarPoses(tmp_path, "auto", frames)
    assert poses.rule_of_scene == {SCENE: "pose"}
    assert poses.world_from_lidar(frames[SCENE][2], SCENE)[0, 3] == pytest.approx(1.2)


def test_unknown_rule_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="unknown pose_rule 'map'; known:"):
        LidarPoses(tmp_path, "map", {})


def test_calibration_without_the_matrix_is_rejected(tmp_path):
    frames = write(tmp_path)
    path = tmp_path / layout.relative_path(layout.CALIBS, frames[SCENE][0])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if "Tr_velo_to_imu" not in line))
    with pytest.raises(ValueError, match=f"{path}.*expected a line 'Tr_velo_to_imu: 12 numbers'"):
        LidarPoses(tmp_path, "auto", frames)
