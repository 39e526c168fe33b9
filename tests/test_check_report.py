import json

import numpy as np
import pytest

from dataset.check.findings import Finding, Level
from dataset.check.report import Report


def finding(level, check, number):
    return Finding(level, check, f"occ/{number}.npy", f"{number}.0", f"message {number}")


@pytest.fixture
def report():
    voxels = np.zeros(12, np.int64)
    voxels[[0, 2, 11]] = 50, 25, 75
    return Report(
        root="data",
        files={"occ": 1234},
        frames=5,
        labeled=4,
        scenes=2,
        splits={"train": 3, "val": 1},
        split_source="region",
        rules={"extrinsic": 2},
        image_sizes={"96×60": 5},
        voxels=voxels,
        measures={"points_near_map": np.array([0.5, 0.9, 0.7])},
        findings=(
            *(finding(Level.ERROR, "format", i) for i in range(5)),
            finding(Level.WARNING, "voxels", 7),
        ),
    )


def test_table_counts_measures_classes_and_findings(report):
    text = report.table()
    assert "data: 5 frames, 4 expected to have labels" in text
    assert "occ 1,234" in text
    assert "train 3, val 1 (by region)" in text
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert rows["truck"] == ["25", "25.0000", "%"]
    assert rows["(background)"] == ["50"]
    [line] = [line for line in text.splitlines() if line.startswith("points within 0.3 m")]
    assert " ".join(line.split()).endswith("90.0 % at least 60.0 %, median − 12.0 %")


def test_table_names_three_findings_of_a_kind_and_counts_the_others(report):
    lines = report.table().splitlines()
    start = lines.index("5 errors:")
    assert lines[start + 1] == "  format (5)"
    assert lines[start + 2] == "    occ/0.npy (frame 0.0): message 0"
    assert lines[start + 5] == "    … and 2 more; --json lists all"
    assert lines[start + 6 :] == [
        "1 warnings:",
        "  voxels (1)",
        "    occ/7.npy (frame 7.0): message 7",
    ]


def test_json_has_everything(report):
    content = json.loads(json.dumps(report.to_json()))
    assert (content["errors"], content["warnings"]) == (5, 1)
    assert content["findings"][0] == {
        "level": "error",
        "check": "format",
        "path": "occ/0.npy",
        "stem": "0.0",
        "message": "message 0",
    }
    assert len(content["findings"]) == 6
    assert content["voxels"]["background"] == 50
    assert content["voxels"]["driveable_surface"] == 75
    spread = content["measures"]["points_near_map"]
    assert spread == {"lowest": 0.5, "median": pytest.approx(0.7), "highest": 0.9}


def test_warnings_alone_are_sound(report):
    assert not report.is_sound
    fields = vars(report) | {"findings": report.findings[-1:]}
    assert Report(**fields).is_sound


def test_a_data_set_without_labels(report):
    fields = vars(report) | {"voxels": np.zeros(12, np.int64), "measures": {}, "findings": ()}
    text = Report(**fields).table()
    assert "class" not in text
    assert "per frame" not in text
    assert text.endswith("0 errors\n0 warnings")
