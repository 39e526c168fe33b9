import json
import shutil

import cv2
import numpy as np
import pytest

from dataset import layout
from dataset.check.findings import Level
from dataset.check.run import check_dataset
from tests.layout_files import write_tiny_unscenes3d

ERROR, WARNING = Level.ERROR, Level.WARNING
SCENES = {"scene_00000": "location_1"}
SAMPLE = "1689903584.778848"
"""The third of four frames, and the second of two that are labeled."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("sound") / "data"
    stems = write_tiny_unscenes3d(root, scenes=SCENES, imagesets=("scene_info", "lists"))
    assert stems[1] == SAMPLE
    return root


@pytest.fixture
def root(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "data")


def path_of(root, folder, stem):
    return root / layout.relative_path(folder, stem)


def edit_array(folder, dtype, change):
    """A fault: the numbers of a file without header are changed."""

    def plant(root, stem):
        path = path_of(root, folder, stem)
        columns = 4 if folder == layout.CLOUDS else 3
        change(np.fromfile(path, dtype).reshape(-1, columns)).astype(dtype).tofile(path)

    return plant


def edit_picture(folder, change):
    def plant(root, stem):
        path = path_of(root, folder, stem)
        cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))

    return plant


def edit_rows(change):
    def plant(root, stem):
        path = path_of(root, layout.OCCUPANCY, stem)
        np.save(path, change(np.load(path)))

    return plant


def edit_key(key, change):
    """A fault: one matrix of a calibration is changed."""

    def plant(root, stem):
        path = path_of(root, layout.CALIBS, stem)
        lines = []
        for line in path.read_text().splitlines():
            name, _, text = line.partition(":")
            if name == key:
                rows = change(np.array(text.split(), float).reshape(3, -1))
                text = " ".join(f"{value:.12e}" for value in rows.flat)
            lines.append(f"{name}: {text}")
        path.write_text("\n".join(lines))

    return plant


def edit_text(folder, change):
    def plant(root, stem):
        path = path_of(root, folder, stem)
        path.write_text(change(path.read_text()))

    return plant


def remove(folder):
    return lambda root, stem: path_of(root, folder, stem).unlink()


def cut(folder):
    def plant(root, stem):
        path = path_of(root, folder, stem)
        path.write_bytes(path.read_bytes()[:-3])

    return plant


def edit_info(change):
    def plant(root, stem):
        path = root / "imagesets/scene_info.json"
        info = json.loads(path.read_text())
        change(info, stem)
        path.write_text(json.dumps(info))

    return plant


def add_to_list(split, stem=None):
    def plant(root, sample):
        path = root / f"imagesets/{split}.txt"
        path.write_text(path.read_text() + (stem or sample) + "\n")

    return plant


def move_to_list(split):
    def plant(root, stem):
        train = root / "imagesets/train.txt"
        train.write_text(train.read_text().replace(f"{stem}\n", ""))
        add_to_list(split)(root, stem)

    return plant


def shift_z(rows):
    moved = np.add(rows, [0, 0, 16, 0])
    return moved[moved[:, 2] < 32]


def turn_camera(rows):
    return np.diag([-1.0, 1.0, -1.0]) @ rows


def stretch(rows):
    return rows * [1.02, 1.02, 1.02, 1.0]


def turn_left(rows):
    return np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]]) @ rows


def jump(text):
    words = text.split(" ")
    words[1] = str(float(words[1]) + 500.0)
    return " ".join(words)


def wrap_half(picture):
    wrapped = picture.copy()
    wrapped[:, ::2] = 65_000
    return wrapped


def raise_half(picture):
    return np.where(picture > 0, picture + 3 * 256, 0).astype(np.uint16)


FAULTS = {
    "a label is gone": (remove(layout.DEPTHS), ERROR, "missing_file", layout.DEPTHS),
    "a cloud is gone": (remove(layout.CLOUDS), ERROR, "missing_file", layout.CLOUDS),
    "a pose is gone": (remove(layout.VEHICLE_INFOS), ERROR, "missing_file", layout.VEHICLE_INFOS),
    "a cloud is cut": (cut(layout.CLOUDS), ERROR, "format", layout.CLOUDS),
    "an image is cut": (cut(layout.IMAGES), ERROR, "format", layout.IMAGES),
    "a local map is cut": (cut(layout.LOCAL_MAPS), ERROR, "format", layout.LOCAL_MAPS),
    "a label off the grid": (
        edit_rows(lambda rows: np.add(rows, [0, 0, 32, 0])), ERROR, "format", layout.OCCUPANCY,
    ),
    "a class of no name": (
        edit_rows(lambda rows: np.add(rows, [0, 0, 0, 12])), ERROR, "format", layout.OCCUPANCY,
    ),
    "depths of 8 bits": (
        edit_picture(layout.DEPTHS, lambda p: p.astype(np.uint8)), ERROR, "format", layout.DEPTHS,
    ),
    "no unit quaternion": (
        edit_text(layout.VEHICLE_INFOS, lambda t: t.replace("e-01\n", "e+01\n")),
        ERROR, "format", layout.VEHICLE_INFOS,
    ),
    "an empty caption": (
        edit_text(layout.CAPTIONS, lambda _: ""), ERROR, "format", layout.CAPTIONS,
    ),
    "a blank caption": (
        edit_text(layout.CAPTIONS, lambda _: " \n"), WARNING, "caption", layout.CAPTIONS,
    ),
    "a blank image": (
        edit_picture(layout.IMAGES, lambda p: np.full_like(p, 9)), WARNING, "image", layout.IMAGES,
    ),
    "an empty cloud": (
        edit_array(layout.CLOUDS, "<f4", lambda p: p[:1]), WARNING, "points", layout.CLOUDS,
    ),
    "a cloud in millimeters": (
        edit_array(layout.CLOUDS, "<f4", lambda p: 1000 * p), ERROR, "format", layout.CLOUDS,
    ),
    "a stretched camera": (
        edit_key("Tr_velo_to_cam", stretch), ERROR, "format", layout.CALIBS,
    ),
    "a mirrored IMU": (
        edit_key("R0_rect", lambda rows: rows * [1, 1, 1.01]), ERROR, "format", layout.CALIBS,
    ),
    "a camera that looks back": (
        edit_key("Tr_velo_to_cam", turn_camera), ERROR, "points_in_view", layout.CALIBS,
    ),
    "no focal length": (
        edit_key("P2", lambda rows: rows * [[0], [1], [1]]), ERROR, "format", layout.CALIBS,
    ),
    "labels too high": (edit_rows(shift_z), ERROR, "points_near_occupied", layout.OCCUPANCY),
    "a voxel twice": (
        edit_rows(lambda rows: np.vstack([rows, rows[:1]])),
        WARNING, "voxels_twice", layout.OCCUPANCY,
    ),
    "a map in the IMU's frame": (
        edit_array(layout.LOCAL_MAPS, "<f4", lambda p: np.add(p, [0.3, 0.1, 2.65])),
        ERROR, "points_near_map", layout.LOCAL_MAPS,
    ),
    "depths in other units": (
        edit_picture(layout.DEPTHS, lambda p: p // 2), ERROR, "depth_agrees", layout.DEPTHS,
    ),
    "no depth at all": (
        edit_picture(layout.DEPTHS, lambda p: 0 * p), ERROR, "depth_labeled", layout.DEPTHS,
    ),
    "depths of another size": (
        edit_picture(layout.DEPTHS, lambda p: p[::2, ::2]), ERROR, "depth_size", layout.DEPTHS,
    ),
    "heights that wrapped": (
        edit_picture(layout.ELEVATION, wrap_half), WARNING, "elevation_wrapped", layout.ELEVATION,
    ),
    "heights 3 m too low": (
        edit_picture(layout.ELEVATION, raise_half), ERROR, "elevation_agrees", layout.ELEVATION,
    ),
    "another frame's pose": (
        edit_text(layout.VEHICLE_INFOS, lambda t: t.replace("84.778", "84.278")),
        ERROR, "stamp", layout.VEHICLE_INFOS,
    ),
    "a pose that jumps": (
        edit_text(layout.VEHICLE_INFOS, jump), ERROR, "pose_jump", layout.VEHICLE_INFOS,
    ),
    "an IMU turned once": (
        edit_key("Tr_velo_to_imu", turn_left), WARNING, "tr_velo_to_imu", layout.CALIBS,
    ),
    "a frame in two splits": (
        add_to_list("val"), ERROR, "split_overlap", "imagesets/val.txt",
    ),
    "a frame twice in a split": (
        add_to_list("train"), ERROR, "split_repeats", "imagesets/train.txt",
    ),
    "a frame in two scenes": (
        edit_info(lambda info, stem: info.update(other={"samples": [stem]})),
        ERROR, "scene_overlap", "imagesets/scene_info.json",
    ),
}  # fmt: skip


def test_a_sound_data_set_has_no_findings(sound):
    report = check_dataset(sound, workers=1, progress=False)
    assert report.findings == ()
    assert report.is_sound
    assert (report.frames, report.labeled, report.scenes) == (4, 2, 1)
    assert report.files[layout.OCCUPANCY] == 2
    assert report.splits == {"train": 2, "val": 0, "test": 0}
    assert report.split_source == "lists"
    assert report.rules == {"extrinsic": 1}
    assert report.image_sizes == {"96×60": 4}
    # Two rows of background in each of two labels; truck, terrain and driveable besides.
    assert report.voxels[0] == 4
    assert np.flatnonzero(report.voxels).tolist() == [0, 2, 10, 11]
    assert len(report.measures["points"]) == 4
    assert len(report.measures["depth_agrees"]) == 2
    # By construction: returns, map, labels and depths are cut out of the same boxes.
    assert report.measures["points_near_map"].min() > 0.99
    assert report.measures["points_near_occupied"].min() > 0.99
    assert report.measures["depth_agrees"].min() > 0.98


@pytest.mark.parametrize("fault", FAULTS)
def test_each_planted_fault_is_the_one_that_is_found(root, fault):
    plant, level, check, place = FAULTS[fault]
    plant(root, SAMPLE)
    report = check_dataset(root, workers=1, progress=False)
    path = place if "/" in place else layout.relative_path(place, SAMPLE)
    found = [(f.level, f.check, f.path, f.stem) for f in report.findings if f.level is level]
    assert found == [(level, check, path, SAMPLE)]  # An error may come with warnings.
    assert report.is_sound == (level is WARNING)
    assert str(root) not in report.findings[0].message


def test_a_list_that_cuts_a_scene_is_warned_of(root):
    move_to_list("val")(root, SAMPLE)
    [finding] = check_dataset(root, workers=1, progress=False).findings
    assert (finding.level, finding.check, finding.path) == (
        WARNING, "scene_cut", "imagesets/val.txt",
    )  # fmt: skip
    assert "'scene_00000' is also in 'train'" in finding.message


def test_a_listed_frame_without_files(root):
    add_to_list("val", "12.5")(root, SAMPLE)
    [finding] = check_dataset(root, workers=1, progress=False).findings
    assert (finding.check, finding.path, finding.stem) == ("unknown_frame", "imagesets", "12.5")


def test_a_label_without_recording(root):
    shutil.copy(path_of(root, layout.OCCUPANCY, SAMPLE), path_of(root, layout.OCCUPANCY, "7.5"))
    findings = check_dataset(root, workers=1, progress=False).findings
    assert [(f.level, f.check, f.path) for f in findings if f.stem == "7.5"] == [
        (ERROR, "no_recording", "occ/7.5.npy"),
        (WARNING, "copy", "occ/7.5.npy"),
    ]


def test_broken_scenes_are_one_error(root):
    (root / "imagesets/scene_info.json").write_text("{")
    report = check_dataset(root, workers=1, progress=False)
    findings = [f for f in report.findings if f.check != "unlisted_frame"]  # The sweeps.
    assert [(f.check, f.path) for f in findings] == [("format", "imagesets/scene_info.json")]
    assert (report.scenes, report.rules) == (0, {})


def test_an_image_of_another_size(root):
    for folder in (layout.IMAGES, layout.DEPTHS):
        edit_picture(folder, lambda p: np.pad(p, [(0, 2)] + [(0, 0)] * (p.ndim - 1)))(root, SAMPLE)
    [finding] = check_dataset(root, workers=1, progress=False).findings
    assert (finding.level, finding.check, finding.stem) == (WARNING, "image_size", SAMPLE)


@pytest.mark.parametrize(
    ("folder", "level"), [(layout.CALIBS, ERROR), (layout.LOCAL_MAPS, WARNING)]
)
def test_a_folder_that_is_not_there(root, folder, level):
    shutil.rmtree(root / folder)
    [finding] = check_dataset(root, workers=1, progress=False).findings
    assert (finding.level, finding.check, finding.path) == (level, "folder", folder)


def test_poses_in_the_calibration_are_recognised_and_followed(tmp_path):
    scenes = {"scene_00000": "location_1"}
    write_tiny_unscenes3d(
        tmp_path, scenes=scenes, labels=False, imagesets=("scene_info",),
        calibration_holds_pose=True,
    )  # fmt: skip
    edit_key("Tr_velo_to_imu", lambda rows: np.add(rows, [0, 0, 0, 300.0]))(tmp_path, SAMPLE)
    report = check_dataset(tmp_path, workers=1, progress=False)
    assert report.rules == {"pose": 1}
    jumps = [(f.check, f.path) for f in report.findings if f.level is ERROR and f.stem == SAMPLE]
    assert jumps == [("pose_jump", layout.relative_path(layout.CALIBS, SAMPLE))]


def test_two_processes_find_the_same(root):
    remove(layout.DEPTHS)(root, SAMPLE)
    alone, together = (check_dataset(root, workers=n, progress=False).to_json() for n in (1, 2))
    assert alone == together
    json.dumps(alone)


def test_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no data set at"):
        check_dataset(tmp_path / "none", progress=False)
    (tmp_path / "pictures").mkdir()
    with pytest.raises(FileNotFoundError, match=r"none of the folders.*\['pictures'\]"):
        check_dataset(tmp_path, progress=False)
