"""The comparison of an exported network with the network."""

import numpy as np
import pytest
import torch

from engine.export.frames import RawFrame
from engine.export.parity import Parity, check, compare
from engine.export.signature import Signature
from tests.export_network import small_network


def counted(share, *, occupied=10):
    """Compare a grid of 10,000 voxels with one of which a share is the same."""
    ours = np.zeros((10, 10, 100), np.uint8)
    ours.flat[-occupied:] = 3
    theirs = ours.copy()
    theirs.flat[: round(10_000 * (1 - share))] = 5
    parity = Parity()
    parity.count("1.0", ours, ours)
    parity.count("2.0", ours, theirs)
    return parity


def test_counts_voxels_of_all_frames():
    parity = counted(0.98)
    assert (parity.runs, parity.voxels, parity.same) == (2, 20_000, 19_800)
    assert (parity.occupied, parity.same_occupied) == (10 + 210, 20)
    assert parity.worst == ("2.0", 0.98)
    assert "99.0000 % of 20,000 voxels in 2 runs" in str(parity)


def test_a_file_that_differs_is_refused():
    check(counted(0.999), "net.pt2", "fp32")
    check(counted(0.992), "net.pt2", "bf16")
    message = (
        r"net\.pt2 was not written: expected the class of the network in at least 99\.9 % of the "
        r"voxels in fp32, found 99\.6000 % \(frame 2\.0: 99\.2000 %\)"
    )
    with pytest.raises(ValueError, match=message):
        check(counted(0.992), "net.pt2", "fp32")


def test_frames_of_the_check_must_fit():
    parity = counted(1.0)
    parity.dropped = 7
    with pytest.raises(ValueError, match=r"7 occupied voxels .* have no room: raise --max-voxels"):
        check(parity, "net.pt2", "fp32")


def test_a_frame_is_compared_with_one_thread_and_with_all(tmp_path):
    _, _, predictor = small_network(tmp_path, sensors="lidar")
    points = np.array([[10.0, 0.0, -1.0, 0.5]], np.float32)
    frame = RawFrame("1.0", None, None, points)
    right = predictor.predict([frame.sample(predictor.inputs)])[0].occupancy
    before, used = torch.get_num_threads(), []

    def run(inputs):
        used.append(torch.get_num_threads())
        wrong = used[-1] == 1
        return [torch.from_numpy(right + wrong)]

    parity = compare(run, Signature("lidar", max_points=8, room=(8, 8)), predictor, [frame])
    assert used == [before, 1]
    assert torch.get_num_threads() == before
    assert parity.share == (0.5 if before > 1 else 0)
