import torch

from model.voxel_keys import coordinates_of, distinct, keys_of, padding_key

SHAPE = (3, 4, 5)


def test_keys_are_in_the_order_of_frame_x_y_z():
    coordinates = torch.tensor([[0, 0, 0, 4], [0, 0, 1, 0], [0, 2, 3, 4], [1, 0, 0, 0]])
    keys = keys_of(coordinates.unbind(1), SHAPE)
    assert keys.tolist() == [4, 5, 59, 60]
    assert torch.equal(coordinates_of(keys, SHAPE), coordinates)
    assert padding_key(SHAPE, 1) == 60


def test_distinct_keys():
    keys = torch.tensor([7, 3, 99, 7, 3, 12, 60])
    found = distinct(keys, 60, None)
    assert found.keys.tolist() == [3, 7, 12]
    assert found.row.tolist() == [1, 0, 3, 1, 0, 2, 3]
    assert found.number == 3


def test_rows_past_the_last_key_are_padding():
    found = distinct(torch.tensor([7, 3, 7]), 60, 4)
    assert found.keys.tolist() == [3, 7, 60, 60]
    assert found.row.tolist() == [1, 0, 1]
    assert found.number == 2


def test_keys_that_find_no_room_are_counted():
    found = distinct(torch.tensor([9, 7, 3, 8, 60]), 60, 2)
    assert found.keys.tolist() == [3, 7]
    assert found.row.tolist() == [2, 1, 0, 2, 2]
    assert found.number == 4


def test_no_keys():
    for keys in (torch.zeros(0, dtype=torch.long), torch.tensor([60])):
        for size, expected in ((None, [60]), (2, [60, 60])):
            found = distinct(keys, 60, size)
            assert found.keys.tolist() == expected
            assert found.number == 0
