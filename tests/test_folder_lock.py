import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils.folder_lock import LOCK, locked

ROOT = Path(__file__).resolve().parents[1]
HOLD = """
import sys
from pathlib import Path
from utils.folder_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, **pipes) as holder:
        assert holder.stdout.readline() == b"held\n"
        message = rf"in use by process {holder.pid} on \w"
        with pytest.raises(ValueError, match=message), locked(tmp_path):
            pass
        holder.kill()
        holder.wait()
        partial = tmp_path / f".latest.pth.{holder.pid}.partial"
        partial.write_text("")
        with locked(tmp_path):
            assert (tmp_path / LOCK).read_text().startswith(f"process {os.getpid()} on ")
            assert not partial.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_created_and_can_be_locked_again(tmp_path):
    folder = tmp_path / "out/run"
    for _ in range(2):
        with locked(folder):
            assert (folder / LOCK).is_file()
    assert list(folder.iterdir()) == []


def test_a_lock_file_that_was_removed_meanwhile_does_not_count(tmp_path, monkeypatch):
    calls = []

    def lock(file, kind):
        calls.append(kind)
        if len(calls) == 1:
            (tmp_path / LOCK).unlink()

    monkeypatch.setattr(fcntl, "lockf", lock)
    with locked(tmp_path):
        assert len(calls) == 2
        assert (tmp_path / LOCK).is_file()


def test_a_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(file, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with locked(tmp_path):
        pass
    assert "its file system has no locks (No locks available)" in caplog.text


def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    def refuse(path, *_, **options):
        raise PermissionError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match="cannot write here") as error, locked(tmp_path):
        pass
    assert error.value.filename == str(tmp_path)
