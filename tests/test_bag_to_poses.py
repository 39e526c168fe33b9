"""From a bag without poses to a recording with poses, as docs/custom_data.md describes."""

import json

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed")
pytest.importorskip("kiss_icp", reason="kiss-icp is not installed")

from dataset.odometry import tracking
from dataset.recorded_poses import POSES, read_poses
from tests.drive_files import scene, sweep, true_poses
from tests.rosbag_files import PERIOD_NS, START_NS, Entry, Messages, structured, write_bag
from tools import convert_rosbag, estimate_poses

FRAMES = 6


def test_from_a_bag_without_poses_to_a_recording_with_poses(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "START_SPEEDS_MPS", (8.0,))  # One trial is quicker.
    messages = Messages()
    poses = true_poses(FRAMES)
    world = scene()
    entries = []
    for index, pose in enumerate(poses):
        points = sweep(world, pose, index)
        times_s = np.linspace(-0.04, 0.04, len(points))
        points[:, 0] -= 8.0 * times_s
        rows = np.hstack([points, np.full((len(points), 1), 50.0)])
        stamp_ns = START_NS + index * PERIOD_NS
        cloud = messages.cloud(stamp_ns, structured(rows, time=times_s.astype("<f4")))
        entries.append(Entry("/points", cloud, stamp_ns))
    bag = write_bag(tmp_path / "drive", messages, entries)
    out = tmp_path / "recording"
    words = [str(bag), "--out", str(out), "--clouds", "/points", "--point-times"]
    convert_rosbag.main(convert_rosbag.parse_arguments(words))
    assert not (out / POSES).exists()
    estimate_poses.main(estimate_poses.parse_arguments([str(out), "--workers", "1"]))
    assert json.loads((out / "poses.json").read_text())["motion_corrected"] is True
    found = read_poses(out / POSES)
    assert list(found) == sorted(path.stem for path in (out / "clouds").iterdir())
    np.testing.assert_allclose(np.stack(list(found.values())), poses, atol=0.1)
