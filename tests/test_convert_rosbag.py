"""tools/convert_rosbag.py on bags of a few frames, in each container."""

import json
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed")

import predict
from dataset.formats import read_image
from dataset.rig import read_rig
from tests.predict_config import write_config
from tests.recording_files import write_json_rig
from tests.rosbag_files import (
    CAM_FROM_LIDAR,
    PERIOD_NS,
    START_NS,
    Entry,
    K,
    Messages,
    drive,
    structured,
    write_bag,
)
from tests.trained import save_trained
from tools import convert_rosbag
from utils.config import load_config

STEMS = ["1718000000.000000000", "1718000000.100000000", "1718000000.200000000"]
TOPICS = {"--clouds": "/points", "--images": "/front/image_raw"}
POSES = {"--poses": "/odometry"}


@pytest.fixture(scope="module")
def messages():
    return Messages()


@pytest.fixture(scope="module")
def bag(tmp_path_factory, messages):
    """A drive of three frames; nothing writes to it."""
    return write_bag(tmp_path_factory.mktemp("bag") / "drive", messages, drive(messages))


def run(bag, out, *flags, topics=TOPICS | POSES):
    words = [word for pair in topics.items() for word in pair]
    arguments = [str(bag), "--out", str(out), *words, *flags]
    convert_rosbag.main(convert_rosbag.parse_arguments(arguments))
    return json.loads((out / "calib.json").read_text())


def stems_in(folder):
    return sorted(path.name.rpartition(".")[0] for path in folder.iterdir())


def read_points(out, stem):
    return np.fromfile(out / "clouds" / f"{stem}.bin", "<f4").reshape(-1, 4)


@pytest.mark.parametrize("container", ["ros1", "db3 folder", "mcap folder", "db3", "mcap"])
def test_every_container_becomes_the_same_recording(tmp_path, container):
    messages = Messages(ros1=container == "ros1")
    path = tmp_path / ("drive.bag" if messages.ros1 else "drive")
    bag = write_bag(path, messages, drive(messages), mcap="mcap" in container)
    if container in ("db3", "mcap"):
        (bag,) = bag.glob(f"*.{container}")
    out = tmp_path / "out"
    rig = run(bag, out)
    assert stems_in(out / "images") == stems_in(out / "clouds") == STEMS
    camera = rig["cameras"]["front"]
    np.testing.assert_allclose(camera["cam_from_lidar"], CAM_FROM_LIDAR, atol=1e-12)
    assert camera["pixel_from_cam"][0][0] != K[0, 0]  # The distortion is taken out.
    assert (rig["intensity_max"], rig["columns"]) == (255, 4)
    # The LiDAR is 1 m ahead of the pose of the odometry, which drives 1 m between clouds.
    poses = [line.split() for line in (out / "poses.txt").read_text().splitlines()]
    assert [pose[0] for pose in poses] == STEMS
    numbers = np.array([pose[1:] for pose in poses], float)
    np.testing.assert_allclose(numbers[:, 0], [1, 2, 3])
    np.testing.assert_allclose(numbers[:, 1:], [[0, 0, 0, 0, 0, 1]] * 3, atol=1e-12)


def test_the_recording_is_what_the_network_reads(bag, tmp_path):
    out = tmp_path / "out"
    run(bag, out, "--lidar-height", "2.7")
    rig = read_rig(out / "calib.json")
    assert rig.clouds == {"intensity_max": 255, "columns": 4}
    assert rig.lidar_height_m == 2.7
    assert read_image(out / "images" / f"{STEMS[1]}.jpg").shape == (60, 96, 3)
    points = read_points(out, STEMS[0])
    assert points.shape == (600, 4)
    assert points[:, 3].max() == pytest.approx(200, abs=1)


def test_the_recording_is_predicted(bag, tmp_path):
    out = tmp_path / "out"
    run(bag, out, "--lidar-height", "2.7")
    config = write_config(tmp_path)
    save_trained(load_config(config), tmp_path / "weights.pth")
    words = ["--py-config", config, "--resume-from", tmp_path / "weights.pth", "--device", "cpu"]
    words += ["--images", out / "images", "--clouds", out / "clouds", "--format", "npy"]
    words += ["--calib", out / "calib.json", "--out", tmp_path / "predicted"]
    predict.main(predict.parse_arguments([str(word) for word in words]))
    assert stems_in(tmp_path / "predicted") == STEMS


