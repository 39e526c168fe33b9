"""Plants faults in a tiny data set: each is found at its file."""

import copy
import json

import pytest

from dataset import layout
from dataset.check.frame import check_frame
from dataset.check.run import compare_frames
from tests.layout_files import write_tiny_unscenes3d
from tests.planted_faults import FAULTS, Frames

CHOSEN = (
    "labels mirrored, y",
    "labels off in z, +1",
    "labels off in y, +3",
    "labels of the next frame",
    "classes permuted, 10 and 11",
    "labels cut in half",
    "cloud turned, y 2°",
    "cloud mirrored",
    "cloud in another layout, 5 columns of <f4",
    "cloud in another layout, 4 columns of <f8",
    "intensity in another unit, 0 to 1",
    "image flipped, left to right",
    "image in BGR",
    "camera turned, yaw 1°",
    "pose as wxyz",
    "pose mirrored",
    "pose off, 5 m",
    "depth flipped, left to right",
    "elevation off, -0.3 m",
    "local map of the next frame",
)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root = tmp_path_factory.mktemp("clean")
    write_tiny_unscenes3d(
        root, scenes={"scene_00000": "location_1"}, frames=4, sweeps=0, imagesets=("scene_info",)
    )
    info = json.loads((root / "imagesets/scene_info.json").read_text())
    stems = info["scene_00000"]["samples"]
    return root, stems, {stem: check_frame(root, stem, layout.SUFFIXES) for stem in stems}


def test_the_clean_data_set_has_no_findings(clean):
    _, stems, reports = clean
    reports = copy.deepcopy(reports)
    compare_frames(reports, dict.fromkeys(stems, "a"))
    assert [report.findings for report in reports.values()] == [[]] * len(stems)


@pytest.mark.parametrize("name", CHOSEN)
def test_a_planted_fault_is_found_at_its_file(clean, tmp_path, name):
    root, stems, reports = clean
    fault, stem = FAULTS[name], stems[1]
    for folder in layout.SUFFIXES:
        source = root / layout.relative_path(folder, stem)
        target = tmp_path / layout.relative_path(folder, stem)
        target.parent.mkdir()
        target.write_bytes(source.read_bytes())
    fault.plant(Frames(root, tmp_path, [stems]), stem)
    reports = copy.deepcopy(reports) | {stem: check_frame(tmp_path, stem, layout.SUFFIXES)}
    compare_frames(reports, dict.fromkeys(stems, "a"))
    paths = {finding.path for report in reports.values() for finding in report.findings}
    assert paths & {layout.relative_path(folder, stem) for folder in fault.folders}
