import os
import shutil

import cv2
import numpy as np
import pytest
import torch

from dataset import layout
from dataset.arrays import InputOptions
from dataset.reading import Reading
from dataset.recording import Recording, files_by_stem
from dataset.sample import Loss, collate
from dataset.unscenes3d import UnScenes3D
from tests.recording_files import json_rig, write_json_rig, write_recording

OPTIONS = InputOptions((30, 48), max_range_m=110.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("recording")
    write_recording(root)
    return root


@pytest.fixture
def root(tmp_path, source):
    """A copy that may be changed."""
    return shutil.copytree(source, tmp_path / "recording")


def open_all(root, **changes):
    paths = dict(images=root / "images", clouds=root / "clouds", calibration=root / "calib.txt")
    return Recording(OPTIONS, **(paths | changes))


def test_frames_are_those_of_the_same_files_in_the_layout(source):
    fields = ("images", "points", "pixel_from_lidar")
    expected = UnScenes3D(
        source / "layout", "all", Reading(layout.LABEL_GRID, fields, image_size=(30, 48))
    )
    recording = open_all(source)
    assert recording.stems == expected.stems
    assert recording.scenes == ["", ""]
    assert len(recording) == 2
    for found, sample in zip((recording[0], recording[1]), expected, strict=False):
        for field in fields:
            assert torch.equal(getattr(found, field), getattr(sample, field)), field


def test_one_sensor_alone_will_do(source):
    sample = Recording(OPTIONS, clouds=source / "clouds")[0]
    assert sample.images is None
    assert len(sample.points) > 100
    images = dict(images=source / "images", calibration=source / "calib.txt")
    assert Recording(OPTIONS, **images)[1].points is None


def test_points_are_brought_to_the_networks_frame_and_keep_their_pixels(source, tmp_path):
    shift = np.eye(4)
    shift[2, 3] = -1.0
    content = json_rig(network_from_lidar=shift.tolist())
    moved = open_all(source, calibration=write_json_rig(tmp_path / "calib.json", content))[0]
    still = open_all(source)[0]
    torch.testing.assert_close(moved.points[:, 2], still.points[:, 2] - 1.0)
    homogeneous = [
        torch.cat([s.points[:, :3], torch.ones(len(s.points), 1)], 1) for s in (moved, still)
    ]
    pixels = [h @ s.pixel_from_lidar[0].T for h, s in zip(homogeneous, (moved, still), strict=True)]
    torch.testing.assert_close(*pixels, rtol=1e-4, atol=1e-3)


def test_several_cameras_lie_in_folders_of_their_names(root, tmp_path):
    content = json_rig()
    content["cameras"]["rear"] = content["cameras"]["front"]
    calibration = write_json_rig(root / "calib.json", content)
    with pytest.raises(ValueError, match=r"each camera.*'front', 'rear'.*found"):
        open_all(root, calibration=calibration)
    images = tmp_path / "cameras"
    for name in ("front", "rear"):
        shutil.copytree(root / "images", images / name)
    sample = open_all(root, images=images, calibration=calibration)[0]
    assert sample.images.shape == (2, 3, 30, 48)
    assert sample.pixel_from_lidar.shape == (2, 4, 4)
    (images / "rear" / f"{sample.stem}.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"rear lacks 1 of 2"):
        open_all(root, images=images, calibration=calibration)


def test_unpaired_files_are_told_and_stems_choose_the_paired_ones(root):
    stems = open_all(root).stems
    next((root / "images").glob(f"{stems[0]}*")).unlink()
    with pytest.raises(FileNotFoundError, match=rf"images lacks 1 of 2: {stems[0]}.*--stems"):
        open_all(root)
    assert open_all(root, stems=stems[1:]).stems == stems[1:]
    with pytest.raises(ValueError, match="have no frames x"):
        open_all(root, stems=["x"])


def test_stems_keep_the_order_asked_for(source):
    stems = open_all(source).stems
    assert open_all(source, stems=[stems[1], stems[0], stems[1]]).stems == stems[::-1]


def test_a_recording_of_nothing_is_rejected(source):
    with pytest.raises(ValueError, match="images, of clouds, or both"):
        Recording(OPTIONS)
    with pytest.raises(ValueError, match="images need a calibration"):
        Recording(OPTIONS, images=source / "images")


def test_images_need_a_camera(source, tmp_path):
    path = write_json_rig(tmp_path / "calib.json", {"cameras": {}})
    with pytest.raises(ValueError, match="has no camera"):
        open_all(source, calibration=path)


def test_deep_images_are_scaled_by_the_calibrations_white_level(root):
    for path in sorted((root / "images").iterdir()):
        deep = cv2.imread(str(path)).astype(np.uint16) * 16  # 12 bits in 16.
        path.unlink()
        cv2.imwrite(str(path.with_suffix(".PNG")), deep)
    with pytest.raises(ValueError, match=r"8 bits per channel.*image_max in calib\.json \(4095"):
        open_all(root)[0]
    calibration = write_json_rig(root / "calib.json", json_rig(image_max=4080))
    found = open_all(root, calibration=calibration)[0].images
    for path in sorted((root / "images").iterdir()):
        cv2.imwrite(str(path), cv2.imread(str(root / f"layout/images/{path.stem}.jpg")))
    assert torch.equal(found, open_all(root)[0].images)


def test_images_of_two_sizes_under_one_calibration_are_rejected(root):
    path = sorted((root / "images").iterdir())[1]
    cv2.imwrite(str(path), cv2.imread(str(path))[::2, ::2])
    with pytest.raises(ValueError, match=r"images: expected .*one size.*jpg 96×60, .*jpg 48×30"):
        open_all(root)
    assert len(open_all(root, stems=[path.stem])) == 1


@pytest.mark.parametrize("kind", ["pipe", "loop"])
def test_what_is_no_file_is_named_and_not_waited_for(root, kind):
    path = root / "clouds" / "3.5.bin"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to(path)
    with pytest.raises(ValueError, match=rf"{path}: expected a file, found .* a named pipe"):
        open_all(root)


def test_hidden_files_beside_each_file_are_no_frames(root):
    for folder in ("images", "clouds"):
        for path in list((root / folder).iterdir()):
            (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert len(open_all(root)) == 2


def test_files_by_stem(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder .* not found"):
        files_by_stem(tmp_path / "a", (".bin",))
    with pytest.raises(FileNotFoundError, match="has no file"):
        files_by_stem(tmp_path, (".bin",))
    for name in (".hidden", "1.5.BIN", "2.pcd.bin"):
        (tmp_path / name).touch()
    assert sorted(files_by_stem(tmp_path, (".pcd.bin", ".bin"))) == ["1.5", "2"]
    (tmp_path / "2.bin").touch()
    with pytest.raises(ValueError, match="several files for the frames 2"):
        files_by_stem(tmp_path, (".pcd.bin", ".bin"))
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"found notes.txt"):
        files_by_stem(tmp_path, (".bin",))


@pytest.mark.parametrize("empty", [True, False])
def test_a_frame_may_lack_a_sensor_if_allowed(root, empty):
    first, second = open_all(root).stems
    for name in (f"images/{first}.jpg", f"clouds/{second}.bin"):
        (root / name).unlink()
        if empty:
            (root / name).touch()
    with pytest.raises(
        ValueError if empty else FileNotFoundError, match=r"an empty file|--allow-missing"
    ):
        [sample.stem for sample in open_all(root)]
    blind, deaf = open_all(root, allow_missing=True)
    assert (blind.images, blind.lost) == (None, (Loss.NO_IMAGE,))
    assert (deaf.points, deaf.lost) == (None, (Loss.NO_CLOUD,))
    assert collate([blind, deaf]).sensors == ["lidar", "camera"]


def test_a_frame_without_any_sensor_is_an_error(root):
    first, _ = open_all(root).stems
    (root / f"images/{first}.jpg").write_bytes(b"")
    (root / f"clouds/{first}.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"frame {first} has nothing to predict from"):
        open_all(root, allow_missing=True)[0]


def test_a_cloud_of_no_points_is_lost(root):
    first, _ = open_all(root).stems
    (root / f"clouds/{first}.bin").unlink()
    header = "VERSION .7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
    header += "WIDTH 0\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 0\nDATA binary\n"
    (root / f"clouds/{first}.pcd").write_text(header)
    assert open_all(root)[0].lost == (Loss.NO_POINTS,)
    assert open_all(root, allow_missing=True)[0].points is None


def test_one_of_several_cameras_is_black_where_it_is_missing(root, tmp_path):
    content = json_rig()
    content["cameras"]["rear"] = content["cameras"]["front"]
    calibration = write_json_rig(tmp_path / "calib.json", content)
    for camera in ("front", "rear"):
        shutil.copytree(root / "images", tmp_path / "cameras" / camera)
    stem = open_all(root).stems[0]
    (tmp_path / f"cameras/rear/{stem}.jpg").unlink()
    paths = dict(images=tmp_path / "cameras", calibration=calibration)
    sample = open_all(root, **paths, allow_missing=True)[0]
    assert sample.lost == (Loss.SOME_IMAGES,)
    assert sample.images[0].any()
    assert not sample.images[1].any()
    (tmp_path / f"cameras/front/{stem}.jpg").unlink()
    assert open_all(root, **paths, allow_missing=True)[0].lost == (Loss.NO_IMAGE,)
