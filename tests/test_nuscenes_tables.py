import itertools
import json
from dataclasses import fields, replace

import numpy as np
import pytest

from dataset.json_records import CHUNK_BYTES
from dataset.nuscenes.index import CAMERAS, LIDAR, KeyFrameIndex, pose_matrix
from dataset.nuscenes.tables import TABLES, build_index
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
    return write_tiny_nuscenes(tmp_path_factory.mktemp("tiny") / "nuscenes", benchmarks=())


@pytest.fixture(scope="module")
def index(tiny):
    return build_index(tiny.root / tiny.version)


@pytest.fixture
def own(tmp_path):
    """Tables that a test may break."""
    return write_tiny_nuscenes(tmp_path / "nuscenes", scenes=("scene-0061",), benchmarks=())


def test_samples_are_in_the_order_of_scenes_and_time(tiny, index):
    tokens = [each.decode() for each in index.sample_token]
    assert tokens == [sample for scene in sorted(tiny.samples) for sample in tiny.samples[scene]]
    assert (
        index.scene_name[index.sample_scene].tolist() == [b"scene-0061"] * 3 + [b"scene-0103"] * 3
    )
    assert index.scene_token[index.sample_scene[0]].decode() == token("scene-0061")
    assert index.sample_lidar_token[4].decode() == tiny.lidar_token[tokens[4]]


def test_only_what_key_frames_need_is_kept(index):
    # Of each scene: 3 × 6 images, and 3 clouds with 2 × 2 between them; no radar, no other image.
    assert len(index.recording_file) == 2 * (18 + 7)
    files = [file.decode() for file in index.recording_file]
    assert sum(file.startswith("samples/CAM_") for file in files) == 36
    assert sum(file.startswith("sweeps/LIDAR_TOP/") for file in files) == 8
    assert not any("RADAR" in file for file in files)


def test_recordings_of_a_sample_are_its_sensors_at_their_own_times_and_poses(tiny, index):
    lidar_us = tiny.time_us[index.sample_token[1].decode()]
    for slot, channel in enumerate((LIDAR, *CAMERAS)):
        recording = int(index.sample_recordings[1, slot])
        assert index.file(recording).startswith(f"samples/{channel}/")
        time_us = lidar_us + CAMERA_DELAY_US.get(channel, 0)
        assert index.recording_time_us[recording] == time_us
        np.testing.assert_allclose(
            index.world_from_ego(recording), world_from_ego(time_us), atol=1e-9
        )
        np.testing.assert_allclose(
            index.ego_from_sensor(recording), ego_from_sensor(channel), atol=1e-12
        )
        if channel != LIDAR:
            assert index.recording_size[recording].tolist() == [90, 160]
            expected = intrinsic(channel, (90, 160))
            np.testing.assert_allclose(index.pixel_from_sensor(recording)[:3, :3], expected)


def test_sweeps_go_back_in_time_as_far_as_the_scene(index):
    sweeps = index.sweeps(1, 3)
    ages_us = index.recording_time_us[sweeps[0]] - index.recording_time_us[sweeps]
    assert ages_us.tolist() == [0, 166_666, 333_332]
    assert index.file(sweeps[0]).startswith("samples/LIDAR_TOP/")
    assert index.file(sweeps[1]).startswith("sweeps/LIDAR_TOP/")
    assert len(index.sweeps(1, 99)) == 4  # Its own, two sweeps, and the first sample's.
    assert index.sweeps(0, 10) == [index.sample_recordings[0, 0]]
    assert index.sweeps(3, 10) == [index.sample_recordings[3, 0]]  # Not those of the scene before.


