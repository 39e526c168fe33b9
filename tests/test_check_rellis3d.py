import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dataset.check.findings import Level
from dataset.check.rellis3d import check_rellis3d
from dataset.check.rellis3d_report import RellisReport
from dataset.rellis3d.sequences import is_rellis3d
from tests.rellis3d_files import Frame, image_name, write_tiny_rellis
from tools import check_dataset

FRAMES = 3


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "Rellis-3D"
    return write_tiny_rellis(folder, sequences=("00000", "00002"), frames=FRAMES)


@pytest.fixture
def tiny(written, tmp_path):
    """A copy that a test may break."""
    shutil.copytree(written.root.parent, tmp_path / "data")
    return replace(written, root=tmp_path / "data/Rellis-3D", labels_root=tmp_path / "data/wildocc")


def check(root) -> RellisReport:
    return check_rellis3d(root, workers=1, progress=False)


def found(report, level=None):
    return {f.check for f in report.findings if level in (None, f.level)}


def test_a_sound_data_set(tiny, tmp_path, capsys):
    assert is_rellis3d(tiny.root)
    assert not is_rellis3d(tiny.labels_root)
    file = tmp_path / "check.json"
    arguments = [str(tiny.root), "--workers", "1", "--json", str(file)]
    check_dataset.main(check_dataset.parse_arguments(arguments))
    text = capsys.readouterr().out
    assert "RELLIS-3D, 2 sequences" in text
    assert "occupancy labels: V1, labels_axes='ouster', labels_ids='rellis'" in text
    assert "0 errors" in text
    content = json.loads(file.read_text())
    assert content["sequences"]["00002"]["clouds"] == FRAMES
    assert content["sequences"]["00000"]["points on class"] > 0.85
    assert content["splits"] == {"train": 2, "val": 2, "test": 2}
    assert (content["errors"], content["image_sizes"]) == (0, {"192×120": 2 * FRAMES})
    assert content["points"]["grass"] > content["points"]["bush"] > 0
    assert set(content["voxels"]) == {"3", "4", "19", "31"}


def test_a_calibration_that_sees_nothing_is_warned_of(tiny):
    path = tiny.root / "00000/transforms.yaml"
    path.write_text(
        "os1_cloud_node-pylon_camera_node: {q: {w: 1, x: 0, y: 0, z: 0}, t: {x: 0, y: 0, z: 9}}"
    )
    messages = [f.message for f in check(tiny.root).findings if f.check == "calibration"]
    assert len(messages) == 1
    assert "fewer than 100 of the labeled points" in messages[0]


def test_a_shifted_calibration_is_warned_of(tiny):
    path = tiny.root / "00002/camera_info.txt"
    path.write_text("281 280 20 10\n")
    report = check(tiny.root)
    messages = [f.message for f in report.findings if f.check == "calibration"]
    assert len(messages) == 1
    assert "fall on image pixels of their class, expected at least 65 %" in messages[0]
    assert "2021-02-24" in messages[0]


def test_corrupt_and_missing_files_are_found(tiny):
    root = tiny.root
    (root / "00000/os1_cloud_node_kitti_bin/000001.bin").write_bytes(b"123")
    (root / "00000/os1_cloud_node_semantickitti_label_id/000002.label").unlink()
    (root / f"00002/pylon_camera_node/{image_name(Frame('00002', 1))}.jpg").unlink()
    (root / "00002/camera_info.txt").unlink()
    np.save(tiny.labels_root / "V1/00000/000000.npy", np.zeros((3, 3), np.int64))
    report = check(root)
    assert found(report, Level.ERROR) == {"format", "missing_file", "calibration"}
    assert not report.is_sound
    text = report.table()
    assert "(frame 00000-000001): " in text
    assert "1 of 3 frames have none" in text


def test_labels_that_agree_with_nothing(tiny):
    for path in tiny.labels_root.rglob("*.npy"):
        rows = np.load(path)
        rows[:, 2] += 200
        np.save(path, rows)
    report = check(tiny.root)
    assert found(report, Level.ERROR) == {"release"}
    assert "indices up to" in report.table()


def test_lists_with_other_frames(tiny):
    path = tiny.root / "pt_test.lst"
    path.write_text(path.read_text().replace("000001", "000009"))
    report = check(tiny.root)
    messages = [f.message for f in report.findings if f.check == "splits"]
    assert "2 of 2 frames are not on disk" in messages
    path.write_text("nonsense\n")
    assert found(check(tiny.root), Level.ERROR) == {"splits"}


def test_without_occupancy_labels_and_lists(tiny):
    for path in [*tiny.labels_root.rglob("*.npy"), *tiny.root.glob("*.lst")]:
        path.unlink()
    report = check(tiny.root)
    assert report.release == ""
    assert report.splits == {}
    assert "lists: none" in report.table()


def test_image_labels_of_several_channels(tiny):
    path = tiny.root / f"00000/pylon_camera_node_label_id/{image_name(Frame('00000', 0))}.png"
    cv2.imwrite(str(path), np.zeros((120, 192, 3), np.uint8))
    assert found(check(tiny.root), Level.ERROR) == {"format"}
