import ctypes
import resource
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dataset.sample import Sample
from engine.build import loader
from engine.build.loader import FrameLoader, tensors_of

# Where a machine has fewer cores than these tests have workers, PyTorch says so.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


class Frames:
    """Frames of one megabyte, which say how often they are read."""

    def __init__(self):
        self.reads = 0

    def __len__(self):
        return 4

    def __getitem__(self, key):
        self.reads += 1
        return torch.zeros(250_000)


@pytest.fixture
def free_megabytes(monkeypatch):
    """Set the free shared memory, and start no processes."""
    usage = namedtuple("usage", "free")

    def set_free(free):
        monkeypatch.setattr(loader.shutil, "disk_usage", lambda path: usage(free * 1_000_000))

    monkeypatch.setattr(DataLoader, "__iter__", lambda self: iter(["started"]))
    return set_free


def test_batches_that_do_not_fit_are_refused_with_numbers(free_megabytes):
    free_megabytes(11)
    frames = FrameLoader(Frames(), num_workers=3, batch_size=2)
    with pytest.raises(ValueError) as error:  # noqa: PT011  The message is compared below.
        iter(frames)
    assert str(error.value) == (
        "/dev/shm has 11 MB free, but data loader workers need 12 MB: 3 workers × 2 batches of "
        "2.0 MB. Start Docker with a larger --shm-size or with --ipc host, or lower "
        "runtime.num_workers (0 reads in the training process)"
    )


def test_batches_that_fit_are_checked_once(free_megabytes):
    free_megabytes(12)
    frames = Frames()
    found = FrameLoader(frames, num_workers=3, batch_size=2)
    assert list(found) == list(found) == ["started"]
    assert frames.reads == 1
    assert (found.timeout, found.prefetch_factor) == (loader.TIMEOUT_S, loader.PREFETCH)


def test_all_processes_of_a_machine_count(free_megabytes, monkeypatch):
    free_megabytes(12)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="need 24 MB: 2 processes × 3 workers × 2 batches"):
        iter(FrameLoader(Frames(), num_workers=3, batch_size=2))


def test_frames_without_batches_are_checked(free_megabytes):
    free_megabytes(3)
    with pytest.raises(ValueError, match=r"need 4 MB: 2 workers × 2 batches of 1\.0 MB"):
        iter(FrameLoader(Frames(), num_workers=2, batch_size=None))


def test_nothing_is_checked_without_workers_frames_or_shared_memory(
    free_megabytes, monkeypatch, tmp_path
):
    free_megabytes(0)
    assert list(FrameLoader(Frames(), num_workers=0)) == ["started"]
    assert list(FrameLoader(Frames(), num_workers=2, batch_size=1, sampler=[])) == ["started"]
    monkeypatch.setattr(loader, "SHARED_MEMORY", tmp_path / "nowhere")
    assert list(FrameLoader(Frames(), num_workers=2)) == ["started"]


def test_tensors_are_found_at_any_depth():
    points, second, third = torch.zeros(1, 4), torch.zeros(2), torch.zeros(3)
    value = (Sample(stem="a", points=points), [{"b": second}, None, 3], third, "text")
    assert [len(tensor) for tensor in tensors_of(value)] == [1, 2, 3]


class LargeArrays:
    """Frames that fill arrays as large as decoded images, and count the new pages of memory."""

    def __len__(self):
        return 2

    def __getitem__(self, key):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(5):
            decoded = [np.ones(size, np.uint8) for size in (7_000_000, 5_000_000, 2_000_000)]
            del decoded
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="without glibc")
def test_workers_reuse_the_memory_of_freed_arrays():
    first, second = FrameLoader(LargeArrays(), num_workers=1, batch_size=None)
    assert second < 100 < first
