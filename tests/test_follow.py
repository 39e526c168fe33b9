"""Prediction of frames as they arrive."""

import json
import os
import shutil
import threading
import time

import numpy as np
import pytest

import predict
from engine.prediction import follow
from engine.prediction.follow import Arrivals, Followed, Side
from tests.predict_config import write_config
from tests.recording_files import json_rig, write_json_rig, write_recording
from tests.trained import save_trained
from utils.config import load_config


@pytest.fixture
def recording(tmp_path):
    """A finished recording, and a folder for the one that grows, with the same calibration."""
    stems = write_recording(tmp_path / "done")
    live = tmp_path / "live"
    for name in ("images", "clouds"):
        (live / name).mkdir(parents=True)
    write_json_rig(live / "calib.json", json_rig(lidar_height_m=2.7, intensity_max=255))
    return tmp_path / "done", live, stems


def arrive(done, live, stem, *, name=None):
    """Copy the files of a frame, each whole at once, as a recorder should write them."""
    for folder, suffix in (("images", ".jpg"), ("clouds", ".bin")):
        partial = live / folder / f".{stem}.partial"
        shutil.copyfile(done / folder / f"{stem}{suffix}", partial)
        partial.rename(live / folder / f"{name or stem}{suffix}")


def words(tmp_path, live, *more):
    config = write_config(tmp_path)
    weights = save_trained(load_config(config), tmp_path / "weights.pth")
    return [
        *("--resume-from", str(weights), "--out", str(tmp_path / "out"), "--device", "cpu"),
        *("--format", "npy", "--follow", str(live), "--stop-after", "0.3", *more),
    ]


def run(tmp_path, live, *more):
    predict.main(predict.parse_arguments(words(tmp_path, live, *more)))


def test_frames_are_predicted_as_they_arrive(recording, tmp_path, capsys):
    done, live, stems = recording

    def record():
        for stem in stems:
            time.sleep(0.15)
            arrive(done, live, stem)

    recorder = threading.Thread(target=record)
    recorder.start()
    run(tmp_path, live)
    recorder.join()
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.npy")) == sorted(stems)
    text = capsys.readouterr().err
    assert f"{stems[0]}: 0." in text
    assert "s after its last file (read 0." in text
    assert "2 frames predicted, 0 skipped for newer ones; from the last file to the results" in text


def test_the_newest_frame_comes_first_and_older_ones_are_skipped(recording, tmp_path, capsys):
    done, live, stems = recording
    for stem in stems:
        arrive(done, live, stem)
    run(tmp_path, live)
    assert [path.stem for path in (tmp_path / "out").glob("*.npy")] == [max(stems, key=float)]
    assert "1 frames predicted, 1 skipped for newer ones" in capsys.readouterr().err


def test_predictions_are_those_of_the_finished_recording(recording, tmp_path):
    done, live, stems = recording
    arrive(done, live, stems[0])
    run(tmp_path, live)
    shutil.copy(live / "calib.json", done / "calib.json")
    options = words(tmp_path, live)[:8]
    options[3] = str(tmp_path / "whole")
    options += ["--images", str(done / "images"), "--clouds", str(done / "clouds")]
    predict.main(predict.parse_arguments([*options, "--calib", str(done / "calib.json")]))
    name = f"{stems[0]}.npy"
    np.testing.assert_array_equal(
        np.load(tmp_path / "out" / name), np.load(tmp_path / "whole" / name)
    )


def test_a_bad_frame_is_warned_of_and_left_out(recording, tmp_path, caplog):
    done, live, stems = recording
    arrive(done, live, stems[0], name="1")
    followed = Followed()
    (live / "clouds/2.bin").write_bytes(b"123")
    shutil.copyfile(done / f"images/{stems[1]}.jpg", live / "images/2.jpg")
    run(tmp_path, live)
    assert "frame 2 is left out: " in caplog.text
    followed.failed = 1
    assert str(followed) == "0 frames predicted, 0 skipped for newer ones, 1 unreadable"


def test_a_frame_is_complete_when_its_files_stop_growing(tmp_path):
    arrivals = Arrivals([Side(tmp_path / name, (".bin",)) for name in ("a", "b")])
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/1.bin").write_bytes(b"12")
    (tmp_path / "a/.2.bin").write_bytes(b"12")
    assert arrivals.poll() == arrivals.poll() == []
    (tmp_path / "b/1.bin").touch()
    assert arrivals.poll() == arrivals.poll() == []  # Empty.
    (tmp_path / "b/1.bin").write_bytes(b"1")
    assert arrivals.poll() == []
    (tmp_path / "b/1.bin").write_bytes(b"12")
    os.utime(tmp_path / "a/1.bin", (4, 4))
    os.utime(tmp_path / "b/1.bin", (5, 5))
    assert arrivals.poll() == []
    (arrival,) = arrivals.poll()
    assert arrival.stem == "1"
    assert arrival.paths == (tmp_path / "a/1.bin", tmp_path / "b/1.bin")
    assert arrival.written_s == 5
    assert arrivals.poll() == []


def test_interruption_ends_with_the_summary(recording, tmp_path, capsys, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(follow.time, "sleep", interrupt)
    run(tmp_path, recording[1])
    assert "stopped\n0 frames predicted, 0 skipped for newer ones" in capsys.readouterr().err


def test_what_is_missing_is_named(recording, tmp_path):
    _, live, _ = recording
    (live / "clouds").rmdir()
    with pytest.raises(FileNotFoundError, match=r"lacks the folders \['.*live/clouds'\]"):
        run(tmp_path, live)
    (live / "calib.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no calib\.json and no calib\.txt"):
        run(tmp_path, live)


def test_options_that_are_not_for_it_are_rejected(recording, tmp_path):
    with pytest.raises(ValueError, match="leave out --allow-missing and --split"):
        run(tmp_path, recording[1], "--split", "val", "--allow-missing")
    with pytest.raises(ValueError, match="leave out --batch-size"):
        run(tmp_path, recording[1], "--batch-size", "2")
    arguments = words(tmp_path, recording[1])
    del arguments[8:10]
    with pytest.raises(ValueError, match="--stop-after is for --follow"):
        predict.main(predict.parse_arguments(arguments))


def test_each_camera_has_its_folder(tmp_path):
    rig = json_rig()
    rig["cameras"]["back"] = rig["cameras"]["front"]
    (tmp_path / "clouds").mkdir()
    for name in ("front", "back"):
        (tmp_path / "images" / name).mkdir(parents=True)
    (tmp_path / "calib.json").write_text(json.dumps(rig))
    frames = follow.LiveFrames(load_config(write_config(tmp_path)), tmp_path)
    assert [side.folder.name for side in frames.sides] == ["front", "back", "clouds"]
