"""Which frames of a folder that grows are complete."""

import os
from types import SimpleNamespace

import pytest

from engine.prediction import arrivals as module
from engine.prediction.arrivals import WATCHED, Arrivals, Side

START_S = 1_700_000_000.0


@pytest.fixture
def clock(monkeypatch):
    """Clocks that stand still; ``wall_s`` is that of the files, ``monotonic_s`` never jumps."""
    now = SimpleNamespace(wall_s=START_S, monotonic_s=50.0)
    fake = SimpleNamespace(time=lambda: now.wall_s, monotonic=lambda: now.monotonic_s)
    monkeypatch.setattr(module, "time", fake)
    return now


@pytest.fixture
def folders(tmp_path, clock):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    return tmp_path


def sides(folders):
    return Arrivals([Side(folders / name, (".bin", ".png")) for name in ("a", "b")])


def write(path, content=b"1", at_s=START_S):
    path.write_bytes(content)
    os.utime(path, (at_s, at_s))


def arrive(folders, *stems, at_s=START_S):
    for stem in stems:
        for name in ("a", "b"):
            write(folders / name / f"{stem}.bin", at_s=at_s)


def stems_of(found):
    return [arrival.stem for arrival in found]


def test_a_frame_is_complete_when_its_files_stop_growing(folders, clock):
    arrivals = sides(folders)
    write(folders / "a/1.bin")
    write(folders / "a/.2.bin")
    write(folders / "b/.2.bin")
    assert arrivals.poll() == arrivals.poll() == []
    write(folders / "b/1.bin", b"")
    assert arrivals.poll() == arrivals.poll() == []  # Empty.
    write(folders / "b/1.bin", b"1")
    assert arrivals.poll() == []
    write(folders / "b/1.bin", b"12")
    assert arrivals.poll() == []
    write(folders / "b/1.bin", b"34", at_s=START_S + 1)
    assert arrivals.poll() == []
    (arrival,) = arrivals.poll()
    assert arrival.stem == "1"
    assert arrival.paths == (folders / "a/1.bin", folders / "b/1.bin")
    assert arrivals.poll() == []


def test_frames_come_in_the_order_of_time(folders):
    arrivals = sides(folders)
    arrive(folders, "10.5", "9.0", "100")
    arrivals.poll()
    assert stems_of(arrivals.poll()) == ["9.0", "10.5", "100"]


def test_the_time_of_writing_is_within_the_last_two_looks(folders, clock):
    arrivals = sides(folders)
    arrive(folders, "old", at_s=START_S - 86_400)
    arrivals.poll()
    (there_at_the_start,) = arrivals.poll()
    assert there_at_the_start.written_s == 50
    clock.monotonic_s += 4
    clock.wall_s += 4
    arrive(folders, "true", at_s=START_S + 3)
    arrive(folders, "copied", at_s=START_S - 86_400)
    arrive(folders, "ahead", at_s=START_S + 86_400)
    arrivals.poll()
    clock.monotonic_s += 1
    clock.wall_s -= 3600  # The clock is set.
    written = {arrival.stem: arrival.written_s for arrival in arrivals.poll()}
    assert written == {"true": 53, "copied": 50, "ahead": 54}


def test_files_may_be_deleted_at_any_time(folders, monkeypatch):
    arrivals = sides(folders)
    arrive(folders, "1", "2", "3")
    (folders / "a/3.bin").unlink()
    (folders / "a/3.bin").symlink_to("nowhere")
    assert arrivals.poll() == []
    (folders / "a/1.bin").unlink()
    look = Side.look

    def look_and_delete(side):
        found = look(side)
        (folders / "b/2.bin").unlink(missing_ok=True)  # Between the listing and the look.
        return found

    monkeypatch.setattr(Side, "look", look_and_delete)
    assert arrivals.poll() == arrivals.poll() == []


def test_a_ring_buffer_may_use_names_again(folders):
    arrivals = sides(folders)
    for _ in range(2):
        arrive(folders, "1")
        assert arrivals.poll() == []
        assert stems_of(arrivals.poll()) == ["1"]
        for name in ("a", "b"):
            (folders / name / "1.bin").unlink()
        assert arrivals.poll() == []


def test_nothing_is_kept_of_files_that_are_gone(folders):
    arrivals = sides(folders)
    for number in range(3 * WATCHED):
        write(folders / "a" / f"{number}.bin")  # Without its counterpart.
        arrivals.poll()
        (folders / "a" / f"{number}.bin").unlink()
    arrivals.poll()
    kept = [arrivals._waiting, arrivals._seen, *(side.files for side in arrivals._sides)]
    assert not any(kept)


def test_a_frame_whose_file_grows_after_all_comes_again(folders, caplog):
    arrivals = sides(folders)
    for stem in ("1", "2"):
        arrive(folders, stem)
        arrivals.poll()
        assert stems_of(arrivals.poll()) == [stem]
    for content in (b"12", b"123"):
        write(folders / "b/1.bin", content)
        assert arrivals.poll() == []
        assert stems_of(arrivals.poll()) == ["1"]
        assert arrivals.poll() == []
    assert caplog.text.count("frame 1: a file changed after the frame was read") == 1


def test_a_file_that_is_converted_counts_with_its_new_suffix(folders):
    arrivals = sides(folders)
    write(folders / "a/1.bin")
    write(folders / "b/1.bin")
    arrivals.poll()
    write(folders / "a/1.PNG")
    (folders / "a/1.bin").unlink()
    assert arrivals.poll() == []
    (arrival,) = arrivals.poll()
    assert [path.name for path in arrival.paths] == ["1.PNG", "1.bin"]


def test_a_folder_that_is_gone_is_named(folders):
    arrivals = sides(folders)
    (folders / "b").rmdir()
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*/b'"):
        arrivals.poll()
