import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.checkpoint.files import save_atomically
from utils.whole_files import (
    name_full_disk,
    name_read_only_folder,
    new_file,
    remove_leftovers,
    write_json,
    write_whole,
)

NO_SPACE = OSError(errno.ENOSPC, "No space left on device")
PIXELS = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
GONE = 2**22 + 1
"""A process id above the largest that Linux gives."""


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


def write_array(path):
    with new_file(path) as partial:
        PIXELS.tofile(partial)


def write_image(path):
    with new_file(path) as partial:
        Image.fromarray(PIXELS).save(partial, format="png")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_whole(path, PIXELS.tobytes()),
        lambda path: save_atomically({"weight": torch.zeros(100_000)}, path),
        write_array,
        write_image,
    ],
    ids=["bytes", "torch", "numpy", "PIL"],
)
def test_a_full_disk_is_named_with_the_file(tmp_path, write):
    path = tmp_path / "latest.pth"
    path.write_text("old")
    # What is written goes to the device that is always full.
    (tmp_path / f".latest.pth.{os.getpid()}.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device|written") as error:
        write(path)
    assert str(path) in str(error.value)
    assert "partial" not in str(error.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_without_a_reason_is_explained_by_a_full_disk(tmp_path, monkeypatch):
    def fail():
        with new_file(tmp_path / "a.png"):
            raise RuntimeError("unexpected pos 64")

    with pytest.raises(RuntimeError, match="unexpected pos 64"):
        fail()
    monkeypatch.setattr("utils.whole_files.FULL_BYTES", 2**62)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.png'"):
        fail()


def test_numpy_errors_name_the_file(tmp_path):
    message = "48 requested and 8 written"
    with pytest.raises(OSError, match=rf"a\.npy: {message}"), new_file(tmp_path / "a.npy"):
        raise OSError(message)


def test_only_errors_that_name_no_file_get_one():
    message = "No space left on device: 'out/run'"
    with pytest.raises(OSError, match=message), name_full_disk("out/run"):
        raise RuntimeError("enforce fail") from NO_SPACE
    for error in (OSError(errno.ENOSPC, "No space", "a.pth"), RuntimeError("a bug")):
        with pytest.raises(type(error)) as found, name_full_disk("out/run"):
            raise error from NO_SPACE if isinstance(error, OSError) else None
        assert found.value is error


def test_a_read_only_folder_is_named_and_not_the_hidden_file(tmp_path):
    hidden = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".a.1.partial"))
    with pytest.raises(PermissionError) as error, name_read_only_folder(tmp_path):
        raise hidden
    assert error.value.filename == str(tmp_path)
    assert error.value.strerror == "cannot write here: Permission denied"
    with pytest.raises(PermissionError) as error, name_read_only_folder(tmp_path / "other"):
        raise hidden
    assert error.value is hidden


def test_leftovers_of_processes_that_are_gone_are_removed(tmp_path):
    left = [f".latest.pth.{GONE}.partial", f".film.mp4.{GONE}.partial.mp4"]
    left.append(f".latest.pth.{os.getpid()}.partial")  # Of a process with this id, before a kill.
    kept = [f".latest.pth.{os.getppid()}.partial", "latest.pth", ".a.partial", f"a.{GONE}.partial"]
    for name in (*left, *kept):
        (tmp_path / name).write_text("")
    assert {path.name for path in remove_leftovers(tmp_path)} == set(left)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)
    assert remove_leftovers(Path(tmp_path / "nowhere")) == []