def test_topics_are_listed_when_none_is_named(bag, capsys):
    convert_rosbag.main(convert_rosbag.parse_arguments([str(bag)]))
    lines = capsys.readouterr().out.splitlines()
    assert "clouds               3  sensor_msgs/msg/PointCloud2              /points" in lines
    assert len([line for line in lines if line.endswith("/odometry")]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "/a"], "need --clouds"),
        (["--clouds", "/a"], "--clouds needs --out"),
        (["--clouds", "/a", "--out", "out", "--deskew"], "--deskew needs --poses"),
        (
            ["--clouds", "/a", "--out", "b", "--poses", "/c", "--deskew", "--point-times"],
            "--point-times with --deskew",
        ),
        (["--clouds", "/a", "--out", "out", "--calib", "a.txt"], "needs a .json file"),
    ],
)
def test_options_that_need_others(words, message, capsys):
    with pytest.raises(SystemExit):
        convert_rosbag.parse_arguments(["a.bag", *words])
    assert message in capsys.readouterr().err


def test_cameras_are_named_after_their_topics():
    topics = ["/front/image_raw/compressed", "rear=/cam1/image_raw", "/image_raw"]
    assert convert_rosbag.camera_topics(topics) == {
        "front": topics[0],
        "rear": "/cam1/image_raw",
        "camera": "/image_raw",
    }
    with pytest.raises(ValueError, match=r"expected a new name .* found 'a': write NAME=TOPIC"):
        convert_rosbag.camera_topics(["/a/image_raw", "/a/image_color"])


