import numpy as np
import pytest

from dataset.minesim.write.nuscenes.plan import LEAD_S, NuScenesOptions
from dataset.minesim.write.nuscenes.recorder import RigRecorder, pose_at
from dataset.minesim.write.nuscenes.writer import SceneCard, SceneWriter
from dataset.nuscenes.index import CAMERAS, LIDAR
from tests.minesim_world import SPEED_MPS, straight_drive, tiny_world

OPTIONS = NuScenesOptions(
    scenes=1, frames=2, image_size=(32, 18), sweeps=1, lidar_columns=8, surface_step_m=0.3
)
TIMES = np.array([10_000_000, 10_500_000])


def test_poses_are_interpolated():
    drive = straight_drive(2.0)
    pose = pose_at(drive, 0.537)
    np.testing.assert_allclose(pose[:3, 3], [0.537 * SPEED_MPS, 0, 0], atol=1e-12)
    np.testing.assert_allclose(pose[:3, :3], np.eye(3), atol=1e-12)
    drive.world_from_vehicle[6, :3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    half = pose_at(drive, 0.55)[:3, :3]
    np.testing.assert_allclose(half[:2, :2], np.sqrt(0.5) * np.array([[1, -1], [1, 1]]))
    np.testing.assert_allclose(pose_at(drive, 1.9)[0, 3], 1.9 * SPEED_MPS)


@pytest.mark.parametrize("time_s", [-0.01, 1.91])
def test_rejects_a_time_outside_the_drive(time_s):
    with pytest.raises(ValueError, match=r"time_s must be between 0 and 1\.9 s"):
        pose_at(straight_drive(2.0), time_s)


def test_each_sensor_records_at_its_own_time_and_pose(tmp_path):
    recorder = RigRecorder(tiny_world(), OPTIONS, TIMES, (0, 1))
    card = SceneCard("scene-0061", 0, "", "", tuple(TIMES.tolist()), np.eye(4))
    writer = SceneWriter(tmp_path, card, OPTIONS.image_size)
    calls = []
    voxels = recorder.record(writer, lambda: calls.append(1))
    assert len(calls) == 2
    assert voxels[0] == 0
    assert voxels[11] > voxels[10] > 0  # Road and truck.
    places = {pose["token"]: pose["translation"][0] for pose in writer.records["ego_pose"]}
    records = writer.records["sample_data"]
    assert len(records) == 3 + 2 * len(CAMERAS)
    for record in records:
        seconds = LEAD_S + (record["timestamp"] - TIMES[0]) * 1e-6
        assert places[record["token"]] == pytest.approx(SPEED_MPS * seconds)
    lidar = [r["timestamp"] for r in records if f"/{LIDAR}/" in r["filename"]]
    assert lidar == [10_000_000, 10_250_000, 10_500_000]
    front = [r["timestamp"] for r in records if "/CAM_FRONT/" in r["filename"]]
    assert front == [9_964_509, 10_464_509]
