import pytest

from dataset import layout
from dataset.check.findings import FrameReport, Level
from dataset.check.measures import MEASURES, Measure


def test_findings_name_the_file_of_the_frame():
    report = FrameReport("12.5")
    report.error("format", layout.DEPTHS, "cut")
    report.warn("image", layout.IMAGES, "blank")
    assert [(f.level, f.check, f.path, f.stem, f.message) for f in report.findings] == [
        (Level.ERROR, "format", "depths/12.5.png", "12.5", "cut"),
        (Level.WARNING, "image", "images/12.5.jpg", "12.5", "blank"),
    ]


@pytest.mark.parametrize(
    ("value", "levels"),
    [(0.05, [Level.ERROR]), (0.3, []), (0.299, [Level.WARNING]), (0.6, []), (1.0, [])],
)
def test_a_measure_is_one_finding_at_most(value, levels, monkeypatch):
    advice = "Look at it"
    measure = Measure("share", layout.DEPTHS, (0.1, 2.0), (0.3, 2.0), advice)
    monkeypatch.setitem(MEASURES, "depth_agrees", measure)
    report = FrameReport("1")
    report.measure("depth_agrees", value)
    assert report.measures == {"depth_agrees": value}
    assert [finding.level for finding in report.findings] == levels
    for finding in report.findings:
        assert finding.check == "depth_agrees"
        assert finding.message.startswith(f"share {100 * value:.1f} %, expected ")
        assert finding.message.endswith(advice)


def test_frames_do_not_share_what_they_found():
    one, other = FrameReport("1"), FrameReport("2")
    one.error("format", layout.DEPTHS, "cut")
    one.voxels[3] += 1
    assert other.findings == []
    assert other.voxels.sum() == 0
