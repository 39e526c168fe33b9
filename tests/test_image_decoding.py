import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset.image_decoding import EncodedImage, decode_image, rgb_from_stored

COLORS = cv2.resize(np.random.default_rng(0).integers(0, 255, (3, 4, 3)).astype(np.uint8), (60, 40))
"""Smooth RGB, so that JPEG keeps its colors."""


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(stream, kind, **options)
    return stream.getvalue()


def read(data: bytes, image_max: float | None = None) -> np.ndarray:
    return EncodedImage("a.png", data, image_max).rgb()


# --- channels ---


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_every_channel_count_is_read_as_rgb(mode):
    image = Image.fromarray(COLORS).convert(mode)
    np.testing.assert_array_equal(read(encoded(image, "PNG")), np.array(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpegs_in_color_and_gray(mode):
    image = Image.fromarray(COLORS).convert(mode)
    found = read(encoded(image, "JPEG", quality=98))
    assert np.abs(found.astype(int) - np.array(image.convert("RGB"))).max() < 12  # Lossy.


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpegs_have_their_stored_pixels_in_rgb_order(mode):
    image = Image.fromarray(COLORS).convert(mode)
    turned = image.getexif()
    turned[0x0112] = 6  # Orientation: a quarter turn, which the calibration does not know.
    data = encoded(image, "JPEG", exif=turned)
    stored = rgb_from_stored("a.jpg", decode_image("a.jpg", data), None)
    np.testing.assert_array_equal(read(data), stored)
    assert stored.shape == COLORS.shape


def test_transparent_pixels_are_rejected():
    pixels = np.dstack([COLORS, np.full(COLORS.shape[:2], 255, np.uint8)])
    pixels[:10, :, 3] = 0
    with pytest.raises(ValueError, match=r"^a\.png: expected an opaque image, found 25\.0 % of"):
        read(encoded(pixels, "PNG"))


def test_print_colors_are_rejected():
    data = encoded(Image.fromarray(COLORS).convert("CMYK"), "JPEG")
    with pytest.raises(ValueError, match=r"^a\.png: expected RGB or gray, found .*CMYK.*Convert"):
        read(data)


# --- size ---


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_size_is_that_of_the_stored_pixels(kind, mode):
    image = Image.fromarray(COLORS[:31]).convert(mode)
    turned = image.getexif()
    turned[0x0112] = 6
    assert EncodedImage("a", encoded(image, kind, exif=turned)).size == (31, 60)


def test_the_size_of_a_jpeg_needs_only_its_header():
    data = encoded(COLORS, "JPEG")
    cut = EncodedImage("a", data[:-40])
    assert cut.size == (40, 60)
    with pytest.raises(ValueError, match="expected a complete image"):
        cut.rgb()
    with pytest.raises(ValueError, match="expected a complete image"):
        _ = EncodedImage("a", data[:100]).size


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpegs_are_decoded_at_a_reduced_size(reduction, mode):
    image = Image.fromarray(cv2.resize(COLORS, (119, 75))).convert(mode)
    data = encoded(image, "JPEG", quality=98)
    found = EncodedImage("a", data).rgb(reduction)
    assert found.shape == (-(-75 // reduction), -(-119 // reduction), 3)
    whole = read(data)[: 72 // reduction * reduction, : 112 // reduction * reduction]
    means = cv2.resize(whole, None, fx=1 / reduction, fy=1 / reduction, interpolation=3)
    difference = np.abs(found[: means.shape[0], : means.shape[1]].astype(int) - means)
    assert difference.mean() < 1
    assert difference.max() < 9


# --- bit depth ---


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_images_are_scaled_by_the_stated_white_level(bits):
    white = 2**bits - 1
    deep = np.array([[0, white // 2, white]], np.uint16)
    found = read(encoded(deep, "PNG"), image_max=white)
    assert found.shape == (1, 3, 3)
    assert found[0, :, 0].tolist() == [0, 127, 255]


def test_the_scale_does_not_depend_on_the_image():
    dark, light = (encoded(np.array([[100, top]], np.uint16), "PNG") for top in (150, 4000))
    assert read(dark, 4095)[0, 0].tolist() == read(light, 4095)[0, 0].tolist() == [6, 6, 6]


def test_deep_colors_keep_their_order():
    bgr = np.zeros((1, 1, 3), np.uint16)
    bgr[..., 2] = 4095  # Red.
    data = cv2.imencode(".png", bgr)[1].tobytes()
    assert read(data, 4095).tolist() == [[[255, 0, 0]]]


def test_float_images_are_scaled():
    data = encoded(np.array([[0.0, 0.5, 1.0]], np.float32), "TIFF")
    assert read(data, 1.0)[0, :, 0].tolist() == [0, 128, 255]
    with pytest.raises(ValueError, match=r"float32 values from 0 to 1.*1\.0 if it is normalized"):
        read(data)


def test_eight_bits_do_not_use_the_white_level():
    np.testing.assert_array_equal(read(encoded(COLORS, "PNG"), 4095), COLORS)


def test_deep_images_without_a_white_level_are_rejected():
    data = encoded(np.array([[90, 4000]], np.uint16), "PNG")
    message = r"8 bits per channel, found uint16 values from 90 to 4000\. Convert .*4095 if .* 12 b"
    with pytest.raises(ValueError, match=message):
        read(data)


@pytest.mark.parametrize("values", [[0.0, 2.0], [-0.1, 1.0], [0.0, np.nan]])
def test_values_that_contradict_the_white_level_are_rejected(values):
    data = encoded(np.array([values], np.float32), "TIFF")
    with pytest.raises(ValueError, match=r"expected values from 0 to image_max, 1, found float32"):
        read(data, 1.0)


# --- where a file ends ---


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("tail", [b"\0" * 4000, b"\xff\xda" + b"\0" * 20, b"\xff\xd8\xff\xda"])
def test_data_behind_the_image_is_ignored(kind, tail):
    data = encoded(COLORS, kind)
    np.testing.assert_array_equal(decode_image("a", data + tail), decode_image("a", data))


def test_the_first_image_of_an_mpo_file_is_read():
    second = Image.fromarray(255 - COLORS)
    data = encoded(Image.fromarray(COLORS), "MPO", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read(data), read(encoded(COLORS, "JPEG")))


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_blocks": 1}])
def test_scans_and_restart_markers_are_part_of_the_image(options):
    data = encoded(COLORS, "JPEG", **options)
    assert decode_image("a", data).shape == COLORS.shape
    with pytest.raises(ValueError, match="expected a complete image"):
        decode_image("a", data[:-10])


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_truncation_is_rejected(kind):
    data = encoded(COLORS, kind)
    for size in range(10, len(data) - 1, 7):
        with pytest.raises(ValueError, match=f"a complete image, found one cut off at byte {size}"):
            decode_image("a", data[:size])
    filled = data[: len(data) // 2] + b"\0" * (len(data) // 2)  # By a recorder that crashed.
    with pytest.raises(ValueError, match="expected a complete image"):
        decode_image("a", filled)


def test_a_header_with_too_many_pixels_is_rejected():
    data = bytearray(encoded(COLORS, "PNG"))
    data[16:24] = 2 * (60_000).to_bytes(4, "big")  # Width and height.
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(ValueError, match=r"expected an image .* bytes that cannot be decoded"):
        decode_image("a", bytes(data))
