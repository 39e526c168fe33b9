import re
from pathlib import Path

import numpy as np
import pytest

from dataset.rig import read_rig
from tests.layout_files import Rig
from tests.recording_files import json_rig, write_json_rig, write_recording

SHIFT = np.eye(4)
SHIFT[2, 3] = -1.0


def test_text_and_json_say_the_same(tmp_path):
    write_recording(tmp_path)
    text = read_rig(tmp_path / "calib.txt")
    rig = read_rig(write_json_rig(tmp_path / "calib.json", json_rig()))
    assert list(rig.pixel_from_lidar) == ["front"]
    np.testing.assert_allclose(rig.pixel_from_lidar["front"], text.pixel_from_lidar["camera"])
    np.testing.assert_allclose(rig.pixel_from_lidar["front"], Rig((60, 96)).pixel_from_lidar)
    assert np.array_equal(rig.network_from_lidar, np.eye(4))


def test_a_point_keeps_its_pixel_when_the_network_stands_elsewhere(tmp_path):
    content = json_rig(network_from_lidar=SHIFT.tolist())
    rig = read_rig(write_json_rig(tmp_path / "calib.json", content))
    point = np.array([10.0, 1.0, -1.0, 1.0])
    moved = rig.pixel_from_lidar["front"] @ rig.network_from_lidar @ point
    np.testing.assert_allclose(moved, Rig((60, 96)).pixel_from_lidar @ point)


def test_a_lidar_alone_needs_no_camera(tmp_path):
    rig = read_rig(write_json_rig(tmp_path / "a.json", {"network_from_lidar": SHIFT.tolist()}))
    assert rig.pixel_from_lidar == {}
    assert np.array_equal(rig.network_from_lidar, SHIFT)


def test_what_is_stated_of_the_clouds(tmp_path):
    stated = {"intensity_max": 100, "columns": 6, "dtype": "float64"}
    rig = read_rig(write_json_rig(tmp_path / "a.json", stated | {"lidar_height_m": 2}))
    assert (rig.clouds, rig.lidar_height_m, rig.states_frame) == (stated, 2.0, False)
    rig = read_rig(write_json_rig(tmp_path / "a.json", {"network_from_lidar": SHIFT.tolist()}))
    assert (rig.clouds, rig.lidar_height_m, rig.states_frame) == ({}, None, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"intensity_max": 0}, "a positive number as 'intensity_max', found 0"),
        ({"intensity_max": True}, "a positive number as 'intensity_max', found True"),
        ({"intensity_max": 10**400}, "a positive number as 'intensity_max', found 1000"),
        ({"lidar_height_m": "2 m"}, "a positive number below 100 as 'lidar_height_m', found '2 m'"),
        ({"lidar_height_m": 180}, "a positive number below 100 as 'lidar_height_m', found 180"),
        ({"time_column": 5}, r"a column from 5 to 'columns' \(4\) as 'time_column', found 5"),
        ({"time_column": 4, "columns": 6}, "as 'time_column', found 4"),
        ({"time_column": 5.0, "columns": 6}, "as 'time_column', found 5.0"),
        ({"columns": 4.0}, "an integer as 'columns', found 4.0"),
        ({"columns": 2}, r"a\.json: columns must be from 3 to 64, got 2"),
        ({"dtype": "int"}, "as 'dtype', found 'int'"),
        (
            {"lidar_height_m": 2, "network_from_lidar": SHIFT.tolist()},
            "network_from_lidar or lidar_height_m, as both set the height, found both",
        ),
    ],
)
def test_what_cannot_be_stated_is_rejected(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_rig(write_json_rig(tmp_path / "a.json", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "found list"),
        ({"camera": {}}, r"found \['camera'\]"),
        ({"cameras": []}, "an object of cameras, found list"),
        ({"cameras": {"front": {"K": 1}}}, r"cam_from_lidar in 'front', found \['K'\]"),
        ({"cameras": {"front": 1}}, "found int"),
        ({"network_from_lidar": [[1]]}, r"4 finite numbers.*shape \(1, 1\)"),
        ({"network_from_lidar": "unit"}, "4 rows of 4 numbers"),
        ({"network_from_lidar": np.diag([2.0, 1, 1, 1]).tolist()}, "a rotation and a translation"),
        ({"network_from_lidar": np.diag([-1.0, 1, 1, 1]).tolist()}, "a rotation and a translation"),
    ],
)
def test_a_file_of_another_content_is_rejected(tmp_path, content, message):
    path = write_json_rig(tmp_path / "calib.json", content)
    with pytest.raises(ValueError, match=message):
        read_rig(path)