def test_an_interrupted_conversion_resumes(bag, tmp_path):
    out = tmp_path / "out"
    run(bag, out)
    files = {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
    kept = out / "clouds" / f"{STEMS[0]}.bin"
    kept.write_bytes(np.array([[1, 2, 3, 9]], "<f4").tobytes())
    leftover = out / "clouds" / f".{STEMS[1]}.bin.999999999.partial"
    leftover.touch()
    for path in (out / "clouds" / f"{STEMS[1]}.bin", out / "images" / f"{STEMS[2]}.jpg",
            out / "calib.json"):  # fmt: skip
        path.unlink()
    run(bag, out)
    assert len(kept.read_bytes()) == 16
    assert not leftover.exists()
    assert all(path.read_bytes() == data for path, data in files.items() if path != kept)


def test_other_settings_and_other_folders_are_refused(bag, tmp_path):
    out = tmp_path / "out"
    run(bag, out)
    with pytest.raises(ValueError, match=r"found another 'tolerance_s': None, not 0.01"):
        run(bag, out, "--tolerance", "0.01")
    (out / "conversion.json").unlink()
    with pytest.raises(ValueError, match=r"found images without conversion.json"):
        run(bag, out)


def test_what_is_left_out_is_counted(tmp_path, messages, caplog):
    entries = drive(messages, frames=3)
    late = messages.image(
        START_NS + 2 * PERIOD_NS + 60_000_000, np.zeros((60, 96, 3), "u1"), "rgb8"
    )
    images = [index for index, entry in enumerate(entries) if entry.topic == "/front/image_raw"]
    entries[images[2]] = Entry("/front/image_raw", late, START_NS + 3 * PERIOD_NS)
    empty = messages.cloud(START_NS + PERIOD_NS, structured(np.zeros((5, 4))))
    clouds = [index for index, entry in enumerate(entries) if entry.topic == "/points"]
    entries[clouds[1]] = Entry("/points", empty, START_NS + PERIOD_NS)
    bag = write_bag(tmp_path / "drive", messages, entries)
    out = tmp_path / "out"
    run(bag, out)
    assert stems_in(out / "images") == stems_in(out / "clouds") == STEMS[:1]
    assert "left out: 1 clouds without an image of 'front' within 50 ms" in caplog.messages
    assert "left out: 1 images of 'front' without a complete frame" in caplog.messages
    assert "left out: 1 clouds without points" in caplog.messages


def test_nothing_that_matches_is_an_error(bag, tmp_path):
    with pytest.raises(ValueError, match=r"at least one complete frame, .*: 3 clouds without an"):
        run(bag, tmp_path / "out", "--tolerance", "0.01")


def test_headers_without_stamps_use_the_times_of_the_recording(tmp_path, messages, caplog):
    cloud = messages.cloud(0, structured(np.ones((5, 4))))
    bag = write_bag(tmp_path / "drive", messages, [Entry("/points", cloud, START_NS)])
    run(bag, tmp_path / "out", topics={"--clouds": "/points"})
    assert stems_in(tmp_path / "out/clouds") == STEMS[:1]
    assert "'/points': 1 of 1 headers have no stamp" in caplog.text


def test_a_calibration_file_takes_the_place_of_the_transforms(tmp_path, messages):
    entries = [entry for entry in drive(messages) if entry.topic != "/tf_static"]
    bag = write_bag(tmp_path / "drive", messages, entries)
    with pytest.raises(ValueError, match="transform from the frame 'lidar' to 'camera', found"):
        run(bag, tmp_path / "out", topics=TOPICS)
    camera = {"pixel_from_cam": K.tolist(), "cam_from_lidar": CAM_FROM_LIDAR.tolist()}
    stated = {"cameras": {"front": camera}, "lidar_height_m": 1.5, "intensity_max": 100}
    path = write_json_rig(tmp_path / "rig.json", stated)
    assert run(bag, tmp_path / "b", "--calib", str(path), topics=TOPICS) == stated | {"columns": 4}
    path = write_json_rig(tmp_path / "rig.json", {"cameras": {"left": camera}})
    with pytest.raises(ValueError, match=r"expected the cameras \['front'\], found \['left'\]"):
        run(bag, tmp_path / "c", "--calib", str(path), topics=TOPICS)


def test_several_cameras_and_original_jpegs(tmp_path, messages):
    entries = drive(messages, frames=1, coefficients=())
    jpeg = cv2.imencode(".jpg", np.full((60, 96, 3), 90, np.uint8))[1].tobytes()
    entries += [
        Entry("/rear/image_raw/compressed", messages.compressed(START_NS, jpeg), START_NS),
        Entry("/rear/camera_info", messages.info(), START_NS),
    ]
    bag = write_bag(tmp_path / "drive", messages, entries)
    out = tmp_path / "out"
    words = ["--images", "/front/image_raw", "/rear/image_raw/compressed"]
    rig = run(bag, out, *words, topics={"--clouds": "/points"})
    assert list(rig["cameras"]) == ["front", "rear"]
    assert stems_in(out / "images/front") == STEMS[:1]
    assert (out / "images/rear" / f"{STEMS[0]}.jpg").read_bytes() == jpeg


def test_a_damaged_image_costs_its_frame_only(tmp_path, messages, caplog):
    entries = [entry for entry in drive(messages) if entry.topic != "/front/image_raw"]
    jpeg = cv2.imencode(".jpg", np.full((60, 96, 3), 90, np.uint8))[1].tobytes()
    for index, data in enumerate((jpeg, jpeg[:-9], jpeg)):
        stamp_ns = START_NS + index * PERIOD_NS
        entries.append(Entry("/front/image_raw", messages.compressed(stamp_ns, data), stamp_ns))
    out = tmp_path / "out"
    run(write_bag(tmp_path / "drive", messages, entries), out)
    assert stems_in(out / "images") == stems_in(out / "clouds") == [STEMS[0], STEMS[2]]
    assert "left out: 1 frames with a damaged image of 'front'" in caplog.messages
    assert len((out / "poses.txt").read_text().splitlines()) == 2


def test_clouds_are_deskewed_and_frames_without_poses_left_out(tmp_path, messages, caplog):
    entries = [entry for entry in drive(messages) if entry.topic == "/odometry"]
    entries += [entry for entry in drive(messages) if entry.topic == "/tf_static"]
    points = np.array([[10, 0, 0, 5], [10, 0, 0, 6]], float)
    for index in range(4):  # Poses end at the last one's stamp, before its sweep does.
        stamp_ns = START_NS + index * PERIOD_NS
        rows = structured(points, t=np.array([0, 50_000_000], "<u4"))
        entries.append(Entry("/points", messages.cloud(stamp_ns, rows), stamp_ns))
    bag = write_bag(tmp_path / "drive", messages, entries)
    out = tmp_path / "out"
    run(bag, out, "--deskew", topics={"--clouds": "/points"} | POSES)
    assert stems_in(out / "clouds") == STEMS
    # The second point is measured 0.5 m later.
    np.testing.assert_allclose(read_points(out, STEMS[0])[:, 0], [10, 10.5])
    assert "left out: 1 clouds without poses during the whole sweep" in caplog.messages


def test_deskewing_needs_times(bag, tmp_path):
    with pytest.raises(ValueError, match="expected a field with the times of the points"):
        run(bag, tmp_path / "out", "--deskew")


@pytest.mark.parametrize("has_intensity", [True, False])
def test_times_of_points_are_a_column(tmp_path, messages, has_intensity):
    points = np.array([[10, 0, 0, 5], [11, 0, 0, 6]], float)
    rows = structured(points, t=np.array([0, 50_000_000], "<u4"))
    if not has_intensity:
        rows = rows[["x", "y", "z", "t"]]
    cloud = messages.cloud(START_NS, rows)
    bag = write_bag(tmp_path / "drive", messages, [Entry("/points", cloud, START_NS)])
    rig = run(bag, tmp_path / "out", "--point-times", topics={"--clouds": "/points"})
    assert (rig["columns"], rig["time_column"]) == (5, 5)
    assert read_rig(tmp_path / "out/calib.json").time_column == 5
    found = np.fromfile(tmp_path / "out/clouds" / f"{STEMS[0]}.bin", "<f4").reshape(-1, 5)
    intensity = [5, 6] if has_intensity else [0, 0]
    np.testing.assert_allclose(found[:, 3:].T, [intensity, [0, 0.05]])


def test_poses_from_transforms(tmp_path, messages):
    entries = [entry for entry in drive(messages) if entry.topic != "/odometry"]
    for index in range(2):
        stamp_ns = START_NS + 2 * index * PERIOD_NS
        row = ("map", "base", (4.0 * index, 0, 0), (0, 0, 0, 1), stamp_ns)
        entries.append(Entry("/tf", messages.transforms(row), stamp_ns))
    out = tmp_path / "out"
    run(write_bag(tmp_path / "drive", messages, entries), out, "--poses", "tf:map", topics=TOPICS)
    poses = np.loadtxt(out / "poses.txt")
    np.testing.assert_allclose(poses[:, 1], [1, 3, 5])


@pytest.mark.parametrize(
    ("topics", "message"),
    [
        ({"--clouds": "/nothing"}, "expected clouds in the topic '/nothing' of --clouds, found no"),
        ({"--clouds": "/odometry"}, "found 8 messages of 'nav_msgs/msg/Odometry'.*: /points"),
        (TOPICS | {"--camera-info": "/points"}, "expected camera info in the topic '/points'"),
        (TOPICS | {"--camera-info": "rear=/a"}, r"expected the cameras \['front'\], found"),
    ],
)
def test_wrong_topics_are_refused(bag, tmp_path, topics, message):
    with pytest.raises(ValueError, match=message):
        run(bag, tmp_path / "out", topics=topics)


def test_images_of_another_size_than_their_calibration_are_refused(tmp_path, messages):
    entries = drive(messages, frames=1)
    info = messages.info(size=(960, 600))
    entries[1] = Entry("/front/camera_info", info, START_NS)
    bag = write_bag(tmp_path / "drive", messages, entries)
    with pytest.raises(ValueError, match=r"expected images of 960×600 px, .* found 96×60"):
        run(bag, tmp_path / "out")


def test_files_that_are_no_bags(tmp_path, bag):
    (tmp_path / "a.bag").write_bytes(b"text")
    for path, error, message in (
        (tmp_path / "a.bag", ValueError, "a.bag: expected a complete ROS bag"),
        (tmp_path / "b.bag", FileNotFoundError, "b.bag not found"),
        (tmp_path, ValueError, r"found no metadata.yaml: pass its .mcap or .db3 files"),
    ):
        with pytest.raises(error, match=message):
            convert_rosbag.main(convert_rosbag.parse_arguments([str(path)]))
    with pytest.raises(ValueError, match="found both: convert each"):
        convert_rosbag.main(convert_rosbag.parse_arguments([str(tmp_path / "a.bag"), str(bag)]))


def test_without_rosbags_the_error_says_what_to_install(monkeypatch, bag):
    monkeypatch.setitem(sys.modules, "rosbags.highlevel", None)
    with pytest.raises(ValueError, match=r"needs the package rosbags.*pip install rosbags"):
        convert_rosbag.main(convert_rosbag.parse_arguments([str(bag)]))
