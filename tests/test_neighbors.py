import numpy as np
import pytest
import torch

from dataset.neighbors import neighbors_of, stack_views


def test_nearest_in_time_come_first_and_stay_in_their_scene():
    scenes = ["a", "b", "a", "a", "b", "a"]
    times = [3.0, 1.0, 1.0, 4.0, 2.0, 2.0]  # In time: a is 2, 5, 0, 3 and b is 1, 4.
    assert neighbors_of(scenes, times, 1) == [[5], [4], [5], [0], [1], [2]]
    assert neighbors_of(scenes, times, 2) == [[5, 3], [4], [5, 0], [0, 5], [1], [2, 0]]
    assert neighbors_of(scenes, times, 9)[2] == [5, 0, 3]


def test_a_lone_frame_has_none_where_others_have_some():
    assert neighbors_of(["a", "b", "a"], [0, 1, 2], 2) == [[2], [], [0]]


def test_scenes_of_one_frame_each_are_rejected():
    with pytest.raises(ValueError, match=r"each of the 2 scenes has only one frame \(a, b\)"):
        neighbors_of(["a", "b"], [0, 1], 1)
    with pytest.raises(ValueError, match=r"no frame is 5 m from another .* a smaller spacing"):
        neighbors_of(["a", "a", "b"], [0, 1, 2], 1, positions_m=np.zeros((3, 3)), spacing_m=5.0)
    with pytest.raises(ValueError, match="must be positive, got 0"):
        neighbors_of(["a", "a"], [0, 1], 0)


def test_views_that_are_not_there_have_no_depth():
    matrix, depth_m = np.full((2, 4, 4), 3.0), np.full((2, 5, 6), 7.0, np.float32)
    views = stack_views([matrix], [depth_m], count=3, cameras=2, size=(5, 6))
    assert views.pixel_from_lidar.shape == (3, 2, 4, 4)
    assert views.depth_m.shape == (3, 2, 5, 6)
    assert views.pixel_from_lidar.dtype == views.depth_m.dtype == torch.float32
    assert (views.pixel_from_lidar[0] == 3).all()
    assert (views.depth_m[0] == 7).all()
    assert not views.depth_m[1:].any()
    assert torch.linalg.inv(views.pixel_from_lidar[1:]).isfinite().all()


def test_frames_too_close_to_the_one_before_are_passed_over():
    scenes, times = ["a"] * 6 + ["b"] * 2, list(range(8))
    x = np.array([0.0, 1.0, 1.5, 3.0, 5.0, 5.0, 0.0, 0.5])  # The vehicle stands at the end.
    positions_m = np.stack([x, 0 * x, 0 * x], axis=1)

    def spaced(count):
        return neighbors_of(scenes, times, count, positions_m=positions_m, spacing_m=1.5)

    assert spaced(4) == [[2, 3, 4], [3, 4], [0, 3, 4], [2, 4, 0], [3, 2, 0], [3, 2, 0], [], []]
    assert spaced(1) == [[2], [3], [0], [2], [3], [3], [], []]