@pytest.mark.parametrize("change", [np.transpose, np.negative, lambda matrix: 2 * matrix])
def test_a_camera_matrix_of_another_form_is_rejected(tmp_path, change):
    content = json_rig()
    camera = content["cameras"]["front"]
    camera["pixel_from_cam"] = change(np.array(camera["pixel_from_cam"])).tolist()
    with pytest.raises(ValueError, match=r"0 0 1 in 'cameras\.front\.pixel_from_cam'"):
        read_rig(write_json_rig(tmp_path / "calib.json", content))


@pytest.mark.parametrize("number", [10**400, -(10**400), [1], "far", None, float("nan")])
def test_numbers_that_are_none_are_rejected(tmp_path, number):
    content = json_rig()
    content["cameras"]["front"]["cam_from_lidar"][1][3] = number
    path = write_json_rig(tmp_path / "calib.json", content)
    with pytest.raises(ValueError, match=rf"{path}: .*'cameras\.front\.cam_from_lidar'"):
        read_rig(path)


def test_a_number_with_too_many_digits_for_python_is_rejected(tmp_path):
    path = tmp_path / "calib.json"
    path.write_text('{"network_from_lidar": [[' + "1" * 5000 + "]]}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"calib\.json: expected JSON .*digits"):
        read_rig(path)


def test_keys_that_occur_twice_are_rejected(tmp_path):
    path = tmp_path / "calib.json"
    path.write_text('{"cameras": {"front": {}, "front": {}}}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"calib\.json: .*each key once, found the key 'front' tw"):
        read_rig(path)
    write_recording(tmp_path / "recording")
    path = tmp_path / "recording" / "calib.txt"
    path.write_text(path.read_text() + "P2: 1 0 0 0 0 1 0 0 0 0 1 0\n")
    with pytest.raises(ValueError, match=r"calib\.txt: expected each key once, found 'P2' twice"):
        read_rig(path)


def test_the_white_level_of_the_images(tmp_path):
    path = write_json_rig(tmp_path / "calib.json", json_rig(image_max=4095))
    assert read_rig(path).image_max == 4095.0
    assert read_rig(write_json_rig(path, json_rig())).image_max is None
    for value in (0, -1, "4095", True, 10**400):
        with pytest.raises(ValueError, match="a positive number as 'image_max', found"):
            read_rig(write_json_rig(path, json_rig(image_max=value)))


def test_files_that_are_no_calibration_are_rejected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"calibration .* not found"):
        read_rig(tmp_path / "calib.json")
    for name, message in [("calib.yaml", "one of the suffixes"), ("calib.json", "expected JSON")]:
        (tmp_path / name).write_text("cameras:", encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            read_rig(tmp_path / name)


def test_the_calibration_that_the_docs_show_can_be_read(tmp_path):
    page = (Path(__file__).parents[1] / "docs/custom_data.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (tmp_path / "calib.json").write_text(block, encoding="utf-8")
    rig = read_rig(tmp_path / "calib.json")
    # Straight ahead of the camera, 10.1 m before the LiDAR and 0.3 m below it.
    u, v, depth_m, _ = rig.pixel_from_lidar["front"] @ [10.1, 0.0, -0.3, 1.0]
    assert (rig.lidar_height_m, dict(rig.clouds)) == (1.8, {"intensity_max": 255.0})
    np.testing.assert_allclose([u / depth_m, v / depth_m, depth_m], [960.0, 600.0, 10.0])
