import pytest

from dataset.options import checked_crop, checked_size, checked_sweeps, restrict, spread


def test_restrict_keeps_the_order_asked_for():
    assert restrict(["a", "b", "c"], None, "val") == ["a", "b", "c"]
    assert restrict(["a", "b", "c"], ["c", "a", "c"], "val") == ["c", "a"]
    with pytest.raises(
        ValueError, match=r"2 of the requested stems .* 'val' of 2 frames: x, y; it"
    ):
        restrict(["a", "b"], ["a", "x", "y"], "val")


def test_an_unknown_frame_is_told_with_its_neighbors():
    with pytest.raises(ValueError, match=r"frames: 10.7; similar stems: \['10.5'\]"):
        restrict(["10.5", "99.9"], ["10.7"], "val")
    with pytest.raises(ValueError, match=r"it begins with \['b'\]"):
        restrict(["b", "c"], ["x"], "val")
    with pytest.raises(ValueError, match=r"of 0 frames.* it begins with \[\]"):
        restrict([], ["x"], "val")


def test_a_limit_spreads_over_all():
    assert spread("abcdefghi", 3) == ["a", "e", "i"]
    assert spread(range(3), 0) == spread(range(3), 3) == spread(range(3), 9) == [0, 1, 2]
    with pytest.raises(ValueError, match="got -1"):
        spread("ab", -1)


def test_sizes_and_crops():
    assert checked_size("image_size", [4, 6]) == (4, 6)
    assert checked_crop([0.0, 0.25, 1.0, 1.0]) == (0.0, 0.25, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"image_size must be \(height, width\) > 0, got \[4, 0\]"):
        checked_size("image_size", [4, 0])
    for size in (160, None, (4, 6, 8), "ab", ("4", "6"), (160.7, 256)):
        with pytest.raises(ValueError, match=r"image_size must be \(height, width\) > 0, got"):
            checked_size("image_size", size)
    with pytest.raises(ValueError, match=r"image_crop must be \(top, left, bottom, right\)"):
        checked_crop(0.5)
    for crop in ([0.5, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 1.1], [0.0, 0.6, 1.0, 0.4]):
        with pytest.raises(ValueError, match=r"image_crop must be \(top, left, bottom, right\)"):
            checked_crop(crop)


def test_a_frame_has_a_cloud_at_least():
    assert checked_sweeps(1) == 1
    with pytest.raises(ValueError, match="num_sweeps must be at least 1, got 0"):
        checked_sweeps(0)
