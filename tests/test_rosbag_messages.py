"""Clouds, images and camera models of ROS, message by message."""

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed")

from dataset.rosbag.camera import read_camera
from dataset.rosbag.images import DamagedImageError, read_rgb
from dataset.rosbag.sweeps import read_sweep
from tests.rosbag_files import PLUMB_BOB, START_NS, K, Messages, structured

POINTS = np.array([[1, 2, 3, 10], [4, 5, 6, 20], [7, 8, 9, 30], [1, 0, 0, 40]], np.float32)
RATIONAL = (-0.3, 0.1, 0.001, 0.002, -0.01, 0.02, 0.01, 0.001)
EQUIDISTANT = (0.05, -0.02, 0.01, -0.003)


@pytest.fixture(scope="module")
def messages():
    return Messages()


def sweep_of(message, *, with_times=True):
    return read_sweep(message, START_NS, "a.bag, '/points'", with_times=with_times)


@pytest.mark.parametrize(
    ("intensity", "kind", "intensity_max"),
    [("intensity", "<f4", None), ("reflectivity", "<u2", None), ("i", "|u1", 255.0)],
)
def test_a_cloud_of_any_fields(messages, intensity, kind, intensity_max):
    rows = structured(POINTS, intensity=intensity, kind=kind, ring=np.arange(4, dtype="<u2"))
    sweep = sweep_of(messages.cloud(START_NS, rows))
    np.testing.assert_array_equal(sweep.points, POINTS)
    assert sweep.points.dtype == np.float32
    assert sweep.times_ns is None
    assert sweep.intensity_max == intensity_max


def test_a_big_endian_organized_cloud_with_padded_rows(messages):
    rows = structured(POINTS, kind=">f4").reshape(2, 2)
    sweep = sweep_of(messages.cloud(START_NS, rows, row_padding=5))
    np.testing.assert_array_equal(sweep.points, POINTS)


def test_points_without_an_echo_are_left_out(messages):
    points = POINTS.copy()
    points[0, :3] = 0
    points[2, 1] = np.nan
    sweep = sweep_of(messages.cloud(START_NS, structured(points, t=np.arange(4, dtype="<u4"))))
    np.testing.assert_array_equal(sweep.points, POINTS[[1, 3]])
    np.testing.assert_array_equal(sweep.times_ns - START_NS, [1, 3])


def test_a_cloud_without_intensity_has_three_columns(messages):
    rows = structured(POINTS)[["x", "y", "z"]]
    assert sweep_of(messages.cloud(START_NS, rows)).points.shape == (4, 3)


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("t", np.array([0, 1, 2, 3], "<u4") * 30_000_000),
        ("time", np.array([0, 0.03, 0.06, 0.09], "<f4")),
        ("timestamp", START_NS / 1e9 + np.array([0, 0.03, 0.06, 0.09], "<f8")),
        ("timestamp", START_NS + np.array([0, 3e7, 6e7, 9e7], "<f8")),
        ("time_stamp", START_NS + np.array([0, 3e7, 6e7, 9e7]).astype("<f8")),
    ],
)
def test_times_of_points_in_each_convention(messages, name, times):
    sweep = sweep_of(messages.cloud(START_NS, structured(POINTS, **{name: times})))
    # Absolute seconds in float64 are good to 0.24 µs, nanoseconds to 256 ns.
    np.testing.assert_allclose(sweep.times_ns - START_NS, [0, 3e7, 6e7, 9e7], atol=300)


def test_times_in_an_unknown_unit_are_refused_only_when_they_are_used(messages):
    cloud = messages.cloud(START_NS, structured(POINTS, time=np.array([0, 3e4, 6e4, 9e4], "<f4")))
    with pytest.raises(
        ValueError, match=r"'/points' time: expected .* at most 1 s, found 9e\+04 s"
    ):
        sweep_of(cloud)
    assert sweep_of(cloud, with_times=False).times_ns is None


def test_a_cloud_without_coordinates_or_cut_off_is_refused(messages):
    with pytest.raises(ValueError, match=r"expected the fields x, y, z .* found \['x', 'y'\]"):
        sweep_of(messages.cloud(START_NS, structured(POINTS)[["x", "y"]]))
    cloud = messages.cloud(START_NS, structured(POINTS))
    cloud.data = cloud.data[:-1]
    with pytest.raises(ValueError, match="expected 1×4 points of 23 bytes, found 91 bytes"):
        sweep_of(cloud)


def test_a_livox_cloud():
    messages = Messages()
    sweep = sweep_of(messages.livox(START_NS, [(0, 1, 2, 3, 10), (5, 4, 5, 6, 20)]))
    np.testing.assert_array_equal(sweep.points, POINTS[:2])
    np.testing.assert_array_equal(sweep.times_ns, [START_NS, START_NS + 5])
    assert sweep.intensity_max == 255


def rgb_of(message, image_max=None):
    return read_rgb(message, image_max, "a.bag, '/image'")


ORANGE = np.full((4, 6, 3), (200, 100, 50), np.uint8)


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", ORANGE),
        ("bgr8", ORANGE[..., ::-1]),
        ("rgba8", np.dstack([ORANGE, ORANGE[..., :1]])),
        ("bgra8", np.dstack([ORANGE[..., ::-1], ORANGE[..., :1]])),
    ],
)
def test_raw_colors_with_padded_rows(messages, encoding, pixels):
    image = messages.image(START_NS, pixels, encoding, padding=7)
    np.testing.assert_array_equal(rgb_of(image), ORANGE)


