"""tools/estimate_poses.py on a drive whose poses are known."""

import json
import sys

import numpy as np
import pytest

from dataset.odometry import estimate, tracking
from dataset.recorded_poses import POSES, read_poses, write_poses
from tests.drive_files import true_poses, write_drive
from tools import estimate_poses

FRAMES = 6


@pytest.fixture
def kiss(monkeypatch):
    """kiss-icp, with one trial at the start, which is quicker."""
    pytest.importorskip("kiss_icp", reason="kiss-icp is not installed")
    monkeypatch.setattr(tracking, "START_SPEEDS_MPS", (8.0,))


@pytest.fixture
def drive(tmp_path):
    write_drive(tmp_path / "drive", true_poses(FRAMES))
    return tmp_path / "drive"


def run(recording, *flags):
    words = [str(recording), "--workers", "1", *flags]
    estimate_poses.main(estimate_poses.parse_arguments(words))
    return json.loads((recording / "poses.json").read_text())


def errors_m(recording, poses):
    found = np.stack(list(read_poses(recording / POSES).values()))
    return np.linalg.norm(found[:, :3, 3] - poses[:, :3, 3], axis=1)


@pytest.mark.usefixtures("kiss")
def test_poses_of_a_drive(drive, capsys):
    expected = r"clouds, frame 17.*: expected an overlap .* 100%, found .*--min-overlap"
    with pytest.raises(ValueError, match=expected):
        run(drive, "--min-overlap", "1")
    assert not (drive / POSES).exists()
    content = run(drive)  # Quick, as only the bound differs.
    assert errors_m(drive, true_poses(FRAMES)).max() < 0.03
    assert content["estimated"] is True
    assert content["versions"].keys() == {"kiss-icp", "numpy"}
    assert content["quality"]["frames"] == FRAMES
    assert content["quality"]["overlap_lowest"] > 0.7
    assert content["quality"]["length_m"] == pytest.approx(0.8 * (FRAMES - 1), abs=0.05)
    assert "6 poses over 4" in capsys.readouterr().out
    assert sorted(path.name for path in drive.iterdir()) == [
        "calib.json", "clouds", "poses.json", "poses.txt"
    ]  # fmt: skip
    first = (drive / POSES).read_bytes()
    run(drive)  # Estimated poses may be replaced, and become the same.
    assert (drive / POSES).read_bytes() == first


@pytest.mark.usefixtures("kiss")
def test_a_drive_may_start_fast(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "START_SPEEDS_MPS", (0.0, 15.0))
    poses = true_poses(4, speed_mps=14.0)
    write_drive(tmp_path, poses)
    run(tmp_path)
    assert errors_m(tmp_path, poses).max() < 0.1


@pytest.mark.usefixtures("kiss")
def test_stretches_are_joined_and_an_interrupted_run_resumes(drive, monkeypatch):
    monkeypatch.setattr(estimate, "STRETCH", 2)
    monkeypatch.setattr(estimate, "SHARED", 3)
    one = estimate._estimate_stretch
    calls = []

    def fail_on_second(part, options):
        calls.append(part)
        if len(calls) == 2:
            raise KeyboardInterrupt
        one(part, options)

    monkeypatch.setattr(estimate, "_estimate_stretch", fail_on_second)
    with pytest.raises(KeyboardInterrupt):
        run(drive)
    assert not (drive / POSES).exists()
    run(drive)
    assert len(calls) == 3  # One of two stretches was kept.
    assert errors_m(drive, true_poses(FRAMES)).max() < 0.03


@pytest.mark.usefixtures("kiss")
def test_measured_poses_are_kept(drive):
    measured = {"1": np.eye(4)}
    write_poses(drive / POSES, measured)
    with pytest.raises(ValueError, match=r"poses\.txt: expected no poses, found measured ones"):
        run(drive)
    run(drive, "--overwrite")
    assert list(read_poses(drive / "poses_measured.txt")) == ["1"]
    # Poses that were put there later are measured again.
    write_poses(drive / POSES, measured)
    with pytest.raises(ValueError, match=r"poses_measured\.txt: expected no earlier backup"):
        run(drive, "--overwrite")


@pytest.mark.usefixtures("kiss")
def test_motion_within_a_sweep_is_corrected(tmp_path):
    """Clouds of a LiDAR that moves 0.8 m while it turns, with the times of the points."""
    poses = true_poses(FRAMES)
    for stem in write_drive(tmp_path, poses):
        path = tmp_path / "clouds" / f"{stem}.bin"
        rows = np.fromfile(path, "<f4").reshape(-1, 4)
        times_s = -np.arctan2(rows[:, 1:2], rows[:, :1]) / (2 * np.pi) * 0.1
        rows[:, :1] -= 8.0 * times_s
        np.hstack([rows, times_s]).astype("<f4").tofile(path)
    rig = {"cameras": {}, "intensity_max": 255, "columns": 5, "time_column": 5}
    (tmp_path / "calib.json").write_text(json.dumps(rig))
    with pytest.raises(ValueError, match=r"calib\.json: expected no time_column with --spin"):
        run(tmp_path, "--spin", "0.1")
    content = run(tmp_path)
    assert content["motion_corrected"] is True
    assert errors_m(tmp_path, poses).max() < 0.1


def test_stems_must_be_times(drive, monkeypatch):
    monkeypatch.setattr("dataset.odometry.tracking.tracker_version", lambda: "0")
    clouds = sorted((drive / "clouds").iterdir())
    for index, path in enumerate(clouds):
        path.rename(path.with_name(f"{index:06d}.bin"))
    with pytest.raises(ValueError, match=r"less than 1 s apart, found 1 s\. .* --stem-unit 0\.1"):
        run(drive)
    (drive / "clouds/000001.bin").rename(drive / "clouds/first.bin")
    with pytest.raises(ValueError, match="expected times as names, in seconds, found first"):
        run(drive)
    for path in (drive / "clouds").glob("0*.bin"):
        path.unlink()
    with pytest.raises(ValueError, match="expected at least 2 clouds, found 1"):
        run(drive)


def test_a_missing_kiss_icp_is_named(drive, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "kiss_icp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "kiss_icp", None)
    with pytest.raises(ValueError, match=r"kiss-icp, which is not installed .*: pip install -r"):
        run(drive)
