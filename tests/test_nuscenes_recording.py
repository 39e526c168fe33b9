"""tools/convert_nuscenes.py: scenes become recordings, whose boxes give classes and movers."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset.class_mapping import read_mapping
from dataset.labeling.drive import read_drive
from dataset.labeling.options import LabelOptions
from dataset.labeling.sweeps import SweepReader
from tests.nuscenes_files import (
    CAR,
    SCENES,
    add_annotations,
    ego_from_sensor,
    world_from_ego,
    write_tiny_nuscenes,
)
from tools import convert_nuscenes

MAPPING = Path(__file__).parents[1] / "config/labels/nuscenes.json"
OPTIONS = LabelOptions(range_m=60.0)
SCENE = SCENES[0]
LABEL_OF_CAR = 4


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("nuscenes") / "data"
    tiny = write_tiny_nuscenes(root, samples=2, sweeps=1, benchmarks=(), image_size=(45, 80))
    add_annotations(tiny)
    return tiny


def _convert(tiny, out, *words):
    arguments = [str(tiny.root), "--out", str(out), "--scenes", SCENE, *words]
    convert_nuscenes.main(convert_nuscenes.parse_arguments(arguments))
    return out / SCENE


def test_boxes_cover_the_points_of_the_object_in_key_frames_and_between(tiny, tmp_path):
    drive = read_drive(_convert(tiny, tmp_path, "--no-camera"))
    assert len(drive.stems) == 3
    reader = SweepReader(drive, OPTIONS, read_mapping(MAPPING))
    assert reader.sources == ("boxes",)
    for frame in range(3):
        sweep = reader.read(frame)
        # The simulated intensity is 10 times the class.
        is_car = np.isclose(sweep.points[:, 3] * 255, 10 * CAR, atol=0.5)
        assert is_car.sum() > 10
        assert (sweep.label[is_car] == LABEL_OF_CAR).all()
        assert (sweep.label == LABEL_OF_CAR).sum() < 1.5 * is_car.sum()  # Some road below it.
        assert not sweep.is_moving.any()


def test_poses_and_axes_are_those_of_the_vehicle(tiny, tmp_path):
    drive = read_drive(_convert(tiny, tmp_path, "--no-camera"))
    expected = world_from_ego(tiny.time_us[tiny.samples[SCENE][0]])
    expected[:3, 3] += expected[:3, :3] @ [0.94, 0.0, 2.7]  # At the LiDAR, above the ground.
    network_from_lidar = drive.clouds.rig.network_from_lidar
    assert network_from_lidar[:3, :3] == pytest.approx(ego_from_sensor("LIDAR_TOP")[:3, :3])
    assert drive.world_from_lidar[0][:3, :3] == pytest.approx(expected[:3, :3])
    assert drive.world_from_lidar[0][:2, 3] == pytest.approx(expected[:2, 3])
    assert drive.world_from_lidar[0][2, 3] == pytest.approx(2.7)
    ground = drive.clouds.read(drive.stems[0])[:, 2].min()
    assert ground == pytest.approx(-2.7, abs=0.02)


def test_clouds_take_the_image_of_their_key_frame_or_are_left_out(tiny, tmp_path, capsys):
    folder = _convert(tiny, tmp_path)
    assert "2 clouds, 2 boxes; 1 clouds without an image left out; up to 0.28 m" in (
        capsys.readouterr().out
    )
    drive = read_drive(folder)
    assert len(drive.stems) == 2
    image = cv2.imread(str(drive.images[drive.stems[0]]))
    assert image.shape[:2] == (45, 80)
    assert (folder / "clouds" / f"{drive.stems[0]}.pcd.bin").is_symlink()
    _convert(tiny, tmp_path)  # Again: the links are replaced.


def test_a_track_that_moves_marks_its_points(tiny, tmp_path):
    folder = _convert(tiny, tmp_path, "--no-camera")
    path = folder / "boxes.json"
    boxes = json.loads(path.read_text())
    last = max(boxes)
    boxes[last][0]["center"][0] += 3.0
    path.write_text(json.dumps(boxes))
    reader = SweepReader(read_drive(folder), OPTIONS, read_mapping(MAPPING))
    sweep = reader.read(0)
    assert (sweep.is_moving == (sweep.label == LABEL_OF_CAR)).all()
    assert sweep.is_moving.sum() > 10


def test_faults_are_named(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"scene\.json: expected the scenes nowhere.*--scenes"):
        _convert(tiny, tmp_path, "--scenes", "nowhere")
    table = tiny.table("category")
    records = table.read_text()
    table.write_text("[]")
    with pytest.raises(ValueError, match=r"instance\.json names the category .* category\.json"):
        _convert(tiny, tmp_path)
    table.unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks the tables \['category'\]"):
        _convert(tiny, tmp_path)
    table.write_text(records)
    cloud = tiny.root / tiny.lidar_file[tiny.samples[SCENE][0]]
    cloud.rename(cloud.with_suffix(".gone"))
    with pytest.raises(FileNotFoundError, match="not found, which the tables name"):
        _convert(tiny, tmp_path)
    cloud.with_suffix(".gone").rename(cloud)