@pytest.mark.parametrize(
    ("order", "red", "blue"),
    [("rggb", (0, 0), (1, 1)), ("bggr", (1, 1), (0, 0)), ("gbrg", (1, 0), (0, 1)),
     ("grbg", (0, 1), (1, 0))],
)  # fmt: skip
def test_bayer_patterns(messages, order, red, blue):
    pattern = np.full((8, 8), 100, np.uint8)
    pattern[red[0] :: 2, red[1] :: 2] = 200
    pattern[blue[0] :: 2, blue[1] :: 2] = 50
    raw = rgb_of(messages.image(START_NS, pattern, f"bayer_{order}8"))
    np.testing.assert_array_equal(raw[2:-2, 2:-2], ORANGE[:4, :4])
    png = cv2.imencode(".png", pattern)[1].tobytes()
    form = f"bayer_{order}8; png compressed bayer_{order}8"
    np.testing.assert_array_equal(rgb_of(messages.compressed(START_NS, png, form=form)), raw)


@pytest.mark.parametrize("kind", ["<u2", ">u2"])
def test_16_bits_need_the_white_level(messages, kind):
    image = messages.image(START_NS, np.full((4, 6), 4095, kind), "mono16")
    np.testing.assert_array_equal(rgb_of(image, 4095), np.full((4, 6, 3), 255))
    with pytest.raises(ValueError, match=r"found \S+ up to 4095 and no white level.*--image-max"):
        rgb_of(image)
    with pytest.raises(ValueError, match=r"up to 4095 and --image-max 1023"):
        rgb_of(image, 1023)
    png = cv2.imencode(".png", np.full((4, 6), 4095, np.uint16))[1].tobytes()
    np.testing.assert_array_equal(
        rgb_of(messages.compressed(0, png, form="mono16; png"), 4095), 255
    )


def test_mono8_and_an_unknown_encoding(messages):
    gray = messages.image(START_NS, ORANGE[..., 0], "mono8")
    np.testing.assert_array_equal(rgb_of(gray), np.full((4, 6, 3), 200))
    gray.encoding = "32FC1"
    with pytest.raises(ValueError, match=r"expected one of the encodings .*, found '32FC1'"):
        rgb_of(gray)


def test_damaged_images(messages):
    jpeg = cv2.imencode(".jpg", ORANGE)[1].tobytes()
    with pytest.raises(DamagedImageError, match="cut off"):
        rgb_of(messages.compressed(START_NS, jpeg[:-20]))
    image = messages.image(START_NS, ORANGE, "rgb8")
    image.data = image.data[:-1]
    with pytest.raises(DamagedImageError, match="expected 6×4 pixels in 'rgb8', found 71 bytes"):
        rgb_of(image)


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [("plumb_bob", PLUMB_BOB), ("rational_polynomial", RATIONAL), ("equidistant", EQUIDISTANT)],
)
def test_undistorted_points_are_where_the_new_matrix_says(messages, model, coefficients):
    info = messages.info(model=model, coefficients=coefficients, size=(960, 600))
    info.k = (K * [[10], [10], [1]]).reshape(-1)
    camera = read_camera(info, "a.bag", is_rectified=False)
    point = np.array([[[0.3, -0.2, 1.0]]])
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    matrix, zero = info.k.reshape(3, 3), np.zeros(3)
    pixel, _ = project(point, zero, zero, matrix, np.array(coefficients))
    column, row = pixel.reshape(2)
    rows, columns = np.mgrid[:600, :960]
    spot = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 5.0**2))
    image = np.repeat(np.rint(255 * spot).astype(np.uint8)[..., None], 3, axis=2)
    undistorted = camera.undistort(image)[..., 0].astype(float)
    found = np.array([(undistorted * columns).sum(), (undistorted * rows).sum()])
    expected = camera.pixel_from_cam @ point.reshape(3)
    # The center of a spot of 5 px, which the lens bends a little.
    np.testing.assert_allclose(found / undistorted.sum(), expected[:2], atol=0.2)
    # Without this correction it would be elsewhere.
    assert np.abs(np.array([column, row]) - expected[:2]).max() > 5


def test_undistorted_images_have_no_empty_border(messages):
    camera = read_camera(messages.info(coefficients=PLUMB_BOB), "a.bag", is_rectified=False)
    white = camera.undistort(np.full((60, 96, 3), 255, np.uint8))
    assert white[2:-2, 2:-2].min() == 255


def test_a_stated_matrix_and_rectified_images(messages):
    info = messages.info(coefficients=PLUMB_BOB)
    stated = read_camera(info, "a.bag", is_rectified=False, stated=K)
    np.testing.assert_array_equal(stated.pixel_from_cam, K)
    assert stated.undistort is not None
    rectified = read_camera(info, "a.bag", is_rectified=True)
    assert rectified.pixel_from_cam[0, 0] == 40
    assert rectified.undistort is None


def test_a_camera_without_distortion_is_left_alone(messages):
    camera = read_camera(messages.info(coefficients=(0.0,) * 5), "a.bag", is_rectified=False)
    np.testing.assert_array_equal(camera.pixel_from_cam, K)
    assert camera.undistort is None


def test_unusable_cameras_are_refused(messages):
    with pytest.raises(ValueError, match=r"expected a distortion model .* found 'omni' with 5"):
        read_camera(messages.info(model="omni", coefficients=PLUMB_BOB), "a", is_rectified=False)
    info = messages.info()
    info.k = np.zeros(9)
    with pytest.raises(ValueError, match="all zero: calibrate the camera"):
        read_camera(info, "a.bag", is_rectified=False)
