import functools
import operator
from itertools import chain

import numpy as np
import pytest

from dataset.sample import SampleKey
from engine.build.sampler import EpochBatches, EvalIndices


def indices(batches: EpochBatches) -> list[list[int]]:
    return [[draw.index for draw in batch] for batch in batches]


def test_an_epoch_has_every_frame_once_in_an_order_of_its_own():
    batches = EpochBatches(range(7), 3, seed=0)
    first = indices(batches)
    assert [len(batch) for batch in first] == [3, 3, 1]
    assert len(batches) == 3
    assert sorted(functools.reduce(operator.iadd, first, [])) == list(range(7))
    assert indices(batches) == first
    batches.start_at(1)
    assert indices(batches) != first
    assert indices(EpochBatches(range(7), 3, seed=1)) != first


def test_draws_carry_the_epoch():
    batches = EpochBatches(range(2), 2, seed=0)
    batches.start_at(5)
    (batch,) = batches
    assert all(isinstance(draw, SampleKey) and draw.epoch == 5 for draw in batch)


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_an_epoch_may_start_in_its_middle(start):
    batches = EpochBatches(range(7), 3, seed=0)
    whole = indices(batches)
    batches.start_at(0, start)
    assert indices(batches) == whole[start:]
    assert len(batches) == 3


def test_processes_share_an_epoch_and_get_as_many_batches():
    shares = [EpochBatches(range(7), 2, seed=0, rank=rank, world_size=3) for rank in range(3)]
    seen = [functools.reduce(operator.iadd, indices(share), []) for share in shares]
    assert [len(share) for share in shares] == [2, 2, 2]
    assert [len(frames) for frames in seen] == [3, 3, 3]  # 9 = 7 and the first two again
    assert set(functools.reduce(operator.iadd, seen, [])) == set(range(7))


def test_more_processes_than_frames():
    shares = [EpochBatches(range(1), 2, seed=0, rank=rank, world_size=3) for rank in range(3)]
    assert [indices(share) for share in shares] == [[[0]], [[0]], [[0]]]


def test_an_empty_split_is_rejected():
    with pytest.raises(ValueError, match="no frames"):
        EpochBatches([], 1, seed=0)


REPEATS = np.array([1.0, 1.0, 2.3, 1.0, 3.5, 1.0, 1.25])


def repeated(epoch=0, **options):
    batches = EpochBatches(range(7), 3, seed=0, repeats=REPEATS, **options)
    batches.start_at(epoch)
    return batches


def test_frames_come_as_often_as_their_factor():
    assert len(repeated()) == 4  # 11.05 draws, so 12.
    counts = np.zeros(7)
    for epoch in range(400):
        drawn = np.bincount(list(chain.from_iterable(indices(repeated(epoch)))), minlength=7)
        assert drawn.sum() == 12
        # Between floor and ceiling of the factor, stretched from 11.05 to 12 draws.
        assert (drawn >= np.floor(REPEATS * 12 / 11.05)).all()
        assert (drawn <= np.ceil(REPEATS * 12 / 11.05)).all()
        counts += drawn
    # Four standard deviations of the mean of 400 rounded numbers.
    np.testing.assert_allclose(counts / 400, REPEATS * 12 / 11.05, atol=0.1)


def test_repeats_of_a_frame_have_keys_of_their_own():
    keys = list(chain.from_iterable(repeated(5)))
    assert len(set(keys)) == len(keys) == 12
    assert all(key.epoch == 5 for key in keys)
    of_one = sorted(key.repeat for key in keys if key.index == 4)
    assert of_one == list(range(len(of_one)))


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_a_repeated_epoch_may_start_in_its_middle(start):
    whole = list(repeated(2))
    part = repeated()
    part.start_at(2, start)
    assert list(part) == whole[start:]


def test_processes_share_a_repeated_epoch():
    whole = list(chain.from_iterable(repeated(1)))
    shares = [list(chain.from_iterable(repeated(1, rank=rank, world_size=5))) for rank in range(5)]
    assert [len(share) for share in shares] == [3] * 5  # 15 = 12 and the first three again.
    assert [key for group in zip(*shares, strict=True) for key in group] == whole + whole[:3]


def test_factors_of_one_are_an_ordinary_epoch():
    batches = EpochBatches(range(7), 3, seed=0, repeats=np.ones(7))
    assert sorted(chain.from_iterable(indices(batches))) == list(range(7))
    assert len(batches) == 3


def test_evaluation_counts_each_frame_once():
    shares = [EvalIndices(range(5), rank=rank, world_size=2) for rank in range(2)]
    assert [list(share) for share in shares] == [[0, 2, 4], [1, 3]]
    assert [len(share) for share in shares] == [3, 2]
    assert list(EvalIndices(range(3))) == [0, 1, 2]
    assert list(EvalIndices(range(1), rank=1, world_size=2)) == []


def test_the_layout_is_what_decides_the_frames_of_a_batch():
    batches = EpochBatches(range(5), 2, seed=3, rank=1, world_size=2)
    assert batches.layout() == {"frames": 5, "batch size": 2, "processes": 2, "seed": 3}
