import numpy as np
import pytest

from dataset.rellis3d import classes
from dataset.rellis3d.labels import (
    AXES,
    RELEASES,
    LabelFiles,
    LabelForm,
    find_label_files,
    missing_by_sequence,
    read_labels,
)
from dataset.rellis3d.layout import Frame, frame_of, parse_image
from utils.geometry import VoxelGrid
from utils.labels import IGNORE, RELLIS3D, WILDOCC

V1 = LabelForm(RELEASES["V1"])


def rows_file(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(rows, np.int64).reshape(-1, 4))
    return path


# --- classes ---


def test_label_sets_are_those_of_the_data_set():
    assert RELLIS3D.num_classes == 19
    assert [WILDOCC.class_names[k] for k in (1, 2, 3, 4, 5, 6, 7)] == [
        "grass", "tree", "bush", "puddle", "mud", "barrier", "rubble",
    ]  # fmt: skip
    assert WILDOCC.class_names[8] == "others"
    assert RELLIS3D.colors[RELLIS3D.index("grass")] == (0, 102, 0)
    assert RELLIS3D.colors[RELLIS3D.index("rubble")] == (110, 22, 138)
    for labels in (RELLIS3D, WILDOCC):
        assert len(set(labels.colors)) == len(labels.colors) == labels.num_classes
    assert set(classes.POINT_SHARES) <= set(RELLIS3D.class_names)
    assert sum(classes.POINT_SHARES.values()) == pytest.approx(1.0, abs=1e-3)


def test_ids_become_labels():
    table = classes.label_table(classes.RELLIS_IDS, RELLIS3D)
    names = [RELLIS3D.class_names[table[number]] for number in (1, 3, 19, 29, 30, 32, 34)]
    assert names == ["dirt", "grass", "bush", "grass", "grass", "water", "rubble"]
    assert table[0] == table[7] == IGNORE  # void, sky
    scored = classes.label_table(classes.RELLIS_IDS, WILDOCC)
    assert scored[[3, 4, 19, 31, 33, 27, 34]].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert scored[[0, 1, 7, 17]].tolist() == [8, 8, 8, 8]
    own = classes.label_table(classes.BENCHMARK_IDS, WILDOCC)
    assert own.tolist() == [8, 1, 2, 3, 4, 5, 6, 7]


def test_predictions_become_those_of_the_benchmark():
    labels = np.array([0, RELLIS3D.index("mud"), RELLIS3D.index("person")])
    assert classes.benchmark_labels(labels, RELLIS3D).tolist() == [0, 5, 8]
    every = np.arange(WILDOCC.num_classes)
    np.testing.assert_array_equal(classes.benchmark_labels(every, WILDOCC), every)


# --- frames and grids ---


@pytest.mark.parametrize(
    ("release", "axes", "origin"),
    [
        ("V1", "ouster", (0.0, -10.0, -2.0)),
        ("V1", "forward", (-20.0, -10.0, -2.0)),
        ("V2.0", "forward", (0.0, -16.0, -2.0)),
        ("V2.0", "ouster", (-32.0, -16.0, -2.0)),
        ("V2.0", "mirrored_x", (0.0, -16.0, -2.0)),
    ],
)
def test_the_box_in_the_networks_frame(release, axes, origin):
    form = LabelForm(RELEASES[release], axes)
    assert form.grid_in_lidar() == VoxelGrid(origin, 0.2, RELEASES[release].shape)
    assert form.release == release


def test_index_0_of_v1_is_20_m_ahead_and_10_m_to_the_left():
    center = np.append(RELEASES["V1"].meters_from_voxel(np.full(3, 0.5)), 1.0)
    found = np.linalg.inv(V1.label_from_lidar()) @ center
    np.testing.assert_allclose(found, [19.9, 9.9, -1.9, 1.0])


@pytest.mark.parametrize("axes", AXES)
def test_all_axes_are_their_own_inverse_but_for_the_turn(axes):
    matrix = LabelForm(RELEASES["V1"], axes).label_from_lidar()
    np.testing.assert_allclose(matrix @ matrix, np.eye(4))


def test_unknown_readings_are_refused():
    with pytest.raises(ValueError, match=r"labels_axes must be one of .* got 'left'"):
        LabelFiles(labels_axes="left").form()
    with pytest.raises(ValueError, match=r"labels_ids must be one of .* got 'kitti'"):
        LabelFiles(labels_ids="kitti").form()
    with pytest.raises(ValueError, match=r"labels_more_ids: \(40, 'shrub'\) must name one of"):
        LabelFiles(labels_more_ids=((40, "shrub"),)).form()
    assert LabelForm(VoxelGrid((0.0, 0.0, 0.0), 1.0, (1, 1, 1))).release == "an unknown release"


# --- files ---


