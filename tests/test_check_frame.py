import numpy as np
import pytest

from dataset import layout
from dataset.check.findings import FrameReport
from dataset.check.frame import (
    FrameContent,
    check_frame,
    check_image,
    check_occupancy,
    check_texts,
    read_frame,
)
from dataset.formats import VehicleInfo
from dataset.sample import VehicleState
from tests.layout_files import write_tiny_unscenes3d


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_tiny_unscenes3d(root, scenes={"scene_00000": "location_1"}, frames=1, sweeps=0)
    return root


STEM = "1689903584.278848"


def vehicle(stamp_s):
    return VehicleInfo(stamp_s, np.eye(4), VehicleState((0.0,) * 3, (0.0,) * 3))


def test_every_folder_is_read_into_its_field(root):
    report = FrameReport(STEM)
    frame = read_frame(root, layout.SUFFIXES, report)
    assert report.findings == []
    assert all(value is not None for value in vars(frame).values())
    assert len(vars(frame)) == len(layout.SUFFIXES)
    assert frame.image.shape == (60, 96, 3)
    assert read_frame(root, [layout.CAPTIONS], report) == FrameContent(caption=frame.caption)


def test_a_file_that_goes_missing_on_the_way_is_an_error(root):
    report = FrameReport("7.5")
    assert read_frame(root, [layout.CLOUDS], report) == FrameContent()
    [finding] = report.findings
    assert (finding.check, finding.path) == ("format", "clouds/7.5.bin")


def test_what_is_not_there_is_not_checked(root):
    report = check_frame(root, STEM, [layout.OCCUPANCY])
    assert set(report.measures) == {"voxels", "road_ahead"}
    assert report.findings == []
    assert check_frame(root, STEM, []).measures == {}


def test_classes_are_counted_and_an_almost_empty_label_is_warned_of():
    report = FrameReport("1")
    rows = np.array([[0, 0, 0, 2], [0, 0, 1, 2], [0, 1, 0, 11], [9, 9, 9, 0]])
    check_occupancy(FrameContent(rows=rows), report)
    assert report.voxels.tolist() == [1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert [finding.check for finding in report.findings] == ["voxels"]


@pytest.mark.parametrize(
    ("stem", "stamp_s", "found"),
    [("12.5", 12.5, []), ("12.5", 12.59, []), ("12.5", 12.7, ["stamp"]), ("first", 12.5, [])],
)
def test_stamps_are_those_of_the_frame(stem, stamp_s, found):
    report = FrameReport(stem)
    check_texts(FrameContent(vehicle=vehicle(stamp_s)), report)
    assert [finding.check for finding in report.findings] == found
    np.testing.assert_array_equal(report.world_from_imu, np.eye(4))


@pytest.mark.parametrize("color", [(0, 0, 0), (200, 10, 90)])
def test_an_image_of_a_single_color_is_warned_of(color):
    image = np.zeros((60, 96, 3), np.uint8) + np.uint8(color)
    report = FrameReport("1.0")
    check_image(FrameContent(image=image), report)
    [finding] = report.findings
    assert "single color" in finding.message
