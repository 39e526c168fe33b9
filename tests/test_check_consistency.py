import numpy as np
import pytest

from dataset import layout
from dataset.check.consistency import check_copies, check_scenes, common_findings
from dataset.check.findings import FrameReport
from dataset.check.images import FLIPS

RNG = np.random.default_rng(0)
VIEW = RNG.random((15, 24, 3)).astype(np.float32)
CAPTIONS = {
    "a": "A haul road under a clear sky beside a wall.",
    "b": "Two excavators load rock at dusk in dense dust.",
}


def drive(scenes=("a", "b"), frames=4):
    """Reports of two scenes, and the scene of each frame."""
    reports, scene_of = {}, {}
    for number, scene in enumerate(scenes):
        for i in range(frames):
            stem = f"{100 * number + i}.5"
            pose = np.eye(4)
            pose[0, 3] = 100 * number + i
            view = np.roll(VIEW, 7 * number, axis=1) + np.float32(0.01 * i)
            reports[stem] = FrameReport(
                stem,
                measures={"points": 1000.0 + i, "voxels": 500.0 - i},
                world_from_imu=pose,
                pixel_from_lidar=np.eye(4) * 400,
                thumbnail=view,
                view_fits=np.array([0.1, 0.02, 0.01, 0.0]),
                checksums={layout.CLOUDS: 100 * number + i, layout.ELEVATION: 7},
                caption=CAPTIONS[scene],
            )
            scene_of[stem] = scene
    return reports, scene_of


def found(reports):
    return [(f.check, f.path) for report in reports.values() for f in report.findings]


def test_a_sound_drive():
    reports, scene_of = drive()
    check_scenes(reports, scene_of)
    check_copies(reports)
    assert found(reports) == []
    assert common_findings(reports) == []


def test_a_calibration_that_differs_from_its_scene():
    reports, scene_of = drive()
    reports["1.5"].pixel_from_lidar = reports["1.5"].pixel_from_lidar + np.eye(4)
    check_scenes(reports, scene_of)
    assert found(reports) == [("calibration", "calibs/1.5.txt")]


def test_cameras_that_all_differ_are_calibrated_anew():
    reports, scene_of = drive()
    for i, report in enumerate(reports.values()):
        report.pixel_from_lidar = report.pixel_from_lidar + i * np.eye(4)
    check_scenes(reports, scene_of)
    assert found(reports) == []


@pytest.mark.parametrize(
    ("name", "path"), [("points", "clouds/2.5.bin"), ("voxels", "occ/2.5.npy")]
)
def test_half_a_file_is_incomplete(name, path):
    reports, scene_of = drive()
    reports["2.5"].measures[name] /= 2
    check_scenes(reports, scene_of)
    assert found(reports) == [("incomplete", path)]


@pytest.mark.parametrize("look", [*FLIPS.values(), lambda image: image[..., ::-1]])
def test_an_image_that_is_flipped_or_in_other_colors(look):
    reports, scene_of = drive()
    reports["2.5"].thumbnail = np.ascontiguousarray(look(reports["2.5"].thumbnail))
    check_scenes(reports, scene_of)
    assert found(reports) == [("other_image", "images/2.5.jpg")]


def test_an_image_of_another_scene():
    reports, scene_of = drive()
    reports["2.5"].thumbnail = reports["101.5"].thumbnail
    check_scenes(reports, scene_of)
    assert found(reports) == [("other_image", "images/2.5.jpg")]
    assert "Is it of another scene?" in reports["2.5"].findings[0].message


def test_a_caption_of_another_scene():
    reports, scene_of = drive()
    reports["2.5"].caption = CAPTIONS["b"]
    check_scenes(reports, scene_of)
    assert found(reports) == [("other_caption", "image_caption/2.5.txt")]


def test_captions_that_are_never_alike_are_not_compared():
    reports, scene_of = drive()
    for stem, report in reports.items():
        report.caption = f"word{stem} thing{stem} place{stem}"
    check_scenes(reports, scene_of)
    assert found(reports) == []


def test_copies_are_named_unless_the_vehicle_stands_still():
    reports, _ = drive()
    reports["2.5"].checksums[layout.CLOUDS] = reports["1.5"].checksums[layout.CLOUDS]
    check_copies(reports)
    assert found(reports) == [("copy", "clouds/1.5.bin"), ("copy", "clouds/2.5.bin")]
    assert "frame 1.5" in reports["2.5"].findings[0].message
    reports, _ = drive()
    reports["2.5"].checksums[layout.CLOUDS] = reports["1.5"].checksums[layout.CLOUDS]
    reports["2.5"].world_from_imu = reports["1.5"].world_from_imu
    check_copies(reports)
    assert found(reports) == []


def test_images_that_are_all_flipped_or_all_in_bgr():
    reports, _ = drive()
    for report in reports.values():
        report.view_fits = np.array([0.02, 0.1, 0.01, 0.0])
        report.thumbnail = np.tile(np.float32([0.6, 0.5, 0.4]), (15, 24, 1))
        report.thumbnail[7:] = 0.5
    mirrored, bgr = common_findings(reports)
    assert (mirrored.path, mirrored.stem, bgr.path) == ("images", "", "images")
    assert "mirrored left to right" in mirrored.message
    assert "BGR" in bgr.message


def test_a_few_frames_have_nothing_in_common():
    reports, _ = drive(("a",), 2)
    for report in reports.values():
        report.view_fits = np.array([0.02, 0.1, 0.01, 0.0])
    assert common_findings(reports) == []
