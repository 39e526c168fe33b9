import numpy as np
import pytest

from dataset import layout
from dataset.minesim.sensors.rig import Camera, Rig
from dataset.minesim.sensors.stage import make_stage
from dataset.minesim.write.recorder import Recorder, write_scene
from dataset.minesim.write.schedule import Frame
from tests.minesim_world import SPEED_MPS, tiny_world

RIG = Rig(Camera(96, 60))
FRAMES = (
    Frame(5, "100.500000", True),
    Frame(8, "100.800000", False),
    Frame(11, "101.100000", True),
)


@pytest.fixture(scope="module")
def recorder():
    return Recorder(make_stage(tiny_world()), RIG, (0, 1), map_voxel_m=0.2)


def test_only_samples_have_labels(recorder):
    labels = [recorder.record(frame)[1] for frame in FRAMES]
    assert [label is not None for label in labels] == [True, False, True]


def test_poses_align_points_in_one_world(recorder):
    rear = []
    for frame in (FRAMES[0], FRAMES[2]):
        recording, labels = recorder.record(frame)
        pose = recording.world_from_vehicle.copy()
        pose[2, 3] += RIG.lidar_height_m
        assert pose[0, 3] == pytest.approx(0.1 * SPEED_MPS * frame.tick)
        world = labels.local_map @ pose[:3, :3].T + pose[:3, 3]
        on_truck = (np.abs(world[:, 1] - 4.0) < 1.4) & (world[:, 2] > 0.5) & (world[:, 2] < 2.5)
        rear.append(world[on_truck, 0].min())
    np.testing.assert_allclose(rear, 26.0, atol=1e-3)


def test_a_frame_does_not_depend_on_previous_frames(recorder):
    first, _ = recorder.record(FRAMES[2])
    recorder.record(FRAMES[0])
    again, _ = recorder.record(FRAMES[2])
    assert first.points.tobytes() == again.points.tobytes()
    assert first.image.tobytes() == again.image.tobytes()


def test_write_scene_counts_voxels_and_calls_back(recorder, tmp_path):
    calls = []
    recorded = write_scene(recorder, FRAMES, tmp_path, RIG, lambda: calls.append(1))
    assert len(calls) == 3
    assert recorded.samples == ("100.500000", "101.100000")
    assert recorded.sweeps == ("100.800000",)
    rows = [np.load(tmp_path / layout.relative_path("occ", stem)) for stem in recorded.samples]
    assert recorded.voxels.sum() == sum(len(r) for r in rows)
    assert recorded.voxels[0] == sum((r[:, 3] == 0).sum() for r in rows) > 0  # The pole.
    assert len(list((tmp_path / "images").iterdir())) == 3
    assert len(list((tmp_path / "vehicle_infos").iterdir())) == 3
    assert len(list((tmp_path / "depths").iterdir())) == 2
