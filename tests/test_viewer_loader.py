import threading

import pytest

from engine.viewer.loader import Loader, upcoming


def test_places_go_round():
    assert upcoming(3, 5, 3) == [3, 4, 0, 1]
    assert upcoming(0, 2, 6) == [0, 1]
    assert upcoming(0, 1, 0) == [0]


@pytest.fixture
def slow():
    """A loader whose reads wait for a permit, and the order in which they began."""
    began, permits = [], threading.Semaphore(0)

    def read(index):
        began.append(index)
        assert permits.acquire(timeout=60)
        if index == 13:
            raise ValueError("unlucky")
        return index * 10

    loader = Loader(read, keep=4)
    yield loader, began, permits
    loader.close()
    permits.release(50)


def test_reads_what_is_wanted_in_order_and_once(slow):
    loader, began, permits = slow
    permits.release(10)
    loader.want([2, 3])
    assert [loader.get(2), loader.get(3)] == [20, 30]
    loader.want([2, 3])
    assert loader.get(2) == 20
    assert began == [2, 3]
    assert loader.is_ready(3)
    assert not loader.is_ready(9)


def test_a_new_wish_comes_before_what_waits(slow):
    loader, began, permits = slow
    loader.want([0, 1, 2])
    while not began:
        pass
    loader.want([7, 1])  # 0 is being read; 2 is dropped
    permits.release(10)
    assert loader.get(7) == 70
    assert loader.get(1) == 10
    assert began == [0, 7, 1]


def test_only_the_last_ones_are_kept(slow):
    loader, began, permits = slow
    permits.release(20)
    for index in range(6):
        loader.want([index])
        loader.get(index)
    assert [loader.is_ready(index) for index in range(6)] == [False, False, True, True, True, True]
    loader.want([0])
    assert loader.get(0) == 0
    assert began.count(0) == 2


def test_never_more_than_are_kept_are_read(slow):
    loader, began, permits = slow
    permits.release(20)
    loader.want(list(range(8)))
    loader.get(3)
    assert began == [0, 1, 2, 3]


def test_an_error_is_raised_where_the_item_is_asked_for(slow):
    loader, _, permits = slow
    permits.release(3)
    loader.want([13, 1])
    with pytest.raises(ValueError, match="unlucky"):
        loader.get(13)
    assert loader.get(1) == 10


def test_something_must_be_kept():
    with pytest.raises(ValueError, match="keep must be at least 1"):
        Loader(str, keep=0)
