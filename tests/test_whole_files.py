import json

import pytest

from utils.whole_files import new_file, write_json, write_whole


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "film.mp4"
    with new_file(path, ending=".mp4") as partial:
        partial.write_text("half")
        assert partial.parent == path.parent
        assert partial.suffix == ".mp4"
        assert partial.name.startswith(".")
        assert not path.exists()
    assert [file.name for file in path.parent.iterdir()] == ["film.mp4"]


def test_what_fails_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    with pytest.raises(TypeError), new_file(path) as partial, partial.open("wb") as file:
        file.write("no bytes")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_and_text_are_written(tmp_path):
    write_whole(tmp_path / "a", b"\x00\xff")
    write_whole(tmp_path / "b", "ä\n")
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_bytes() == "ä\n".encode()


def test_json_is_written_whole(tmp_path):
    write_json({"miou": 0.5}, tmp_path / "best.json")
    assert json.loads((tmp_path / "best.json").read_text()) == {"miou": 0.5}
    assert len(list(tmp_path.iterdir())) == 1
