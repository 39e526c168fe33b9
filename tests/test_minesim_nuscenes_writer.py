import errno
import json
from pathlib import Path

import numpy as np
import pytest

from dataset.cloud_rule import NUSCENES_CLOUD
from dataset.formats import read_cloud, read_image
from dataset.minesim.write.nuscenes.rig import RigCamera, ego_from_sensor
from dataset.minesim.write.nuscenes.writer import (
    TABLES,
    KeyFrameLabels,
    SceneCard,
    SceneWriter,
    Shot,
    token,
    write_tables,
)
from dataset.nuscenes.index import CAMERAS, LIDAR, pose_matrix
from dataset.nuscenes.labels import BENCHMARKS, read_labels
from utils.labels import IGNORE, NUSCENES

SIZE = (32, 20)
FAR = np.array([[0.0, -1, 0, 900], [1, 0, 0, 1500], [0, 0, 1, 0], [0, 0, 0, 1]])
CARD = SceneCard("scene-0061", 0, "location_1", "A mine", (1_000_000, 1_500_000), FAR)
OTHERS = NUSCENES.index("others")


def shot(sample, time_us, *, is_key=True):
    pose = np.eye(4)
    pose[0, 3] = time_us * 1e-6
    return Shot(sample, time_us, is_key, pose)


@pytest.fixture
def writer(tmp_path):
    return SceneWriter(tmp_path, CARD, SIZE)


def test_recordings_are_files_and_linked_records(writer, tmp_path):
    points = np.arange(10, dtype=np.float32).reshape(2, 5)
    for sample, time_us, is_key in ((0, 1_000_000, True), (1, 1_250_000, False)):
        writer.write_points(shot(sample, time_us, is_key=is_key), points)
    writer.write_image(
        RigCamera("CAM_BACK", *SIZE), shot(0, 990_000), np.full((20, 32, 3), 90, np.uint8)
    )
    first, sweep, camera_record = writer.records["sample_data"]
    assert first["filename"].startswith("samples/LIDAR_TOP/")
    assert sweep["filename"].startswith("sweeps/LIDAR_TOP/")
    assert sweep["filename"].endswith("__LIDAR_TOP__1250000.pcd.bin")
    assert (first["prev"], first["next"]) == ("", sweep["token"])
    assert (sweep["prev"], sweep["next"]) == (first["token"], "")
    assert (camera_record["prev"], camera_record["height"], camera_record["width"]) == ("", 20, 32)
    assert sweep["sample_token"] == writer.sample_tokens[1]
    cloud = read_cloud(tmp_path / "nuscenes" / sweep["filename"], NUSCENES_CLOUD)
    np.testing.assert_allclose(cloud, points[:, :4] / [1, 1, 1, 255], rtol=1e-6)
    image = read_image(tmp_path / "nuscenes" / camera_record["filename"])
    assert np.abs(image.astype(int) - 90).max() <= 2
    pose = writer.records["ego_pose"][1]
    np.testing.assert_allclose(pose["translation"], [900, 1501.25, 0])
    w, _, _, z = pose["rotation"]
    np.testing.assert_allclose([w, z], np.sqrt(0.5))  # A quarter turn; the real part first.


def test_the_rig_is_described(writer):
    assert [r["nbr_samples"] for r in writer.records["scene"]] == [2]
    first, second = writer.records["sample"]
    assert (first["next"], second["prev"]) == (second["token"], first["token"])
    assert first["timestamp"] == 1_000_000
    rig = dict(zip((LIDAR, *CAMERAS), writer.records["calibrated_sensor"], strict=True))
    assert rig[LIDAR]["camera_intrinsic"] == []
    assert np.shape(rig["CAM_BACK"]["camera_intrinsic"]) == (3, 3)
    for channel, record in rig.items():
        pose = pose_matrix(np.array([*record["translation"], *record["rotation"]]))
        np.testing.assert_allclose(pose, ego_from_sensor(channel), atol=1e-12)


def test_labels_read_back_with_each_benchmark_reader(writer, tmp_path):
    rng = np.random.default_rng(0)
    volumes = {}
    for name, source in BENCHMARKS.items():
        volumes[name] = np.zeros(source.grid.shape, np.uint8)
        x, y, z = (rng.integers(0, n, 40) for n in source.grid.shape)
        volumes[name][x, y, z] = rng.integers(1, 18, 40)
        volumes[name][3, 2, 1] = OTHERS
    masks = [rng.random((200, 200, 16)) < 0.5 for _ in range(2)]
    writer.write_points(shot(0, 1_000_000), np.zeros((1, 5), np.float32))
    writer.write_labels(0, KeyFrameLabels(volumes, *masks))
    paths = {
        "occ3d": f"occ3d/gts/scene-0061/{writer.sample_tokens[0]}/labels.npz",
        "surroundocc": "nuscenes_occ/samples/minesim-scene-0061__LIDAR_TOP__1000000.pcd.bin.npy",
        "openoccupancy": f"nuScenes-Occupancy/scene_{writer.records['scene'][0]['token']}"
        f"/occupancy/{writer.records['sample_data'][0]['token']}.npy",
    }
    for name, path in paths.items():
        found = read_labels(name, tmp_path / path)
        expected = volumes[name]
        if name != "occ3d":
            expected = np.where(expected == OTHERS, IGNORE, expected)
        np.testing.assert_array_equal(found.occupancy, expected)
    occ3d = read_labels("occ3d", tmp_path / paths["occ3d"])
    np.testing.assert_array_equal(occ3d.mask_camera, masks[0])
    np.testing.assert_array_equal(occ3d.mask_lidar, masks[1])


def test_tables_hold_the_records_of_all_scenes(writer, tmp_path):
    write_tables(tmp_path / "v1.0-mini", [writer.records, writer.records])
    tables = {
        name: json.loads((tmp_path / f"v1.0-mini/{name}.json").read_text()) for name in TABLES
    }
    assert [len(tables[name]) for name in ("log", "scene", "sample")] == [2, 2, 4]
    assert {record["modality"] for record in tables["sensor"]} == {"camera", "lidar"}
    known = {record["token"] for record in tables["sensor"]}
    assert {record["sensor_token"] for record in tables["calibrated_sensor"]} == known


def test_tokens_depend_on_all_their_parts():
    assert token(0, "a") == token(0, "a")
    assert len({token(0, "a"), token(1, "a"), token(0, "b"), token(0, "a", "a")}) == 4
    assert len(token("x")) == 32


def test_a_file_that_cannot_be_written_is_named(writer, monkeypatch):
    def fail(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*CAM_FRONT__5.jpg'"):
        writer.write_image(
            RigCamera("CAM_FRONT", *SIZE), shot(0, 5), np.zeros((20, 32, 3), np.uint8)
        )
