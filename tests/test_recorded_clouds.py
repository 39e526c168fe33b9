import numpy as np
import pytest

from dataset.arrays import InputOptions
from dataset.recorded_clouds import raised
from dataset.recording import Recording
from dataset.rig import read_rig
from tests.recording_files import json_rig, write_json_rig

NETWORK = InputOptions(None, lidar_height_m=2.7)


def street(height_m=1.7, intensity_max=1.0, seed=0, points=3000):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(2, 40, points), rng.uniform(-15, 15, points)
    z = -height_m + np.where(rng.random(points) < 0.2, rng.uniform(0, 2, points), 0)
    return np.column_stack([x, y, z, intensity_max * rng.beta(2, 5, points)])


def record(root, content, clouds, options=NETWORK, dtype="<f4"):
    (root / "clouds").mkdir(exist_ok=True)
    for number, cloud in enumerate(clouds):
        cloud.astype(dtype).tofile(root / "clouds" / f"{number}.bin")
    calibration = write_json_rig(root / "calib.json", content)
    return Recording(options, clouds=root / "clouds", calibration=calibration)


@pytest.mark.parametrize(
    ("largest", "message"), [(1.0, "0–1:"), (255.0, "0–255:"), (65535.0, "0–65535:")]
)
def test_a_unit_that_is_not_stated_is_estimated_and_said(tmp_path, caplog, largest, message):
    cloud = street(2.7, largest)
    recording = record(tmp_path, {"lidar_height_m": 2.7}, [cloud] * 8)
    assert message in caplog.text
    assert "the intensity in 5 clouds of" in caplog.text
    assert caplog.text.count('state "intensity_max"') == len(caplog.records) == 1
    found = recording[7].points[:, 3].numpy()
    np.testing.assert_allclose(found, cloud[:, 3] / largest, rtol=1e-5)


def test_intensities_far_below_1_are_scaled_by_the_largest(tmp_path, caplog):
    clouds = [street(2.7, 0.0115), street(2.7, 0.0115, seed=1)]
    largest = max(cloud[:, 3].astype(np.float32).max() for cloud in clouds)
    recording = record(tmp_path, {"lidar_height_m": 2.7}, clouds)
    assert f"taken to be 0–{largest:g}" in caplog.text
    assert max(sample.points[:, 3].max() for sample in recording) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("stated", [{"intensity_max": 0.02}, {"intensity_max": 1}])
def test_a_stated_unit_is_not_warned_of(tmp_path, caplog, stated):
    cloud = street(2.7, stated["intensity_max"])
    sample = record(tmp_path, {"lidar_height_m": 2.7} | stated, [cloud])[0]
    assert not caplog.text
    np.testing.assert_allclose(
        sample.points[:, 3].numpy(), cloud[:, 3] / stated["intensity_max"], rtol=1e-5
    )


def test_files_that_contradict_the_calibration_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"0\.bin .*0–1, found .* in calib\.json"):
        record(tmp_path, {"intensity_max": 1}, [street(1.7, 255.0)])
    rows = np.column_stack([street(points=2520), np.arange(2520) % 32])
    with pytest.raises(ValueError, match=r"0\.bin .* numbers look like rows of 5 float32\. Corr"):
        record(tmp_path, {}, [rows])
    recording = record(tmp_path, {"columns": 5}, [rows])
    assert recording[0].points.shape == (2520, 4)


def test_clouds_without_intensity_are_warned_of(tmp_path, caplog):
    record(tmp_path, {"columns": 3, "lidar_height_m": 2.7}, [street()[:, :3]])
    assert "have no intensity: it is set to 0" in caplog.text
    caplog.clear()
    record(tmp_path, {"lidar_height_m": 2.7}, [street(2.7, 0.0)])
    assert "the intensity in 1 clouds of" in caplog.text


UNIT = {"intensity_max": 1}


def test_a_height_that_is_not_stated_is_estimated_and_said(tmp_path, caplog):
    clouds = [street(1.7, seed=seed) for seed in range(3)]
    sample = record(tmp_path, UNIT, clouds)[2]
    assert "about 1.70 m above the ground" in caplog.text
    assert "network's is 2.7 m: the points are moved by -1.00 m" in caplog.text
    assert 'state "lidar_height_m" or "network_from_lidar"' in caplog.text
    np.testing.assert_allclose(sample.points[:, 2], clouds[2][:, 2] - 1, atol=0.03)


@pytest.mark.parametrize(
    ("stated", "shift_m"),
    [({"lidar_height_m": 2.0}, -0.7), ({"network_from_lidar": np.eye(4).tolist()}, 0.0)],
)
def test_a_stated_height_is_used_without_a_warning(tmp_path, caplog, stated, shift_m):
    cloud = street(1.7)
    sample = record(tmp_path, UNIT | stated, [cloud])[0]
    np.testing.assert_allclose(sample.points[:, 2], cloud[:, 2] + shift_m, atol=1e-6)
    assert not caplog.text


def test_a_lidar_of_nearly_the_same_height_is_not_moved(tmp_path, caplog):
    cloud = street(2.6)
    sample = record(tmp_path, UNIT, [cloud])[0]
    np.testing.assert_allclose(sample.points[:, 2], cloud[:, 2], atol=1e-6)
    assert not caplog.text


def test_an_unclear_height_moves_nothing_and_is_said(tmp_path, caplog):
    cloud = street(points=150)
    sample = record(tmp_path, UNIT, [cloud])[0]
    assert "neither stated nor clear from 1 clouds" in caplog.text
    np.testing.assert_allclose(sample.points[:, 2], cloud[:, 2], atol=1e-6)


def test_networks_in_another_frame_move_nothing(tmp_path, caplog):
    cloud = street(1.7)
    sample = record(tmp_path, UNIT, [cloud], InputOptions(None))[0]
    np.testing.assert_allclose(sample.points[:, 2], cloud[:, 2], atol=1e-6)
    assert not caplog.text
    record(tmp_path, UNIT | {"lidar_height_m": 2.0}, [cloud], InputOptions(None))
    assert "lidar_height_m of the calibration is not used" in caplog.text


def test_points_keep_their_pixels_when_moved(tmp_path):
    rig = read_rig(write_json_rig(tmp_path / "calib.json", json_rig()))
    point = np.array([10.0, 1.0, -1.0, 1.0])
    moved = raised(rig, -0.97)
    np.testing.assert_allclose(moved.network_from_lidar @ point, point - [0, 0, 0.97, 0])
    np.testing.assert_allclose(
        moved.pixel_from_lidar["front"] @ moved.network_from_lidar @ point,
        rig.pixel_from_lidar["front"] @ point,
    )


def test_large_coordinates_lose_nothing_before_their_offset_is_taken_off(tmp_path):
    offset = np.array([500_000.0, 4_000_000.0, 100.0])
    network_from_lidar = np.eye(4)
    network_from_lidar[:3, 3] = -offset
    cloud = street()
    utm = np.add(cloud, [*offset, 0])
    content = {"network_from_lidar": network_from_lidar.tolist(), "dtype": "float64"} | UNIT
    sample = record(tmp_path, content, [utm], dtype="<f8")[0]
    np.testing.assert_allclose(sample.points[:, :3], cloud[:, :3], atol=1e-5)
