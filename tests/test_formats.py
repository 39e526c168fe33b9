import codecs

import cv2
import numpy as np
import pytest

from dataset import formats, scene_files
from dataset.file_content import read_text
from dataset.layout import IMAGESETS, LABEL_GRID
from utils.labels import IGNORE

STEM = "1689903584.278848"
CALIBRATION = {
    "P2": "100 0 50 3 0 200 40 0 0 0 1 0",
    "R0_rect": "0 -1 0 1 0 0 0 0 1",
    "Tr_velo_to_cam": "0 -1 0 0 0 0 -1 0.5 1 0 0 2",
    "Tr_velo_to_imu": "1 0 0 0.1 0 1 0 0.2 0 0 1 0.3",
}


def calibration_text(**changes: str | None) -> str:
    values = {**CALIBRATION, **changes}
    return "\n".join(f"{key}: {text}" for key, text in values.items() if text is not None)


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / f"{STEM}.bin"


# --- every kind ---


@pytest.mark.parametrize(
    "read",
    [
        formats.read_image,
        formats.read_cloud,
        formats.read_occupancy_rows,
        formats.read_depth_m,
        formats.read_calibration,
        formats.read_caption,
    ],
)
def test_missing_and_empty_files_are_named(read, path):
    with pytest.raises(FileNotFoundError, match=rf"{path}.*frame {STEM}.*not found.*copy it"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{path} \(frame {STEM}\).*found an empty file.*again"):
        read(path)


# --- images ---


def test_image_is_rgb(path):
    path.write_bytes(jpeg(np.full((6, 9, 3), (250, 10, 20), np.uint8)))  # Blue, in OpenCV's order.
    image = formats.read_image(path)
    assert image.shape == (6, 9, 3)
    assert np.abs(image[3, 4].astype(int) - (20, 10, 250)).max() < 6  # JPEG rounds colors.


def test_image_with_bytes_after_its_end_is_whole(path):
    path.write_bytes(jpeg(np.zeros((6, 9, 3), np.uint8)) + b"\0" * 20)
    assert formats.read_image(path).shape == (6, 9, 3)


def test_image_keeps_its_recorded_orientation(path):
    # An EXIF block that asks viewers for a quarter turn: tag 0x0112, one short of value 6.
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    block = b"Exif\0\0" + tiff
    data = jpeg(np.zeros((6, 9, 3), np.uint8))
    path.write_bytes(
        data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:]
    )
    assert cv2.imread(str(path)).shape == (9, 6, 3)
    assert formats.read_image(path).shape == (6, 9, 3)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_truncated_image_is_rejected(path, share):
    rng = np.random.default_rng(0)
    data = jpeg(rng.integers(0, 255, (40, 60, 3)).astype(np.uint8))
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match="expected a complete image, found one cut off at byte"):
        formats.read_image(path)


def test_truncated_image_with_a_whole_thumbnail_is_rejected(path):
    thumbnail = b"Exif\0\0" + jpeg(np.zeros((2, 2, 3), np.uint8))
    data = jpeg(np.zeros((60, 90, 3), np.uint8))
    block = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    path.write_bytes(data[:2] + block + data[2:-20])
    with pytest.raises(ValueError, match="expected a complete image"):
        formats.read_image(path)


def test_unreadable_image_is_rejected(path):
    path.write_bytes(b"no picture at all")
    with pytest.raises(ValueError, match=r"expected an image.*17 bytes that cannot be decoded"):
        formats.read_image(path)


# --- clouds ---


def test_cloud_values(path):
    points = np.arange(12, dtype=np.float32).reshape(3, 4)
    points.tofile(path)
    found = formats.read_cloud(path)
    np.testing.assert_array_equal(found[:, :3], points[:, :3])
    np.testing.assert_allclose(found[:, 3] * 255, points[:, 3], rtol=1e-6)
    np.testing.assert_array_equal(formats.read_local_map(path), points.reshape(4, 3))


