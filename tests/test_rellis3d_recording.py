import numpy as np
import pytest

from dataset.class_mapping import read_mapping
from dataset.labeling.drive import read_drive
from dataset.labeling.options import LabelOptions
from dataset.labeling.sweeps import SweepReader
from dataset.layout import LIDAR_HEIGHT_M
from dataset.rellis3d.classes import RELLIS_IDS
from dataset.rellis3d.sequences import find_sequences
from tests.rellis3d_files import BOXES, GRASS, TREE, Frame, map_from_lidar, scan, write_tiny_rellis
from tools import convert_rellis3d
from utils.labels import UNSCENES3D

MAPPING = "config/labels/rellis3d.json"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "Rellis-3D"
    return write_tiny_rellis(folder, sequences=("00000", "00001"), frames=3).root


def run(*arguments):
    convert_rellis3d.main(convert_rellis3d.parse_arguments([str(word) for word in arguments]))


@pytest.fixture(scope="module")
def recording(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    run(root, "--out", out, "--sequences", "00001")
    return out / "00001"


def test_make_labels_reads_the_recording(recording, request):
    """Points, classes, poses and projections are those of the world."""
    drive = read_drive(recording)
    assert len(drive.stems) == 3
    assert np.diff(drive.times_s) == pytest.approx([0.1, 0.1], abs=1e-3)
    mapping = read_mapping(request.config.rootpath / MAPPING)
    sweep = SweepReader(drive, LabelOptions(), mapping).read(1)
    pose = drive.world_from_lidar[1]
    world = sweep.points[:, :3] @ pose[:3, :3].T + pose[:3, 3]
    ground = world[sweep.label == UNSCENES3D.index("terrain"), 2]
    assert len(ground) > 100
    assert ground == pytest.approx(np.full(len(ground), -1.2), abs=1e-3)
    name, low, high = BOXES[0]
    assert name == TREE
    in_box = ((world > np.array(low) - 0.01) & (world < np.array(high) + 0.01)).all(axis=1)
    in_box &= world[:, 2] > -1.1
    assert in_box.sum() > 5
    assert (sweep.label[in_box] == UNSCENES3D.index("barrier")).all()
    # The network's LiDAR is higher than that of the vehicle.
    expected = map_from_lidar(Frame("00001", 1))
    expected[2, 3] += LIDAR_HEIGHT_M - 1.2
    np.testing.assert_allclose(pose, expected, atol=1e-6)
    assert drive.pixel_from_lidar is not None


def test_files_of_a_recording(recording, root):
    stems = sorted(path.stem for path in (recording / "clouds").iterdir())
    assert stems == sorted(path.stem for path in (recording / "labels").iterdir())
    image = recording / f"images/{stems[1]}.jpg"
    assert image.resolve().parent == (root / "00001/pylon_camera_node").resolve()
    points = np.fromfile(recording / f"clouds/{stems[1]}.bin", "<f4").reshape(-1, 4)
    ids = np.fromfile(recording / f"labels/{stems[1]}.label", "<u4")
    records, expected = scan(Frame("00001", 1))
    away = np.hypot(records[:, 0], records[:, 1]) >= 2.1
    np.testing.assert_array_equal(ids, expected[away])
    np.testing.assert_allclose(points[:, 0], -records[away, 0])
    assert (ids == GRASS).any()
    assert 0 < points[:, 3].max() <= 1


def test_every_id_has_a_class(request):
    mapping = read_mapping(request.config.rootpath / MAPPING)
    assert set(mapping.point_labels) == set(RELLIS_IDS)


def test_incomplete_frames_are_left_out_with_numbers(tmp_path, caplog):
    root = write_tiny_rellis(tmp_path / "Rellis-3D", sequences=("00000",), frames=3).root
    (root / "00000/os1_cloud_node_semantickitti_label_id/000001.label").unlink()
    run(root, "--out", tmp_path / "out")
    assert "1 of 3 frames are left out; missing are 1 in os1_cloud_node_semantic" in caplog.text
    assert len(list((tmp_path / "out/00000/clouds").iterdir())) == 2
    for path in (root / "00000/os1_cloud_node_semantickitti_label_id").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"expected frames .* none of 3; missing"):
        run(root, "--out", tmp_path / "out")


def test_missing_sequences_are_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="lacks the sequences 00004; it has 00000, 00001"):
        run(root, "--out", tmp_path, "--sequences", "00004")
    assert len(find_sequences(root)) == 2
