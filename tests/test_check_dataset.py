import json

import pytest

from tests.layout_files import write_tiny_unscenes3d
from tools import check_dataset


@pytest.fixture
def data(tmp_path):
    scenes = {"scene_00000": "location_1"}
    write_tiny_unscenes3d(
        tmp_path / "data", scenes=scenes, frames=1, sweeps=0, imagesets=("lists",)
    )
    return tmp_path / "data"


def test_a_sound_data_set_ends_well_and_is_written(data, tmp_path, capsys):
    out = tmp_path / "new/check.json"
    words = f"{data} --json {out} --workers 1"
    check_dataset.main(check_dataset.parse_arguments(words.split()))
    printed = capsys.readouterr().out
    assert "0 errors" in printed
    content = json.loads(out.read_text())
    assert (content["errors"], content["frames"], content["findings"]) == (0, 1, [])


def test_an_error_ends_with_status_1_after_the_report(data, tmp_path, capsys):
    next((data / "occ").iterdir()).write_bytes(b"none")
    out = tmp_path / "check.json"
    words = f"{data} --json {out} --workers 1"
    with pytest.raises(SystemExit) as ended:
        check_dataset.main(check_dataset.parse_arguments(words.split()))
    assert ended.value.code == 1
    assert "1 errors:" in capsys.readouterr().out
    assert json.loads(out.read_text())["errors"] == 1


def test_warnings_end_well(data, capsys):
    next((data / "image_caption").iterdir()).write_text(" ")
    check_dataset.main(check_dataset.parse_arguments([str(data), "--workers", "1"]))
    assert "1 warnings:" in capsys.readouterr().out


def test_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no data set at"):
        check_dataset.main(check_dataset.parse_arguments([str(tmp_path / "none")]))