def test_rows_fill_the_grid(tmp_path):
    path = rows_file(tmp_path / "0.npy", [[0, 99, 39, 3], [5, 5, 5, 0], [6, 6, 6, 19]])
    grid = read_labels(path, V1, RELLIS3D)
    assert grid.shape == (100, 100, 40)
    assert grid[0, 99, 39] == RELLIS3D.index("grass")
    assert grid[5, 5, 5] == IGNORE
    assert grid[6, 6, 6] == RELLIS3D.index("bush")
    assert np.count_nonzero(grid) == 3
    assert read_labels(path, V1, WILDOCC)[5, 5, 5] == WILDOCC.index("others")


def test_an_empty_file_is_all_free(tmp_path):
    assert not read_labels(rows_file(tmp_path / "0.npy", []), V1, RELLIS3D).any()


def test_labels_of_the_other_release_are_named(tmp_path):
    path = rows_file(tmp_path / "0.npy", [[120, 3, 3, 3], [1, 1, 1, 3]])
    with pytest.raises(ValueError, match=(
        r"0\.npy: expected indices in the 100×100×40 voxels of V1, found 1 rows outside, up to "
        r"\[120, 3, 3\]\. They fit V2\.0: set dataset\.labels_grid"
    )):  # fmt: skip
        read_labels(path, V1, RELLIS3D)


def test_unknown_ids_are_counted_and_can_be_named(tmp_path):
    path = rows_file(tmp_path / "0.npy", [[1, 1, 1, 40], [2, 2, 2, 40], [3, 3, 3, 3]])
    with pytest.raises(ValueError, match=r"found \[40\] in 2 rows. Name them in dataset.labels_mo"):
        read_labels(path, V1, RELLIS3D)
    form = LabelFiles(labels_more_ids=((40, "bush"),)).form()
    assert read_labels(path, form, RELLIS3D)[2, 2, 2] == RELLIS3D.index("bush")
    negative = rows_file(tmp_path / "1.npy", [[1, 1, 1, -1]])
    with pytest.raises(ValueError, match=r"found \[-1\] in 1 rows"):
        read_labels(negative, V1, RELLIS3D)


def test_a_dense_grid_is_no_label_file(tmp_path):
    np.save(tmp_path / "0.npy", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"expected rows of x, y, z, class, found shape \(4, 4"):
        read_labels(tmp_path / "0.npy", V1, RELLIS3D)


# --- search ---


@pytest.mark.parametrize(
    "name",
    [
        "00003/000104.npy",
        "a/00003/occ/000104.npy",
        "00003_000104.npy",
        "occ/00003-000104_occ.npy",
        "Rellis-3D/00003/occ/frame000104-1581624663_149.npy",
        "frame000104-1581624999_149.npy",
        "00003/104.npy",
        "00003/000104_160x160.npy",
    ],
)
def test_label_files_are_found_by_sequence_and_number_or_by_image(tmp_path, name):
    path = rows_file(tmp_path / name, [])
    rows_file(tmp_path / ".cache" / ".hidden.npy", [])
    images = {"frame000104-1581624999_149": Frame("00003", 104)}
    assert find_label_files(tmp_path, images) == {Frame("00003", 104): path}


def test_nothing_is_skipped_in_silence(tmp_path):
    with pytest.raises(FileNotFoundError, match="there are no labels at"):
        find_label_files(tmp_path / "none", {})
    with pytest.raises(FileNotFoundError, match=r"has no label file \*\.npy"):
        find_label_files(tmp_path, {})
    rows_file(tmp_path / "00001/000003.npy", [])
    rows_file(tmp_path / "other/3.npy", [])
    rows_file(tmp_path / "frame000104-1581624663_149.npy", [])
    with pytest.raises(ValueError, match=r"2 of 3 files \*\.npy name no frame \(.*3\.npy"):
        find_label_files(tmp_path, {})


def test_two_files_of_a_frame_are_refused(tmp_path):
    rows_file(tmp_path / "v1/00001/000003.npy", [])
    rows_file(tmp_path / "v2/00001/000003.npy", [])
    with pytest.raises(ValueError, match=r"has two label files of frame 00001-000003: .*v1.*v2"):
        find_label_files(tmp_path, {})


def test_missing_frames_are_counted_by_sequence():
    frames = [Frame("00001", 7), Frame("00001", 9), Frame("00000", 3)]
    assert missing_by_sequence(frames) == "00000: 1 (from 3 to 3), 00001: 2 (from 7 to 9)"


def test_stems_of_frames_and_images():
    assert Frame("00000", 104).stem == "00000-000104"
    assert frame_of("00000-000104") == Frame("00000", 104)
    with pytest.raises(ValueError, match="such as '00000-000104', found '104'"):
        frame_of("104")
    assert parse_image("frame000104-1581624663_149") == (104, 1581624663.149)
    assert parse_image("frame000105-1581624663_49") == (105, 1581624663.049)
    assert parse_image("frame000105-1581624663_049") == (105, 1581624663.049)
    assert parse_image("000104") is None
