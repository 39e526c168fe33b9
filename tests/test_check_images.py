import numpy as np
import pytest

from dataset.check.images import FLIPS, sky_is_blue, thumbnail, view_fits
from tests.test_check_registration import CAMERA, cloud_of


def scene(seed=0):
    """An image of random patches, and points whose height and intensity follow its colors."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 255, (12, 20, 3), dtype=np.uint8)
    image = np.kron(patches, np.ones((8, 8, 1), np.uint8))
    v, u = (grid.ravel() for grid in np.mgrid[0:96, 0:160])
    camera = CAMERA | {
        "P2": np.array([[80.0, 0, 80, 0], [0, 80, 48, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    }
    depth = 5.0 + image[v, u, 0] / 25.0
    points = np.stack([depth, -(u + 0.5 - 80) * depth / 80, -(v + 0.5 - 48) * depth / 80], axis=1)
    cloud = cloud_of(points)
    cloud[:, 3] = image[v, u, 1]
    return image, cloud, camera


def test_points_fit_their_image_best():
    fits = view_fits(*scene())
    assert len(fits) == 1 + len(FLIPS)
    assert fits[0] > 0.3
    assert fits[1:].max() < 0.1


@pytest.mark.parametrize("number", range(len(FLIPS)))
def test_a_flipped_image_fits_best_when_it_is_flipped_back(number):
    image, cloud, camera = scene()
    flipped = np.ascontiguousarray(list(FLIPS.values())[number](image))
    assert view_fits(flipped, cloud, camera).argmax() == number + 1


def test_few_points_and_no_camera_say_nothing():
    image, cloud, camera = scene()
    assert view_fits(image, cloud[:50], camera) is None
    assert view_fits(image, cloud, camera | {"R0_rect": np.zeros((4, 4))}) is None


def test_a_blue_sky():
    image = np.full((60, 96, 3), 100, np.uint8)
    image[:12] = (100, 150, 202)
    small = thumbnail(image)
    assert small.shape == (15, 24, 3)
    assert sky_is_blue(small) == pytest.approx(102 / 255, abs=0.01)
    assert sky_is_blue(small[..., ::-1]) == pytest.approx(-102 / 255, abs=0.01)