def test_truncated_cloud_is_rejected(path):
    path.write_bytes(b"\0" * 30)
    with pytest.raises(ValueError, match="rows of 4 float32, a multiple of 16 bytes, found 30"):
        formats.read_cloud(path)
    with pytest.raises(ValueError, match="rows of 3 float32, a multiple of 12 bytes, found 30"):
        formats.read_local_map(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_cloud_with_a_number_that_is_not_finite_is_rejected(path, value):
    points = np.zeros((5, 4), np.float32)
    points[3, 1] = value
    points.tofile(path)
    with pytest.raises(
        ValueError, match=r"expected finite numbers, found 1 rows that are not, the first is 3: "
    ):
        formats.read_cloud(path)


# --- occupancy ---


@pytest.fixture
def write_rows(tmp_path):
    def write(rows):
        path = tmp_path / f"{STEM}.npy"
        np.save(path, rows)
        return path

    return write


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_occupancy_rows_become_a_grid(write_rows, dtype):
    rows = np.array([[0, 0, 0, 11], [255, 255, 31, 1], [5, 6, 7, 0], [9, 9, 9, 2], [9, 9, 9, 4]])
    rows = formats.read_occupancy_rows(write_rows(rows.astype(dtype)))
    occupancy = formats.occupancy_from_rows(rows)
    assert occupancy.shape == LABEL_GRID.shape
    assert occupancy.dtype == np.uint8
    assert occupancy[0, 0, 0] == 11
    assert occupancy[255, 255, 31] == 1
    assert occupancy[5, 6, 7] == IGNORE  # Background.
    assert occupancy[9, 9, 9] == 4  # The later row.
    assert (occupancy == 0).sum() == occupancy.size - 4


def test_no_occupancy_rows_are_a_free_grid(write_rows):
    rows = formats.read_occupancy_rows(write_rows(np.zeros((0, 4), np.int64)))
    assert not formats.occupancy_from_rows(rows).any()


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (np.zeros((4, 3), int), r"shape \(4, 3\), int64.* Write sparse rows"),
        (np.zeros((2, 2, 4), int), r"shape \(2, 2, 4\).* Write sparse rows"),
        (np.zeros((4, 4), np.float32), r"shape \(4, 4\), float32\. Save the rows as integers"),
    ],
)
def test_wrong_columns_are_rejected(write_rows, rows, found):
    with pytest.raises(ValueError, match=rf"expected integer rows with 4 columns.*found {found}"):
        formats.read_occupancy_rows(write_rows(rows))


@pytest.mark.parametrize("index", [(256, 0, 0), (0, 256, 0), (0, 0, 32), (-1, 0, 0)])
def test_indices_off_the_grid_are_rejected(write_rows, index):
    rows = np.array([[1, 1, 1, 1], [*index, 1]])
    with pytest.raises(ValueError, match=r"\(256, 256, 32\), found 1 rows outside, the first \["):
        formats.read_occupancy_rows(write_rows(rows))


@pytest.mark.parametrize("label", [12, 255, -1])
def test_unknown_class_is_rejected(write_rows, label):
    rows = np.array([[1, 1, 1, 1], [2, 2, 2, label]])
    with pytest.raises(ValueError, match=rf"classes 0–11, found 1 rows with classes \[{label}\]"):
        formats.read_occupancy_rows(write_rows(rows))


def test_damaged_occupancy_is_rejected(write_rows):
    path = write_rows(np.zeros((40, 4), int))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"expected a numpy array.*copy it again"):
        formats.read_occupancy_rows(path)
    for junk in (b"junk", b"PK\x03\x04 an archive"):
        path.write_bytes(junk)
        with pytest.raises(ValueError, match="expected a numpy array"):
            formats.read_occupancy_rows(path)


def test_pickled_occupancy_is_not_run(write_rows):
    with pytest.raises(ValueError, match="expected a numpy array"):
        formats.read_occupancy_rows(write_rows(np.array([{}], dtype=object)))


# --- depth and elevation ---


def write_png(path, array):
    path.write_bytes(cv2.imencode(".png", array)[1].tobytes())


def test_depth_is_meters(path):
    write_png(path, np.array([[0, 256, 384], [1, 20480, 65535]], np.uint16))
    depth = formats.read_depth_m(path)
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, [[0, 1, 1.5], [1 / 256, 80, 65535 / 256]])


def test_depth_of_another_size_than_the_image_is_rejected(path):
    write_png(path, np.zeros((2, 3), np.uint16))
    with pytest.raises(ValueError, match="expected the size of the image, 4×2, found 3×2"):
        formats.read_depth_units(path, image_size=(2, 4))


@pytest.mark.parametrize("read", [formats.read_depth_m, formats.read_elevation_m])
@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((2, 3), np.uint8), r"uint8 of shape \(2, 3\)"),
        (np.zeros((2, 3, 3), np.uint16), r"uint16 of shape \(2, 3, 3\)"),
    ],
)
def test_wrong_type_of_depth_and_elevation_is_rejected(path, read, array, found):
    write_png(path, array)
    with pytest.raises(ValueError, match=f"expected a single-channel uint16 image, found {found}"):
        read(path)


def test_truncated_depth_is_rejected(path):
    write_png(path, np.random.default_rng(0).integers(0, 9000, (80, 90)).astype(np.uint16))
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(ValueError, match="expected a complete image, found one cut off at byte"):
        formats.read_depth_m(path)


