import numpy as np
import pytest

from dataset.augment.image import ImageChoices, ImageRanges, augment_image, mean_color


def rng():
    return np.random.default_rng(0)


def image(height=40, width=60):
    return np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_nothing_changes_by_default():
    pixels = image()
    assert ImageRanges().draw(rng()) == ImageChoices()
    assert augment_image(pixels, ImageChoices(), rng()) is pixels


def test_the_input_is_not_changed():
    pixels = image()
    before = pixels.copy()
    augment_image(pixels, ImageChoices(blur_px=1.0, noise=0.1, patches=2), rng())
    np.testing.assert_array_equal(pixels, before)


def test_blur_spreads_a_point_as_a_gaussian():
    pixels = np.zeros((41, 41, 3), np.uint8)
    pixels[20, 20] = 255
    pixels[:, :, 1] = 0
    blurred = augment_image(pixels, ImageChoices(blur_px=1.0), rng())[..., 0].astype(float)
    assert blurred[20, 20] == pytest.approx(255 / (2 * np.pi), abs=1.5)
    assert blurred[20, 21] / blurred[20, 20] == pytest.approx(np.exp(-0.5), abs=0.05)


def test_noise_has_its_size_and_does_not_wrap():
    gray = np.full((200, 200, 3), 128, np.uint8)
    noisy = augment_image(gray, ImageChoices(noise=0.05), rng()).astype(float)
    assert noisy.std() == pytest.approx(0.05 * 255, rel=0.02)
    white = augment_image(np.full_like(gray, 255), ImageChoices(noise=0.02), rng())
    assert white.min() > 200


def test_patches_have_the_mean_color():
    pixels = image()
    hidden = augment_image(pixels, ImageChoices(patches=1, patch_size=0.5), rng())
    rows, columns = np.nonzero((hidden != pixels).any(axis=2))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert 0.1 * 40 <= height <= 0.5 * 40
    assert 0.1 * 60 <= width <= 0.5 * 60
    patch = hidden[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert (patch == mean_color(pixels)).all()


def test_patches_fill_a_whole_image_at_most():
    pixels = image(3, 2)
    for _ in range(20):
        assert augment_image(pixels, ImageChoices(patches=3, patch_size=1.0), rng()).shape == (
            3,
            2,
            3,
        )


def test_draws_fill_their_ranges():
    random, ranges = rng(), ImageRanges(blur_px=2.0, noise=0.1, patches=3)
    draws = [ranges.draw(random) for _ in range(2000)]
    assert {draw.patches for draw in draws} == {0, 1, 2, 3}
    assert max(draw.blur_px for draw in draws) == pytest.approx(2.0, rel=0.01)
    assert max(draw.noise for draw in draws) == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blur_px": -1.0}, "blur_px must be at least 0"),
        ({"patches": -1}, "patches must be at least 0"),
        ({"noise": 2.0}, r"noise must be in \[0, 1\], got 2.0"),
        ({"patch_size": 1.1}, "patch_size must be in"),
    ],
)
def test_bad_ranges_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        ImageRanges(**options)
