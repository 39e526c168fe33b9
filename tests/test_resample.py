"""The resize in PyTorch is that of OpenCV."""

import numpy as np
import pytest
import torch

from dataset.augmentation import Choices
from dataset.resample import Resample, area_taps, linear_taps
from dataset.transforms import ImageTransform, image_transform


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("recorded", "size", "crop"),
    [
        ((60, 96), (30, 48), (0.0, 0.0, 1.0, 1.0)),  # halves
        ((75, 120), (30, 48), (0.0, 0.0, 1.0, 1.0)),  # 2.5 rows and columns for one
        ((75, 120), (32, 64), (0.2, 0.1, 0.95, 1.0)),
        ((30, 48), (30, 48), (0.0, 0.0, 1.0, 1.0)),  # as it is
        ((20, 30), (32, 64), (0.0, 0.0, 1.0, 1.0)),  # enlarges
        ((75, 40), (32, 64), (0.0, 0.0, 1.0, 1.0)),  # enlarges one axis
    ],
)
def test_equals_opencv_but_for_rounding(recorded, size, crop):
    transform = image_transform(recorded, size, crop, Choices())
    pixels = image(*recorded)
    ours = Resample(transform)(torch.from_numpy(pixels)[None])[0].permute(1, 2, 0).numpy()
    assert ours.dtype == np.uint8
    difference = np.abs(ours.astype(int) - transform.image(pixels))
    assert difference.max() <= 1  # OpenCV rounds halves up, and interpolates with 11 bits.
    assert difference.mean() < 0.15


def test_a_worked_example():
    index, share = area_taps(5, 2)
    assert index.tolist() == [[0, 1, 2], [2, 3, 4]]
    assert share.tolist() == [pytest.approx([0.4, 0.4, 0.2]), pytest.approx([0.2, 0.4, 0.4])]
    index, share = linear_taps(2, 4)
    assert index.tolist() == [[0, 1], [0, 1], [0, 1], [1, 1]]
    assert share.tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [1, 0]]


def test_shares_sum_to_one():
    for taps, source, target in ((area_taps, 1200, 384), (area_taps, 7, 7), (linear_taps, 3, 8)):
        index, share = taps(source, target)
        torch.testing.assert_close(share.sum(1), torch.ones(target))
        assert index.min() >= 0
        assert index.max() < source


def test_several_cameras_are_resampled_alike():
    transform = ImageTransform((0, 0, 60, 96), (30, 48))
    images = torch.from_numpy(np.stack([image(60, 96, seed) for seed in (1, 2)]))
    both = Resample(transform)(images)
    assert both.shape == (2, 3, 30, 48)
    assert torch.equal(both[1:], Resample(transform)(images[1:]))
