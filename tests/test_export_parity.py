"""The comparison of an exported network with the network."""

import numpy as np
import pytest

from engine.export.parity import Parity, check


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
    assert (parity.frames, parity.voxels, parity.same) == (2, 20_000, 19_800)
    assert (parity.occupied, parity.same_occupied) == (10 + 210, 20)
    assert parity.worst == ("2.0", 0.98)
    assert "99.0000 % of 20,000 voxels in 2 frames" in str(parity)


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
