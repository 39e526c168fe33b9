import os

import numpy as np
import pytest

from dataset.nuscenes.frames import NuScenesFrames, missing_files
from dataset.nuscenes.index import CAMERAS, LIDAR
from dataset.nuscenes.tables import build_index
from tests.nuscenes_files import (
    CAMERA_DELAY_US,
    ego_from_sensor,
    intrinsic,
    token,
    world_from_ego,
    write_tiny_nuscenes,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny") / "nuscenes"
    return write_tiny_nuscenes(root, scenes=("scene-0061",), benchmarks=())


@pytest.fixture(scope="module", params=["ego", "lidar"])
def frame(request):
    return request.param


@pytest.fixture(scope="module")
def frames(tiny, frame):
    return NuScenesFrames(tiny.root, build_index(tiny.root / tiny.version), frame)


ROW = 1


def ego_from(frame):
    return np.eye(4) if frame == "ego" else ego_from_sensor(LIDAR)


def test_names_and_files(tiny, frames):
    stem = tiny.samples["scene-0061"][ROW]
    assert (frames.stem(ROW), frames.scene(ROW)) == (stem, "scene-0061")
    assert frames.path(frames.lidar(ROW)) == tiny.root / tiny.lidar_file[stem]
    channels = [frames.path(camera).parent.name for camera in frames.cameras(ROW)]
    assert tuple(channels) == CAMERAS
    assert frames.image_size(frames.cameras(ROW)[0]) == (90, 160)
    assert [frames.age_s(ROW, sweep) for sweep in frames.sweeps(ROW, 3)] == pytest.approx(
        [0.0, 0.166666, 0.333332]
    )


@pytest.mark.parametrize(
    ("benchmark", "folder", "end"),
    [
        ("occ3d", "occ3d", "gts/scene-0061/{stem}/labels.npz"),
        ("surroundocc", "nuscenes_occ", "samples/{file}.npy"),
        ("openoccupancy", "nuScenes-Occupancy", "scene_{scene}/occupancy/{lidar}.npy"),
    ],
)
def test_labels_lie_beside_the_data_set_or_where_one_says(tiny, frames, benchmark, folder, end):
    stem = tiny.samples["scene-0061"][ROW]
    names = {"stem": stem, "scene": token("scene-0061"), "lidar": tiny.lidar_token[stem]}
    end = end.format(file=tiny.lidar_file[stem].rpartition("/")[2], **names)
    assert frames.label_path(ROW, benchmark) == tiny.root.parent / folder / end
    assert frames.label_path(ROW, benchmark, "/labels") == tiny.root / "/labels" / end


def test_the_volume_stands_where_the_lidar_recorded(tiny, frames, frame):
    time_us = tiny.time_us[frames.stem(ROW)]
    expected = world_from_ego(time_us) @ ego_from(frame)
    np.testing.assert_allclose(frames.world_from_volume(ROW), expected, atol=1e-9)


def test_points_of_any_sweep_come_to_the_volume_through_the_world(tiny, frames, frame):
    time_us = tiny.time_us[frames.stem(ROW)]
    place = world_from_ego(time_us) @ ego_from(frame) @ [10.0, 5.0, 1.0, 1.0]
    for sweep, age_us in zip(frames.sweeps(ROW, 3), (0, 166_666, 333_332), strict=True):
        world_from_lidar = world_from_ego(time_us - age_us) @ ego_from_sensor(LIDAR)
        seen = np.linalg.inv(world_from_lidar) @ place
        found = frames.volume_from_cloud(ROW, sweep) @ seen
        np.testing.assert_allclose(found, [10.0, 5.0, 1.0, 1.0], atol=1e-8)


def test_cameras_see_from_where_they_were_at_their_own_time(tiny, frames, frame):
    time_us = tiny.time_us[frames.stem(ROW)]
    for camera, channel in zip(frames.cameras(ROW), CAMERAS, strict=True):
        then = world_from_ego(time_us + CAMERA_DELAY_US[channel])
        place = then @ ego_from_sensor(channel) @ [0.4, -0.3, 8.0, 1.0]
        in_volume = np.linalg.inv(world_from_ego(time_us) @ ego_from(frame)) @ place
        pixel = frames.pixel_from_volume(ROW, camera) @ in_volume
        expected = intrinsic(channel, (90, 160)) @ [0.4, -0.3, 8.0]
        np.testing.assert_allclose(pixel, [*expected, 1.0], atol=1e-6)
        if channel == "CAM_FRONT_LEFT":  # Without the poses it would be pixels off.
            cam_from_volume = np.linalg.inv(ego_from_sensor(channel)) @ ego_from(frame)
            still = intrinsic(channel, (90, 160)) @ (cam_from_volume @ in_volume)[:3]
            assert abs(still[0] / still[2] - expected[0] / expected[2]) > 3.0


@pytest.mark.parametrize(
    ("benchmark", "label_frame"),
    [("occ3d", "ego"), ("surroundocc", "lidar"), ("openoccupancy", "lidar")],
)
def test_labels_of_a_benchmark_from_the_volume(frames, frame, benchmark, label_frame):
    expected = np.linalg.inv(ego_from(label_frame)) @ ego_from(frame)
    found = frames.label_from_volume(ROW, benchmark)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    if frame == label_frame:  # Exactly, so that nothing is resampled.
        np.testing.assert_array_equal(found, np.eye(4))


def test_where_the_lidar_is_at_the_scenes_key_frames(tiny, frames):
    """In the vehicle's frame, whatever that of the volume; the tables are in no order."""
    times_us = [tiny.time_us[stem] for stem in tiny.samples["scene-0061"]]
    ego_from_world = np.linalg.inv(world_from_ego(times_us[ROW]))
    poses = [ego_from_world @ world_from_ego(t) @ ego_from_sensor(LIDAR) for t in times_us]
    found = frames.lidar_positions(ROW)
    np.testing.assert_allclose(found, np.stack(poses)[:, :3, 3], atol=1e-9)
    np.testing.assert_allclose(found[ROW], ego_from_sensor(LIDAR)[:3, 3], atol=1e-9)
    assert (np.diff(found[:, 0]) > 3.9).all()  # 8 m/s, twice a second.


def test_an_unknown_frame_is_rejected(tiny):
    index = build_index(tiny.root / tiny.version)
    with pytest.raises(ValueError, match=r"frame must be one of \('ego', 'lidar'\), got 'world'"):
        NuScenesFrames(tiny.root, index, "world")


def test_missing_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1").touch()
    (tmp_path / "b").touch()
    os.mkfifo(tmp_path / "a/pipe")
    paths = [tmp_path / name for name in ("a/1", "a/2", "b/3", "c/d/4", "a/pipe")]
    assert missing_files(paths) == set(paths[1:])
    assert missing_files([]) == set()
