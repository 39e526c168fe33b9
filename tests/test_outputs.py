import argparse
import importlib
from pathlib import Path

import pytest

from utils.outputs import output_file, output_folder


def test_what_is_there_and_what_is_not_can_be_written_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text("{}")
    for name in ("a.json", "b.json", "new/folder/b.json", str(tmp_path / "c.json")):
        assert output_file(name) == Path(name)
    for name in (".", "new/folder", str(tmp_path)):
        assert output_folder(name) == Path(name)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (output_file, "folder", "folder is a folder; expected a file"),
        (output_file, "a.json/b.json", r"a\.json is a file; expected a folder"),
        (output_folder, "a.json", r"a\.json is a file; expected a folder"),
        (output_folder, "a.json/b/c", r"a\.json is a file; expected a folder"),
        (output_folder, "link/b", "link is a link that leads nowhere"),
    ],
)
def test_what_is_in_the_way_is_named(tmp_path, monkeypatch, kind, name, message):
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text("{}")
    Path("folder").mkdir()
    Path("link").symlink_to("gone")
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        kind(name)


def test_a_name_that_is_too_long_is_left_to_the_writer():
    name = 300 * "x"
    assert (output_file(name), output_folder(name)) == (Path(name), Path(name))


def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.outputs.os.access", lambda path, mode: False)
    with pytest.raises(argparse.ArgumentTypeError, match=f"the folder {tmp_path} is read-only"):
        output_folder(str(tmp_path / "new/run"))
    with pytest.raises(argparse.ArgumentTypeError, match=f"the folder {tmp_path} is read-only"):
        output_file(str(tmp_path / "scores.json"))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("train", "--py-config c.py --work-dir a.json"),
        ("predict", "--py-config c.py --resume-from w --out a.json"),
        ("eval_iou", "--py-config c.py --work-dir a.json"),
        ("eval_iou", "--py-config c.py --work-dir w --save-pred a.json"),
        ("eval_iou", "--py-config c.py --work-dir w --json folder"),
        ("eval_robustness", "--py-config c.py --resume-from w --out a.json"),
        ("eval_depth", "--py-config c.py --json folder"),
        ("eval_novel_depth", "--py-config c.py --json folder"),
        ("eval_elevation", "--py-config c.py --json folder"),
        ("eval_elevation", "--py-config c.py --pictures a.json"),
    ],
)
def test_scripts_say_so_before_they_work(tmp_path, monkeypatch, capsys, script, words):
    module = importlib.import_module(script)
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text("{}")
    Path("folder").mkdir()
    with pytest.raises(SystemExit) as end:
        module.parse_arguments(words.split())
    assert end.value.code == 2
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith(("expected a folder to write to", "expected a file to write"))
    )
