import numpy as np
import pytest

from dataset.corruptions import camera
from dataset.corruptions.noise_fields import horizon_plasma, line_kernel, plasma


@pytest.fixture
def image():
    """A landscape: blue above, brown below, with a white post."""
    image = np.full((60, 96, 3), (110, 95, 70), np.uint8)
    image[:25] = (90, 140, 220)
    image[15:50, 40:44] = 250
    return image


def rng(seed=0):
    return np.random.default_rng(seed)


def test_an_image_is_lost_with_the_given_probability(image):
    lost = [not camera.missing(image, rng(seed), share=0.4).any() for seed in range(400)]
    assert np.mean(lost) == pytest.approx(0.4, abs=0.06)  # 2.4 standard deviations
    at_20 = [not camera.missing(image, rng(seed), share=0.2).any() for seed in range(400)]
    assert all(more for more, less in zip(lost, at_20, strict=True) if less)


def test_a_dark_image_has_the_square_of_the_light():
    gray = np.full((200, 200, 3), 255, np.uint8)
    dark = camera.dark(gray, rng(), top=0.4, photons=120.0, sigma=0.018)
    # White becomes 0.4 and, after the gamma, 0.16. Its noise: 0.16 / 120 + 0.018².
    assert dark.mean() / 255 == pytest.approx(0.16, abs=0.002)
    assert dark.std() / 255 == pytest.approx(np.sqrt(0.16 / 120 + 0.018**2), rel=0.03)


def test_a_bright_image_has_the_offset_in_its_value():
    image = np.array([[[10, 20, 40], [200, 100, 0]]], np.uint8)
    bright = camera.bright(image, rng(), offset=0.5)
    assert bright.max(axis=2).tolist() == [[168, 255]]  # 40 + 128, and 200 + 128


def test_quantized_colors_are_the_nearest_of_even_levels():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    for bits in (4, 3, 2):
        levels = np.unique(camera.quantize(ramp, rng(), bits=bits))
        assert len(levels) == 2**bits
        assert levels[[0, -1]].tolist() == [0, 255]
    error = camera.quantize(ramp, rng(), bits=4).astype(int) - ramp
    assert np.abs(error).max() <= 9  # Half a step of 17.


def test_a_line_kernel_points_in_its_direction():
    kernel = line_kernel(6.0, 3.0, 0.0)
    assert kernel.sum() == pytest.approx(1)
    assert kernel.shape == (13, 13)
    assert kernel[6].sum() == pytest.approx(1)
    steep = line_kernel(6.0, 3.0, 90.0)
    assert steep[:, 6].sum() == pytest.approx(1)
    diagonal = line_kernel(6.0, 3.0, 45.0)  # Up to the right.
    assert diagonal[3, 9] > 0
    assert diagonal[9, 9] == 0


def test_motion_blur_smears_the_post_and_keeps_the_light(image):
    # At a sixteenth of the reference width, 15 px are less than one.
    blurred = [
        camera.motion_blur(image, rng(), radius_px=radius, sigma_px=radius / 2)
        for radius in (60.0, 120.0)
    ]
    contrast = [view[20:24, 30:54].astype(float).std() for view in (image, *blurred)]
    assert contrast[0] > contrast[1] > contrast[2]
    assert blurred[0].mean() == pytest.approx(image.mean(), abs=1)


def test_noise_has_its_standard_deviation():
    gray = np.full((100, 100, 3), 128, np.uint8)
    noisy = camera.noise(gray, rng(), sigma=0.08)
    assert noisy.std() / 255 == pytest.approx(0.08, rel=0.03)


def test_more_snow_is_whiter_and_falls_down(image):
    levels = (
        dict(mean=0.3, zoom=5.0, threshold=0.9, blur_px=7.0, mix=0.9),
        dict(mean=0.4, zoom=4.0, threshold=0.85, blur_px=8.0, mix=0.85),
        dict(mean=0.5, zoom=3.0, threshold=0.8, blur_px=10.0, mix=0.8),
    )
    means = [camera.snow(image, rng(), **level).mean() for level in levels]
    assert image.mean() < means[0] < means[1] < means[2]
    wide = np.zeros((400, 640, 3), np.uint8)
    flakes = camera.snow(wide, rng(3), **levels[0])[..., 0].astype(float)
    flakes -= flakes.mean()
    along = (flakes[:-2] * flakes[2:]).mean()  # Streaks within 45° of the vertical.
    across = (flakes[:, :-2] * flakes[:, 2:]).mean()
    assert along > across


@pytest.mark.parametrize("cover", [0.1, 0.25, 0.5])
def test_dirt_covers_its_share_of_the_lens(cover):
    white = np.full((150, 240, 3), 255, np.uint8)
    dirty = camera.lens_dirt(white, rng(), cover=cover)
    assert (dirty.max(axis=2) < 200).mean() == pytest.approx(cover, abs=0.06)


def test_dirt_grows_and_is_brown():
    white = np.full((150, 240, 3), 255, np.uint8)
    little, much = (camera.lens_dirt(white, rng(), cover=cover)[..., 0] for cover in (0.1, 0.5))
    assert (much[little < 150] < 200).all()
    red, _, blue = camera.lens_dirt(white, rng(), cover=0.5).reshape(-1, 3).min(axis=0)
    assert red > blue


def test_plasma_fills_0_to_1_and_the_horizon_has_no_seam():
    field = plasma(rng(), (60, 96))
    assert (field.min(), field.max(), field.shape) == (0.0, 1.0, (60, 96))
    around = horizon_plasma(rng(), 90)
    seam = np.abs(around[:, 0] - around[:, -1]).max()
    assert seam <= 1.5 * np.abs(np.diff(around, axis=1)).max()
