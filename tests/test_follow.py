"""Prediction of frames as they arrive."""

import json
import os
import shutil
from functools import partial

import numpy as np
import pytest
from PIL import Image

import predict
from engine.prediction import arrivals, follow
from engine.prediction.follow import Followed
from engine.prediction.predictor import build_unsocc
from tests.predict_config import write_config
from tests.recording_files import json_rig, write_json_rig, write_recording
from tests.trained import save_trained
from utils.config import load_config

START_S = 1_700_000_000.0


class Recorder:
    """Copies a finished recording file by file, while the predictor waits.

    Only waiting moves the clocks on, so that nothing depends on how fast the machine is.

    Attributes:
        done: The finished recording.
        live: The folder that grows, with a calibration.
        stems: Frames of the recording.
        steps: What happens at the next waits, one after the other; None: nothing.
    """

    def __init__(self, folder, stems):
        self.done, self.live, self.stems = folder / "done", folder / "live", stems
        for name in ("images", "clouds"):
            (self.live / name).mkdir(parents=True)
        write_json_rig(self.live / "calib.json", json_rig(lidar_height_m=2.7, intensity_max=255))
        self.steps, self._now_s = [], START_S

    def time(self):
        return self._now_s

    monotonic = time

    def sleep(self, seconds):
        step = self.steps.pop(0) if self.steps else None
        if step is not None:
            step()
        self._now_s += seconds

    def arrive(self, stem, *, name=None):
        """Copy the files of a frame."""
        for folder, suffix in (("images", ".jpg"), ("clouds", ".bin")):
            path = self.live / folder / f"{name or stem}{suffix}"
            shutil.copyfile(self.done / folder / f"{stem}{suffix}", path)
            os.utime(path, (self._now_s, self._now_s))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with weights and a recording, and the frames of that."""
    folder = tmp_path_factory.mktemp("trained")
    save_trained(load_config(write_config(folder)), folder / "weights.pth")
    return folder, write_recording(folder / "done")


@pytest.fixture
def recorder(trained, tmp_path, monkeypatch):
    folder, stems = trained
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    recorder = Recorder(tmp_path, stems)
    for module in (follow, arrivals):
        monkeypatch.setattr(module, "time", recorder)
    return recorder


def words(tmp_path, *more):
    return [
        *("--resume-from", str(tmp_path / "weights.pth"), "--out", str(tmp_path / "out")),
        *(
            "--device",
            "cpu",
            "--format",
            "npy",
            "--follow",
            str(tmp_path / "live"),
            "--stop-after",
            "0.3",
            *more,
        ),
    ]


def run(tmp_path, *more):
    predict.main(predict.parse_arguments(words(tmp_path, *more)))


def predicted(tmp_path):
    return sorted(path.stem for path in (tmp_path / "out").glob("*.npy"))


def test_frames_are_predicted_as_they_arrive(recorder, tmp_path, capsys):
    for stem in recorder.stems:
        recorder.steps += [None, None, partial(recorder.arrive, stem)]
    run(tmp_path)
    assert predicted(tmp_path) == sorted(recorder.stems)
    text = capsys.readouterr().err
    # Seen at the next look, complete at the one after that.
    latency_s = f"{2 * follow.POLL_S:.3f} s after its last file (read 0.000, network 0.000, write"
    assert [f"{stem}: {latency_s}" in text for stem in recorder.stems] == [True, True]
    assert "2 frames predicted, 0 skipped for newer ones; from the last file to the results" in text


def test_the_newest_frame_comes_first_and_older_ones_are_skipped(recorder, tmp_path, capsys):
    for stem in recorder.stems:
        recorder.arrive(stem)
    run(tmp_path)
    assert predicted(tmp_path) == [max(recorder.stems, key=float)]
    assert "1 frames predicted, 1 skipped for newer ones" in capsys.readouterr().err


def test_predictions_are_those_of_the_finished_recording(recorder, tmp_path):
    done, stem = recorder.done, recorder.stems[0]
    recorder.arrive(stem)
    run(tmp_path)
    shutil.copy(recorder.live / "calib.json", done / "calib.json")
    options = words(tmp_path)[:8]
    options[3] = str(tmp_path / "whole")
    options += ["--images", str(done / "images"), "--clouds", str(done / "clouds")]
    predict.main(predict.parse_arguments([*options, "--calib", str(done / "calib.json")]))
    np.testing.assert_array_equal(
        np.load(tmp_path / f"out/{stem}.npy"), np.load(tmp_path / f"whole/{stem}.npy")
    )


def test_a_bad_frame_is_warned_of_and_left_out(recorder, tmp_path, caplog, capsys):
    def arrive_cut_off():
        recorder.arrive(recorder.stems[1], name="2")
        (recorder.live / "clouds/2.bin").write_bytes(b"123")

    recorder.steps = [
        arrive_cut_off,  # The first frame, from which the unit of the intensity is settled.
        *(None, None, partial(recorder.arrive, recorder.stems[0], name="1")),
        *(None, None, partial(os.truncate, recorder.live / "images/1.jpg", 700)),
    ]
    run(tmp_path)
    assert "frame 2 is left out: " in caplog.text
    assert "frame 1 is left out: " in caplog.text
    assert "cut off at byte 700" in caplog.text
    assert predicted(tmp_path) == ["1"]  # Before its image was cut off.
    assert "1 frames predicted, 0 skipped for newer ones, 2 unreadable" in capsys.readouterr().err


def test_other_files_of_the_recorder_play_no_part(recorder, tmp_path):
    (recorder.live / "clouds/1.bin.tmp").write_bytes(b"1")
    (recorder.live / "images/1.jpg.part").write_bytes(b"1")
    recorder.arrive(recorder.stems[0])
    run(tmp_path)
    assert predicted(tmp_path) == recorder.stems[:1]


def test_a_file_that_is_deleted_before_it_is_read_is_named(recorder, tmp_path, caplog, monkeypatch):
    read, path = follow.LiveFrames.read, recorder.live / f"clouds/{recorder.stems[0]}.bin"

    def delete_and_read(frames, arrival):
        path.unlink()
        return read(frames, arrival)

    monkeypatch.setattr(follow.LiveFrames, "read", delete_and_read)
    recorder.arrive(recorder.stems[0])
    run(tmp_path)
    assert f"is left out: point cloud {path} not found" in caplog.text


def test_an_image_of_another_size_is_left_out(recorder, tmp_path, caplog):
    path = recorder.done / f"images/{recorder.stems[1]}.jpg"
    with Image.open(path) as image:
        image.resize((48, 30)).save(path)
    for stem in recorder.stems:
        recorder.steps += [None, None, partial(recorder.arrive, stem)]
    run(tmp_path)
    assert predicted(tmp_path) == recorder.stems[:1]
    assert f"(frame {recorder.stems[1]}): expected an image of 96×60 pixels" in caplog.text
    assert "found 48×30" in caplog.text


def test_a_calibration_that_changes_is_warned_of_once(recorder, tmp_path, caplog):
    path = recorder.live / "calib.json"
    change = [partial(path.write_text, text) for text in ("{", "{}")]
    arrive = [partial(recorder.arrive, stem) for stem in recorder.stems]
    recorder.steps = [path.unlink, arrive[0], None, None, change[0], change[1], arrive[1]]
    recorder.steps += [None, None, partial(recorder.arrive, recorder.stems[0], name="3")]
    run(tmp_path)
    assert len(predicted(tmp_path)) == 3
    assert caplog.text.count(f"{path} has changed since the start") == 1


def test_an_empty_first_cloud_settles_nothing(recorder, tmp_path, caplog, capsys):
    def arrive_empty():
        recorder.arrive(recorder.stems[0])
        (recorder.live / f"clouds/{recorder.stems[0]}.bin").unlink()
        np.save(recorder.live / f"clouds/{recorder.stems[0]}.npy", np.zeros((0, 4), np.float32))

    write_json_rig(recorder.live / "calib.json", json_rig(lidar_height_m=2.7))
    later = partial(recorder.arrive, recorder.stems[1])
    recorder.steps = [arrive_empty, None, None, later]
    run(tmp_path)
    assert (
        "at least 200 points in the first cloud, to estimate intensity_max, found 0" in caplog.text
    )
    assert "so its range is taken to be 0–255" in caplog.text
    assert predicted(tmp_path) == [recorder.stems[1]]
    assert "1 unreadable" in capsys.readouterr().err

    write_json_rig(recorder.live / "calib.json", json_rig(lidar_height_m=2.7, intensity_max=255))
    (recorder.live / f"images/{recorder.stems[1]}.jpg").unlink()
    run(tmp_path)
    assert predicted(tmp_path) == recorder.stems, "nothing is left to estimate"


def test_a_blank_image_is_warned_of_once(recorder, tmp_path, caplog):
    for stem in recorder.stems:
        Image.new("RGB", (96, 60)).save(recorder.done / f"images/{stem}.jpg")
        recorder.steps += [None, None, partial(recorder.arrive, stem)]
    run(tmp_path)
    assert len(predicted(tmp_path)) == 2
    assert caplog.text.count("the image has a single color") == 1


@pytest.mark.parametrize("place", ["time.sleep", "FrameWriter.write"])
def test_interruption_ends_with_the_summary(recorder, tmp_path, capsys, monkeypatch, place):
    def interrupt(*_):
        raise KeyboardInterrupt

    recorder.arrive(recorder.stems[0])
    monkeypatch.setattr(f"engine.prediction.follow.{place}", interrupt)
    run(tmp_path)
    assert "stopped\n0 frames predicted, 0 skipped for newer ones" in capsys.readouterr().err


def test_what_is_missing_is_named(recorder, tmp_path):
    (recorder.live / "clouds").rmdir()
    with pytest.raises(FileNotFoundError, match=r"lacks the folders \['.*live/clouds'\]"):
        run(tmp_path)
    shutil.copy(recorder.done / "calib.txt", recorder.live)
    with pytest.raises(ValueError, match=r"has both calib\.txt and calib\.json: keep one"):
        run(tmp_path)
    (recorder.live / "calib.txt").unlink()
    write_json_rig(recorder.live / "calib.json", {"lidar_height_m": 2.7})
    with pytest.raises(ValueError, match=r"calib\.json has no camera, but the network needs"):
        run(tmp_path)
    (recorder.live / "calib.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no calib\.json and no calib\.txt"):
        run(tmp_path)


def test_options_that_are_not_for_it_are_rejected(recorder, tmp_path):
    with pytest.raises(ValueError, match="leave out --allow-missing and --split"):
        run(tmp_path, "--split", "val", "--allow-missing")
    with pytest.raises(ValueError, match="leave out --batch-size"):
        run(tmp_path, "--batch-size", "2")
    arguments = words(tmp_path)
    del arguments[8:10]
    with pytest.raises(ValueError, match="--stop-after is for --follow"):
        predict.main(predict.parse_arguments(arguments))


def test_each_camera_has_its_folder(trained, tmp_path):
    rig = json_rig()
    rig["cameras"]["back"] = rig["cameras"]["front"]
    (tmp_path / "clouds").mkdir()
    for name in ("front", "back"):
        (tmp_path / "images" / name).mkdir(parents=True)
    (tmp_path / "calib.json").write_text(json.dumps(rig))
    predictor = build_unsocc(trained[0] / "weights.pth", device="cpu")
    frames = follow.LiveFrames(load_config(write_config(tmp_path)), tmp_path, predictor)
    assert [side.folder.name for side in frames.sides] == ["front", "back", "clouds"]


def test_the_summary_is_one_line():
    followed = Followed(latencies_s=[0.1, 0.2, 0.3], skipped=4, failed=5)
    assert str(followed) == (
        "3 frames predicted, 4 skipped for newer ones, 5 unreadable; from the last file to the "
        "results 0.20 s (median), 0.28 s (p90)"
    )