def test_elevation_is_height_in_the_lidar_frame(path):
    # 1 − z = 3 m; no point; wrapped around; the largest that is not; exactly the top.
    stored = np.zeros((204, 217), np.uint16)
    stored[0, :5] = [768, 0, 30001, 30000, 1]
    write_png(path, stored)
    expected = [-2.0, np.nan, np.nan, 1 - 30000 / 256, 1 - 1 / 256]
    height = formats.read_elevation_m(path)
    np.testing.assert_allclose(height[0, :5], np.float32(expected), rtol=1e-6)
    assert np.isnan(height).sum() == stored.size - 3


@pytest.mark.parametrize(
    ("shape", "rows", "columns"), [((204, 217), 203, 216), ((511, 544), 510, 544)]
)
def test_cells_that_mix_two_places_have_no_label(path, shape, rows, columns):
    write_png(path, np.full(shape, 768, np.uint16))
    is_known = np.isfinite(formats.read_elevation_m(path))
    assert is_known[:rows, :columns].all()
    assert is_known.sum() == rows * columns


def test_elevation_units_are_those_of_the_image(path):
    stored = np.zeros((51, 54), np.uint16)
    stored[-1, -3:] = [768, 0, 65535]
    write_png(path, stored)
    np.testing.assert_array_equal(formats.read_elevation_units(path), stored)


def test_an_elevation_image_of_no_known_cells_is_rejected(path):
    write_png(path, np.zeros((20, 31), np.uint16))
    with pytest.raises(ValueError, match=r"found 20 rows and 31 columns.*204×217 cells of 0\.1 m"):
        formats.read_elevation_m(path)


# --- calibration ---


def test_calibration_is_the_product_of_its_matrices(path):
    path.write_text(calibration_text() + "\ncalib_time: 09-Jan 13:57\nno colon here\n")
    calibration = formats.read_calibration(path)
    # By hand: (x, y, z) = (8, 1, 0.25) -> camera (-1, 0.25, 10) -> rectified (-0.25, -1, 10)
    # -> (100·-0.25 + 50·10 + 3, 200·-1 + 40·10, 10).
    np.testing.assert_allclose(calibration.pixel_from_lidar @ [8, 1, 0.25, 1], [478, 200, 10, 1])
    expected = np.eye(4)
    expected[:3, 3] = 0.1, 0.2, 0.3
    np.testing.assert_array_equal(calibration.imu_or_world_from_lidar, expected)


def test_matrices_of_a_calibration_by_their_keys(path):
    path.write_text(calibration_text())
    matrices = formats.read_calibration_matrices(path)
    assert list(matrices) == ["P2", "R0_rect", "Tr_velo_to_cam", "Tr_velo_to_imu"]
    assert all(matrix.shape == (4, 4) for matrix in matrices.values())
    product = matrices["P2"] @ matrices["R0_rect"] @ matrices["Tr_velo_to_cam"]
    np.testing.assert_array_equal(product, formats.read_calibration(path).pixel_from_lidar)


def test_calibration_may_lack_the_imu(path):
    path.write_text(calibration_text(Tr_velo_to_imu=None))
    assert formats.read_calibration(path).imu_or_world_from_lidar is None


@pytest.mark.parametrize("key", ["P2", "R0_rect", "Tr_velo_to_cam"])
def test_missing_calibration_key_is_rejected(path, key):
    path.write_text(calibration_text(**{key: None}))
    with pytest.raises(ValueError, match=rf"expected a line '{key}: numbers', found only \["):
        formats.read_calibration(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"P2": "1 2 x 4"}, r"expected numbers in 'P2', found '1 2 x 4'. could not convert"),
        (
            {"R0_rect": "1 0 0 0 1 0 0 0"},
            r"expected 9 numbers for 'R0_rect', found 8. It must be a 3×3",
        ),
        ({"Tr_velo_to_imu": "1 2"}, "expected 12 numbers for 'Tr_velo_to_imu', found 2"),
        ({"R0_rect": "nan 0 0 0 1 0 0 0 1"}, "expected finite numbers in 'R0_rect'"),
        ({"P2": f"{10**400} 0 50 3 0 200 40 0 0 0 1 0"}, "expected finite numbers in 'P2'"),
        ({"P2": " ".join(12 * "0")}, r"rows f 0 u, 0 f v, 0 0 1 in 'P2'.*all zero"),
        ({"P2": "100 0 0 0 0 200 0 0 50 40 1 0"}, r"0 0 1 in 'P2'.*looks transposed"),
        ({"R0_rect": "1 0 0 0 1 0 0 0 -1"}, r"a translation in 'R0_rect', found one that mirrors"),
        ({"Tr_velo_to_cam": " ".join(12 * "0")}, r"in 'Tr_velo_to_cam', found .* identity by 1"),
        ({"Tr_velo_to_imu": "2 0 0 0 0 2 0 0 0 0 2 0"}, r"in 'Tr_velo_to_imu', .* identity by 3"),
        ({"Tr_velo_to_imu": "1 0 0 0 0 1 0 0 0 0 1 0\nP2: 1"}, "each key once, found 'P2' twice"),
    ],
)
def test_bad_calibration_numbers_are_rejected(path, change, message):
    path.write_text(calibration_text(**change))
    with pytest.raises(ValueError, match=message):
        formats.read_calibration(path)


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF8, "utf-8"),
        (b"", "utf-8"),
    ],
)
def test_calibration_in_every_encoding(path, mark, encoding):
    path.write_bytes(mark + (calibration_text() + "\n# 校准: 矿山\n").encode(encoding))
    assert formats.read_calibration(path).pixel_from_lidar[3, 3] == 1.0