def test_every_chunk_is_reported(tiny):
    calls = []
    build_index(tiny.root / tiny.version, lambda: calls.append(1))
    sizes = [tiny.table(name).stat().st_size for name in TABLES]
    assert len(calls) == sum(-(-size // CHUNK_BYTES) for size in sizes)


def test_pose_matrix_by_hand():
    half = np.sqrt(0.5)
    turned = pose_matrix(np.array([1.0, 2.0, 3.0, half, 0.0, 0.0, half]))  # 90 degrees about z.
    np.testing.assert_allclose(turned @ [1, 0, 0, 1], [1, 3, 3, 1], atol=1e-15)
    np.testing.assert_allclose(turned, pose_matrix(np.array([1, 2, 3, 3.0, 0, 0, 3.0])), atol=1e-15)
    x, y = (pose_matrix(np.array([0, 0, 0, half, *axis])) for axis in ([half, 0, 0], [0, half, 0]))
    np.testing.assert_allclose(x @ [0, 1, 0, 1], [0, 0, 1, 1], atol=1e-15)
    np.testing.assert_allclose(y @ [0, 0, 1, 1], [1, 0, 0, 1], atol=1e-15)


# --- damaged tables ---


def dropped(position):
    return lambda records: records[:position] + records[position + 1 :]


def changed(key, value, where=lambda record: True):
    """The first record that ``where`` finds, with another value."""

    def change(records):
        record = next(record for record in records if where(record))
        record[key] = value
        return records

    return change


def is_key(record):
    return record["is_key_frame"] and record["filename"].startswith("samples/CAM_BACK/")


def is_sweep(record):
    return record["filename"].startswith("sweeps/LIDAR_TOP")


UNKNOWN = "f" * 32
DAMAGES = {
    "calibration": (
        "sample_data",
        changed("calibrated_sensor_token", UNKNOWN),
        rf"sample_data\.json: record '\w+' names the calibrated_sensor '{UNKNOWN}', which "
        r"calibrated_sensor\.json lacks",
    ),
    "sample": (
        "sample_data",
        changed("sample_token", UNKNOWN, is_key),
        rf"names the sample '{UNKNOWN}', which sample\.json lacks",
    ),
    "previous": (
        "sample_data",
        changed("prev", UNKNOWN, is_sweep),
        rf"names the sample_data '{UNKNOWN}', which sample_data\.json lacks",
    ),
    "pose": (
        "sample_data",
        changed("ego_pose_token", UNKNOWN, is_key),
        rf"ego_pose\.json: 1 of the 25 poses .* missing, such as '{UNKNOWN}'",
    ),
    "scene": ("sample", changed("scene_token", UNKNOWN), r"which scene\.json lacks"),
    "sensor": ("calibrated_sensor", changed("sensor_token", UNKNOWN), r"which sensor\.json lacks"),
    "no pose": ("ego_pose", lambda records: [], r"ego_pose\.json: 25 of the 25 poses"),
    "no sample": (
        "sample",
        dropped(0),
        r"sample_data\.json: record '\w+' names the sample '\w+', which sample\.json lacks",
    ),
    "gap": (
        "sample_data",
        changed("is_key_frame", False, is_key),
        r"sample '\w+' has no key frame of CAM_BACK\. The table is incomplete",
    ),
    "twice": (
        "sample_data",
        lambda records: [*records, *(r for r in records if is_key(r))],
        r"expected one key frame per sensor and sample, got 'two'",
    ),
    "no token": ("scene", changed("token", None), "expected a string as 'token', got None"),
    "name": ("scene", changed("name", 3), "expected a string as 'name', got 3"),
    "time": ("sample", changed("timestamp", "x"), "expected an integer as 'timestamp'"),
    "flag": ("sample_data", changed("is_key_frame", 1), "expected true or false as 'is_key_frame'"),
    "turn": (
        "calibrated_sensor",
        changed("rotation", [1.0, 1.0, 0.0, 0.0]),
        r"expected a unit quaternion w x y z as 'rotation', got \[1\.0, 1\.0",
    ),
    "place": (
        "calibrated_sensor",
        changed("translation", [0.0, "far", 0.0]),
        r"expected 3 numbers as 'translation', got \[0\.0, 'far'",
    ),
    "intrinsic": (
        "calibrated_sensor",
        changed("camera_intrinsic", [[1, 2], [3, 4]], lambda record: record["camera_intrinsic"]),
        "expected 3×3 numbers as 'camera_intrinsic'",
    ),
    "transposed intrinsic": (
        "calibrated_sensor",
        changed(
            "camera_intrinsic",
            [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [8.0, 4.0, 1.0]],
            lambda record: record["camera_intrinsic"],
        ),
        "0 0 1 in 'camera_intrinsic'.*looks transposed",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_damaged_tables_are_named(own, damage):
    table, change, message = DAMAGES[damage]
    own.edit(table, change)
    with pytest.raises(ValueError, match=message) as raised:
        build_index(own.root / own.version)
    assert str(own.root / own.version) in str(raised.value)
    assert "docs/prepare_data.md" in str(raised.value)


def test_a_cut_table_is_named(own):
    path = own.table("ego_pose")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"ego_pose\.json: expected .* after \d+ records"):
        build_index(own.root / own.version)


def test_a_pose_that_two_recordings_share_is_found_for_both(own):
    records = json.loads(own.table("sample_data").read_text())
    first, second = itertools.islice((r for r in records if is_key(r)), 2)
    own.edit(
        "sample_data",
        changed("ego_pose_token", first["ego_pose_token"], lambda r: r["token"] == second["token"]),
    )
    index = build_index(own.root / own.version)
    rows = [index.recording_file.tolist().index(r["filename"].encode()) for r in (first, second)]
    np.testing.assert_array_equal(*index.recording_ego[rows])


def test_tables_without_a_sample_make_an_empty_index(own):
    for name in ("sample", "sample_data", "ego_pose"):
        own.edit(name, lambda records: [])
    assert build_index(own.root / own.version).sample_recordings.shape == (0, 7)


# --- the index itself ---


def arrays_of(index):
    return {field.name: getattr(index, field.name) for field in fields(KeyFrameIndex)}


@pytest.mark.parametrize("name", [field.name for field in fields(KeyFrameIndex)])
def test_arrays_that_do_not_fit_together_are_rejected(index, name):
    array = arrays_of(index)[name]
    with pytest.raises(ValueError, match=f"{name} is .* of shape"):
        replace(index, **{name: np.zeros(array.shape, complex)})
    with pytest.raises(ValueError, match=" of shape "):
        replace(index, **{name: array[..., None]})
    with pytest.raises(ValueError, match=r" of shape |rows out of range"):
        replace(index, **{name: array[:1]})


@pytest.mark.parametrize(
    "name", ["sample_scene", "sample_recordings", "recording_calibration", "recording_previous"]
)
@pytest.mark.parametrize("row", [-2, 1000])
def test_rows_of_nothing_are_rejected(index, name, row):
    array = arrays_of(index)[name].copy()
    array.flat[0] = row
    with pytest.raises(ValueError, match=f"{name} has rows out of range"):
        replace(index, **{name: array})
