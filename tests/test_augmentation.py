from dataclasses import replace

import numpy as np
import pytest

from dataset.augment.calibration import CalibrationRanges
from dataset.augment.cloud import CloudRanges
from dataset.augment.image import ImageRanges
from dataset.augment.ranges import Stream
from dataset.augmentation import Augmentation, Choices
from dataset.sample import SampleKey

EVERYTHING = Augmentation(
    image_scale=(0.8, 1.5),
    image_shift=0.1,
    image_flip_prob=0.5,
    volume_flip_prob=0.25,
    volume_rotation_deg=20.0,
    brightness=0.2,
    contrast=0.3,
    saturation=0.4,
)


def test_nothing_is_changed_by_default():
    assert Augmentation().draw(np.random.default_rng(0)) == Choices()


def test_the_same_numbers_give_the_same_choices():
    draws = [EVERYTHING.draw(np.random.default_rng((0, 1, 2))) for _ in range(2)]
    assert draws[0] == draws[1]
    assert draws[0] != EVERYTHING.draw(np.random.default_rng((0, 1, 3)))


def test_switching_one_part_off_leaves_the_others_as_they_were():
    full = EVERYTHING.draw(np.random.default_rng(5))
    part = Augmentation(saturation=0.4).draw(np.random.default_rng(5))
    assert part.saturation == full.saturation


def test_draws_fill_their_ranges():
    rng = np.random.default_rng(0)
    draws = [EVERYTHING.draw(rng) for _ in range(4000)]

    def span(name):
        values = np.array([getattr(draw, name) for draw in draws])
        return values.min(axis=0), values.max(axis=0)

    # 4,000 draws come within 1 % of the ends of a range almost surely.
    np.testing.assert_allclose(span("image_scale"), (0.8, 1.5), atol=0.007)
    np.testing.assert_allclose(span("image_shift"), [(-0.1, -0.1), (0.1, 0.1)], atol=0.002)
    np.testing.assert_allclose(span("volume_rotation_deg"), (-20, 20), atol=0.4)
    np.testing.assert_allclose(span("brightness"), (0.8, 1.2), atol=0.004)
    np.testing.assert_allclose(span("contrast"), (0.7, 1.3), atol=0.006)
    np.testing.assert_allclose(span("saturation"), (0.6, 1.4), atol=0.008)
    # Four standard deviations of a share among 4,000.
    assert np.mean([draw.image_flip for draw in draws]) == pytest.approx(0.5, abs=0.032)
    assert np.mean([draw.volume_flip for draw in draws]) == pytest.approx(0.25, abs=0.028)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_scale": (1.2, 0.8)}, r"image_scale must be 0 < min <= max, got \(1.2, 0.8\)"),
        ({"image_scale": (0.0, 1.0)}, "image_scale must be"),
        ({"volume_flip_prob": 1.1}, r"volume_flip_prob must be in \[0, 1\], got 1.1"),
        ({"image_flip_prob": -0.1}, "image_flip_prob must be in"),
        ({"image_shift": 1.0}, r"image_shift must be in \[0, 1\), got 1.0"),
        ({"brightness": -0.1}, "brightness must be in"),
        ({"contrast": 1.0}, "contrast must be in"),
        ({"saturation": 1.5}, "saturation must be in"),
        ({"volume_rotation_deg": 181}, r"volume_rotation_deg must be in \[0, 180\], got 181.0"),
        ({"volume_flip": 0.5}, r"unknown augmentation keys \['volume_flip'\]; known: \['bright"),
    ],
)
def test_bad_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation.from_config(options)


def test_options_come_from_a_config():
    built = Augmentation.from_config({"image_scale": [0.9, 1.1], "volume_rotation_deg": 5})
    assert built == Augmentation(image_scale=(0.9, 1.1), volume_rotation_deg=5.0)
    assert Augmentation.from_config(built) is built
    assert Augmentation.from_config(None) == Augmentation()


def test_seed_epoch_and_index_decide():
    first = EVERYTHING.choices(0, SampleKey(2, 1))
    assert first == EVERYTHING.choices(0, SampleKey(2, 1))
    others = [
        EVERYTHING.choices(*key)
        for key in ((1, SampleKey(2, 1)), (0, SampleKey(1, 2)), (0, SampleKey(2)))
    ]
    assert first not in others


def test_existing_seeds_keep_their_choices():
    # A new key must not change what the others draw: trainings of old configs repeat.
    drawn = EVERYTHING.choices(42, SampleKey(7, 3))
    assert drawn.image_scale == pytest.approx(0.8218676960869893, rel=1e-12)
    assert drawn.image_shift == pytest.approx((0.04303182413899534, -0.0810250136556146))
    assert drawn.volume_rotation_deg == pytest.approx(4.164061917550246, rel=1e-12)
    assert drawn.saturation == pytest.approx(1.026358680605208, rel=1e-12)


def test_each_part_draws_for_itself():
    cloud = CloudRanges(point_drop=0.5)
    alone = Augmentation(cloud=cloud).choices(0, SampleKey(2, 1))
    beside = replace(EVERYTHING, cloud=cloud, image=ImageRanges(noise=0.1))
    assert beside.choices(0, SampleKey(2, 1)).cloud == alone.cloud
    assert alone.cloud != Augmentation(cloud=cloud).choices(0, SampleKey(2, 2)).cloud
    drawn = {alone.stream(part, number).random() for part in Stream for number in range(3)}
    assert len(drawn) == 3 * len(Stream)


def test_a_repeated_frame_is_augmented_for_itself():
    first, second = (EVERYTHING.choices(0, SampleKey(2, 1, repeat)) for repeat in range(2))
    assert first == EVERYTHING.choices(0, SampleKey(2, 1))
    assert first.brightness != second.brightness
    numbers = {choices.stream(Stream.CLOUD, 0).random() for choices in (first, second)}
    assert len(numbers) == 2


def test_cameras_have_their_own_errors_of_the_calibration():
    augmentation = Augmentation(calibration=CalibrationRanges(rotation_deg=1.0))
    choices = augmentation.choices(0, SampleKey(0))
    assert not np.array_equal(choices.calibration_error(0), choices.calibration_error(1))
    np.testing.assert_array_equal(choices.calibration_error(1), choices.calibration_error(1))
    np.testing.assert_array_equal(Choices().calibration_error(0), np.eye(4))


def test_heights_are_whole_voxels():
    augmentation = Augmentation(volume_height_m=1.0)
    heights = {
        augmentation.choices(0, SampleKey(i), height_step_m=0.3).volume_height_m / 0.3
        for i in range(200)
    }
    np.testing.assert_allclose(sorted(heights), range(-3, 4), atol=1e-12)


def test_nested_sections_come_from_a_config():
    built = Augmentation.from_config(
        {"cloud": {"range_cut_m": [10, 20], "point_drop": 0}, "image": {"patches": 2}}
    )
    assert built.cloud == CloudRanges(range_cut_m=(10.0, 20.0))
    assert built.image == ImageRanges(patches=2)
    with pytest.raises(ValueError, match=r"unknown augmentation.cloud keys \['drop'\]; known"):
        Augmentation.from_config({"cloud": {"drop": 0.5}})
    with pytest.raises(ValueError, match=r"^augmentation.cloud.beam_drop must be in \[0, 1\), got"):
        Augmentation.from_config({"cloud": {"beam_drop": 1.5}})