def test_text_that_does_not_decode_is_rejected(path):
    path.write_bytes(b"P2: \xe9\xff\n")
    with pytest.raises(ValueError, match=r"expected text in utf-8-sig, found .* Save it as UTF-8"):
        formats.read_calibration(path)


# --- vehicle ---


def test_vehicle_info_by_hand(path):
    half = np.sqrt(0.5)
    path.write_text(f"{STEM} 1 2 3 0 0 {half} {half}\n{STEM} 4 5 6 7 8 9")  # A left turn of 90°.
    info = formats.read_vehicle_info(path)
    expected = [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    np.testing.assert_allclose(info.world_from_imu, expected, atol=1e-12)
    assert info.state.velocity_mps == (4, 5, 6)
    assert info.state.acceleration_mps2 == (7, 8, 9)
    assert info.stamp_s == float(STEM)


def test_vehicle_rotation_equals_the_quaternion_product(path):
    x, y, z, w = quaternion = np.array([0.1, -0.4, 0.3, 0.86])
    quaternion /= np.linalg.norm(quaternion)
    x, y, z, w = quaternion
    path.write_text(f"0 0 0 0 {x} {y} {z} {w}\n0 0 0 0 0 0 0")
    vector = np.array([0.5, -1.0, 2.0])
    axis = np.array([x, y, z])
    turned = vector + 2 * np.cross(axis, np.cross(axis, vector) + w * vector)
    rotation = formats.read_vehicle_info(path).world_from_imu[:3, :3]
    np.testing.assert_allclose(rotation @ vector, turned, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 2 3 0 0 0 1", r"a line of 8 numbers.*found lines of \[8\]"),
        ("0 1 2 3 0 0 0\n0 1 2 3 4 5 6", r"found lines of \[7, 7\]"),
        ("0 1 2 3 0 0 0 one\n0 1 2 3 4 5 6", "expected numbers in 'line 1'"),
        ("0 1 2 3 0 0 0 1\n0 1 2 3 4 5 inf", "expected finite numbers in 'line 2'"),
        ("0 1 2 3 0 0 0 0\n0 1 2 3 4 5 6", "a unit quaternion qx qy qz qw, found one of length 0"),
    ],
)
def test_bad_pose_line_is_rejected(path, text, message):
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        formats.read_vehicle_info(path)


# --- lists and sentences ---


def test_caption_is_stripped(path):
    path.write_text("A truck waits.\n")
    assert formats.read_caption(path) == "A truck waits."


def test_stem_list_skips_blank_lines_only(path):
    path.write_bytes(b"1.5\r\n\r\n2.25\n 3 ")
    assert scene_files.read_stem_list(path) == ["1.5", "2.25", "3"]
    path.write_bytes(b"")
    assert scene_files.read_stem_list(path) == []


def test_scene_info(path):
    path.write_text('{"scene_00000": {"location": "location_1", "samples": ["1.0"], "sweeps": []}}')
    assert scene_files.read_scene_info(path) == {
        "scene_00000": scene_files.Scene("location_1", ("1.0",), ())
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON with each key once, found"),
        ('{"a": {}, "a": {}}', "expected JSON .* found the key 'a' twice"),
        ("[" * 100_000, "expected JSON with each key once, found maximum recursion"),
        ("[]", "expected an object of scenes, found list"),
        ('{"a": 3}', "expected a list of samples in 'a'"),
        ('{"a": {"location": "b"}}', "expected a list of samples in 'a'"),
        ('{"a": {"samples": [1.5]}}', "expected stems of 'a' as strings, found other types"),
    ],
)
def test_bad_scene_info_is_rejected(tmp_path, text, message):
    path = tmp_path / IMAGESETS / "scene_info.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path}: {message}"):
        scene_files.read_scene_info(path)


def test_files_of_no_frame_are_not_named_after_one(tmp_path):
    for name in ("poses.txt", "mapping.json"):
        path = tmp_path / name
        with pytest.raises(FileNotFoundError, match=rf"{name} not found: check the path$"):
            read_text(path)
        path.write_bytes(b"")
        with pytest.raises(ValueError, match=rf"{name}: expected content, found an empty file"):
            read_text(path)
