import math

import cv2
import numpy as np
import pytest

from dataset import layout, transforms
from dataset.augmentation import Choices
from dataset.image_decoding import EncodedImage
from utils.geometry import VoxelGrid
from utils.labels import IGNORE

WHOLE = (0.0, 0.0, 1.0, 1.0)
GRID = VoxelGrid(origin_m=(-2.0, -2.0, 0.0), voxel_m=0.5, shape=(8, 8, 2))


# --- images ---


def test_image_matrix_by_hand():
    # Columns 10–50 of a recorded image become 20 wide, rows 4–12 become 16 high.
    transform = transforms.ImageTransform((4, 10, 12, 50), (16, 20))
    depth = 7.0
    pixel = transform.matrix() @ [30 * depth, 6 * depth, depth, 1]
    np.testing.assert_allclose(pixel, [10 * depth, 4 * depth, depth, 1])
    mirrored = transforms.ImageTransform((4, 10, 12, 50), (16, 20), flip=True)
    pixel = mirrored.matrix() @ [20 * depth, 6 * depth, depth, 1]  # u = 5, mirrored in 20.
    np.testing.assert_allclose(pixel, [15 * depth, 4 * depth, depth, 1])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("window", [(0, 0, 60, 80), (10, 20, 50, 70), (-15, -10, 75, 95)])
@pytest.mark.parametrize("size", [(30, 40), (120, 240), (20, 100)])
def test_pixels_land_where_the_matrix_says(window, size, flip):
    # A blob of color and of depth, several pixels wide so that it survives shrinking.
    recorded = np.zeros((60, 80, 3), np.uint8)
    recorded[24:36, 40:56] = 255
    depth = np.zeros((60, 80), np.float32)
    depth[24:36, 40:56] = 9.0
    transform = transforms.ImageTransform(window, size, flip)
    u, v, _, _ = transform.matrix() @ [48, 30, 1, 1]  # Its middle.
    image = transform.image(recorded)
    assert image.shape == (*size, 3)
    for picture in (image[..., 0].astype(float), transform.depth(depth)):
        assert picture.shape == size
        rows, columns = np.indices(size) + 0.5
        # Half an output pixel, for nearest neighbors place a blob's edges no better.
        assert (rows * picture).sum() / picture.sum() == pytest.approx(v, abs=0.5)
        assert (columns * picture).sum() / picture.sum() == pytest.approx(u, abs=0.5)


def test_depth_is_looked_up_and_never_mixed():
    rng = np.random.default_rng(0)
    recorded = (rng.random((13, 17)) * (rng.random((13, 17)) < 0.5)).astype(np.float32)
    transform = transforms.ImageTransform((-2, 3, 11, 20), (6, 9))
    expected = np.zeros((6, 9), np.float32)
    for i in range(6):
        for j in range(9):
            row, column = math.floor(-2 + (i + 0.5) * 13 / 6), math.floor(3 + (j + 0.5) * 17 / 9)
            if 0 <= row < 13 and 0 <= column < 17:
                expected[i, j] = recorded[row, column]
    np.testing.assert_array_equal(transform.depth(recorded), expected)
    mirrored = transforms.ImageTransform((-2, 3, 11, 20), (6, 9), flip=True)
    np.testing.assert_array_equal(mirrored.depth(recorded), expected[:, ::-1])


def test_stored_depth_is_looked_up_in_its_own_unit():
    stored = np.arange(60, dtype=np.uint16).reshape(6, 10)
    transform = transforms.ImageTransform((0, 0, 6, 10), (3, 5))
    found = transform.depth(stored)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found / 256, transform.depth((stored / 256).astype(np.float32)))


def test_windows_wholly_outside_are_black_and_without_depth():
    for window in [(70, 0, 90, 80), (-30, 0, -10, 80), (0, 90, 60, 99)]:
        transform = transforms.ImageTransform(window, (5, 6))
        assert not transform.image(np.full((60, 80, 3), 9, np.uint8)).any()
        assert not transform.depth(np.ones((60, 80), np.float32)).any()


def test_shrinking_takes_area_means():
    recorded = np.zeros((2, 4, 3), np.uint8)
    recorded[0, 0] = 200
    image = transforms.ImageTransform((0, 0, 2, 4), (1, 2)).image(recorded)
    np.testing.assert_array_equal(image[0, :, 0], [50, 0])


def test_image_transform_by_hand():
    def window(crop=WHOLE, **choices):
        transform = transforms.image_transform((100, 200), (100, 200), crop, Choices(**choices))
        assert transform.size == (100, 200)
        return transform.window

    assert window() == (0, 0, 100, 200)
    assert window((0.3, 0.1, 0.8, 0.9)) == (30, 20, 80, 180)
    assert window(image_scale=2.0) == (25, 50, 75, 150)
    assert window(image_scale=0.5) == (-50, -100, 150, 300)
    assert window(image_shift=(0.1, -0.2)) == (10, -40, 110, 160)
    assert window((0.5, 0.0, 1.0, 1.0), image_scale=2.0, image_shift=(0.1, 0.0)) == (
        68,  # Middle 75 + 0.1 · 50, ± 12.5: 67.5 and 92.5, rounded to even.
        50,
        92,
        150,
    )
    assert window((0.001, 0.0, 0.002, 1.0))[::2] == (0, 1)  # At least one pixel.
    flipped = transforms.image_transform((100, 200), (10, 20), WHOLE, Choices(image_flip=True))
    assert flipped.flip


# --- colors ---


def test_colors_by_hand():
    image = np.array([[[50, 100, 150]], [[100, 100, 100]]], np.uint8)
    before = image.copy()
    assert transforms.jitter_colors(image, Choices()) is image
    brighter = transforms.jitter_colors(image, Choices(brightness=1.2))
    np.testing.assert_array_equal(brighter[0, 0], [60, 120, 180])
    stronger = transforms.jitter_colors(image, Choices(contrast=1.5))  # About the mean, 100.
    np.testing.assert_array_equal(stronger[0, 0], [25, 100, 175])
    gray = transforms.jitter_colors(image, Choices(saturation=0.0))
    assert gray[0, 0].std() == 0
    np.testing.assert_array_equal(gray[1, 0], [100, 100, 100])
    np.testing.assert_array_equal(image, before)


def test_colors_saturate_and_do_not_wrap():
    image = np.array([[[0, 128, 250]]], np.uint8)
    assert transforms.jitter_colors(image, Choices(brightness=1.9)).max() == 255
    assert transforms.jitter_colors(image, Choices(contrast=1.9)).min() == 0


# --- volumes ---


def test_volume_matrix_by_hand():
    turn = transforms.augmented_from_recorded(Choices(volume_rotation_deg=90.0))
    np.testing.assert_allclose(turn @ [1, 0, 5, 1], [0, 1, 5, 1], atol=1e-12)
    both = transforms.augmented_from_recorded(Choices(volume_rotation_deg=90.0, volume_flip=True))
    np.testing.assert_allclose(both @ [0, 1, 5, 1], [1, 0, 5, 1], atol=1e-12)  # By (0, −1).
    np.testing.assert_array_equal(transforms.augmented_from_recorded(Choices()), np.eye(4))
    up = transforms.augmented_from_recorded(Choices(volume_height_m=0.6))
    np.testing.assert_allclose(up @ [1, 2, 5, 1], [1, 2, 5.6, 1])


def test_cloud_keeps_further_columns_and_its_input():
    cloud = np.array([[1, 0, 5, 0.5, 9.0]], np.float32)
    turn = transforms.augmented_from_recorded(Choices(volume_rotation_deg=90.0))
    turn[:3, 3] = 1, 2, 3
    moved = transforms.transform_cloud(turn, cloud)
    np.testing.assert_allclose(moved, [[1, 3, 8, 0.5, 9.0]], atol=1e-6)
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(cloud, np.float32([[1, 0, 5, 0.5, 9.0]]))
    assert transforms.transform_cloud(turn, cloud[:0]).shape == (0, 5)


def random_labels(shape=GRID.shape):
    return np.random.default_rng(0).integers(0, 12, shape).astype(np.uint8)


def test_flipped_labels_are_mirrored_in_y():
    labels = random_labels()
    flip = transforms.augmented_from_recorded(Choices(volume_flip=True))
    moved = transforms.transform_occupancy(flip, labels, GRID)
    np.testing.assert_array_equal(moved, labels[:, ::-1])


def test_labels_turned_by_a_quarter_by_hand():
    labels = random_labels()
    turn = transforms.augmented_from_recorded(Choices(volume_rotation_deg=90.0))
    moved = transforms.transform_occupancy(turn, labels, GRID)
    # What lies at (x, y) goes to (−y, x).
    np.testing.assert_array_equal(moved, labels.transpose(1, 0, 2)[::-1])


@pytest.mark.parametrize("height_m", [0.0, 0.5, -0.5, 1.5])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("angle", [0.0, 7.0, -33.0])
def test_labels_equal_a_slow_loop(flip, angle, height_m):
    labels = random_labels()
    before = labels.copy()
    choices = Choices(volume_rotation_deg=angle, volume_flip=flip, volume_height_m=height_m)
    matrix = transforms.augmented_from_recorded(choices)
    moved = transforms.transform_occupancy(matrix, labels, GRID)
    inverse = np.linalg.inv(matrix)
    for index in np.ndindex(*GRID.shape):
        center = GRID.meters_from_voxel(np.array(index) + 0.5)
        source = GRID.voxel_from_meters((inverse @ [*center, 1])[:3])
        inside = (source >= 0).all() and (source < GRID.shape).all()
        assert moved[index] == (labels[tuple(source.astype(int))] if inside else IGNORE)
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize("angle", [3.0, 11.0, 29.0])
def test_turned_surfaces_keep_no_holes(angle):
    labels = np.zeros(layout.LABEL_GRID.shape, np.uint8)
    labels[:, :, 4] = 11
    labels[:, 100, 4:12] = 10  # A wall one voxel thick along x.
    matrix = transforms.augmented_from_recorded(Choices(volume_rotation_deg=angle))
    moved = transforms.transform_occupancy(matrix, labels, layout.LABEL_GRID)
    known = moved[:, :, 0] != IGNORE
    assert 0.5 < known.mean() < 1.0
    assert np.isin(moved[known][:, 4], (10, 11)).all()
    rows_with_wall = np.flatnonzero((moved[:, :, 8] == 10).any(axis=1))
    assert (np.diff(rows_with_wall) == 1).all()  # Each step forward meets the wall.
    assert len(rows_with_wall) > 100


def test_turned_labels_agree_with_turned_points():
    grid = layout.LABEL_GRID
    rng = np.random.default_rng(0)
    labels = np.zeros(grid.shape, np.uint8)
    labels[60:80, 100:140, 3:9] = 2
    index = np.argwhere(labels == 2)
    points = grid.meters_from_voxel(index + rng.uniform(0.05, 0.95, index.shape))
    matrix = transforms.augmented_from_recorded(Choices(volume_rotation_deg=17.0, volume_flip=True))
    moved = transforms.transform_occupancy(matrix, labels, grid)
    cloud = transforms.transform_cloud(matrix, points.astype(np.float32))
    at = np.floor(grid.voxel_from_meters(cloud)).astype(int)
    # Only voxels at the block's faces can round to the outside.
    assert (moved[tuple(at.T)] == 2).mean() > 0.95
    assert (moved == 2).sum() == pytest.approx((labels == 2).sum(), rel=0.02)


# --- elevation ---


def test_flipped_elevation_is_mirrored():
    elevation = np.random.default_rng(0).random((204, 217)).astype(np.float32)
    flip = transforms.augmented_from_recorded(Choices(volume_flip=True))
    moved = transforms.transform_elevation(flip, elevation)
    # Cells go from −10.88 to 10.82 m: the middle of the leftmost, 10.77 m, comes from −10.77 m, a
    # tenth into the second from the right. What the rightmost shows comes from beyond the left.
    np.testing.assert_array_equal(moved[:, :216], elevation[:, 215::-1])
    assert np.isnan(moved[:, 216]).all()


def test_lifted_elevation_is_higher():
    elevation = np.random.default_rng(0).random((204, 217)).astype(np.float32)
    up = transforms.augmented_from_recorded(Choices(volume_height_m=0.6))
    np.testing.assert_allclose(transforms.transform_elevation(up, elevation), elevation + 0.6)


def test_turned_elevation_equals_a_slow_loop():
    elevation = np.random.default_rng(0).random((40, 43)).astype(np.float32)  # Of 0.5 m.
    matrix = transforms.augmented_from_recorded(Choices(volume_rotation_deg=10.0))
    moved = transforms.transform_elevation(matrix, elevation)
    inverse = np.linalg.inv(matrix)
    near, right = 25.0, -10.88
    for row, column in np.ndindex(40, 43):
        x, y = near + (39 - row + 0.5) * 0.5, right + (42 - column + 0.5) * 0.5
        x, y = (inverse @ [x, y, 0, 1])[:2]
        i, j = 39 - math.floor((x - near) / 0.5), 42 - math.floor((y - right) / 0.5)
        expected = elevation[i, j] if 0 <= i < 40 and 0 <= j < 43 else np.nan
        np.testing.assert_equal(moved[row, column], expected)
    assert 0.2 < np.isfinite(moved).mean() < 1.0


# --- coarsening ---


def test_coarsening_by_hand():
    labels = np.zeros((2, 2, 14), np.uint8)
    labels[0, 0, 0] = 3  # One label among free voxels.
    labels[:, 0, 2], labels[0, 1, 3] = 5, 7  # Two against one.
    labels[0, :, 4], labels[1, :, 5] = 9, 4  # As many of each: the smaller label.
    labels[..., 6:8], labels[0, 0, 6] = IGNORE, 11  # Ignored voxels do not count.
    labels[:, :, 9], labels[0, 0, 8] = IGNORE, IGNORE  # Five of eight ignored, the others free.
    labels[..., 11] = IGNORE  # Half of them.
    labels[..., 12:14] = IGNORE
    before = labels.copy()
    coarse = transforms.coarsen_occupancy(labels, 2)
    assert coarse.shape == (1, 1, 7)
    assert coarse.ravel().tolist() == [3, 5, 4, 11, IGNORE, 0, IGNORE]
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_coarsening_equals_a_slow_loop(factor):
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 0, 0, 0, 0, 1, 2, 3, 11, IGNORE], (8, 12, 16)).astype(np.uint8)
    coarse = transforms.coarsen_occupancy(labels, factor)
    assert coarse.shape == (8 // factor, 12 // factor, 16 // factor)
    for index in np.ndindex(*coarse.shape):
        block = labels[tuple(slice(i * factor, (i + 1) * factor) for i in index)].ravel()
        counts = np.bincount(block, minlength=256)
        expected = IGNORE if counts[IGNORE] > counts[0] else 0
        if counts[1:IGNORE].any():
            expected = 1 + counts[1:IGNORE].argmax()
        assert coarse[index] == expected


@pytest.mark.parametrize("value", [0, IGNORE, 11])
def test_coarsening_of_one_value(value):
    labels = np.full((4, 4, 4), value, np.uint8)
    assert (transforms.coarsen_occupancy(labels, 2) == value).all()


@pytest.mark.parametrize("factor", [0, 3, -2])
def test_factor_that_does_not_divide_is_rejected(factor):
    with pytest.raises(ValueError, match=rf"{factor} does not divide the shape \(8, 8, 2\)"):
        transforms.coarsen_occupancy(random_labels(), factor)


# --- JPEGs decoded at a reduced size ---


@pytest.mark.parametrize(
    ("recorded", "size", "reduction"),
    [
        ((1200, 1920), (384, 1280), 1),  # 3.1 rows, but only 1.5 columns.
        ((900, 1600), (256, 704), 2),
        ((900, 1600), (96, 264), 4),
        ((900, 1600), (450, 800), 2),
        ((899, 1600), (450, 800), 1),
        ((900, 1600), (10, 10), 8),
        ((100, 100), (200, 200), 1),
    ],
)
def test_no_more_is_reduced_than_the_result_needs(recorded, size, reduction):
    assert transforms.image_transform(recorded, size, WHOLE, Choices()).reduction == reduction


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.3])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.113, -0.071)])
def test_reduced_windows_are_whole_pixels(scale, shift):
    choices = Choices(image_scale=scale, image_shift=shift)
    crop = (0.3535, 0.01, 1.0, 0.99)
    window = transforms.image_transform((901, 1603), (96, 264), crop, choices)
    top, left, bottom, right = window.window
    assert window.reduction > 1
    assert all(edge % window.reduction == 0 for edge in window.window)
    assert bottom - top >= 96 * window.reduction
    assert right - left >= 264 * window.reduction


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [(90, 140), (45, 70), (20, 33)])
def test_reduced_jpegs_land_where_the_matrix_says(size, flip):
    blob = np.zeros((203, 301, 3), np.uint8)
    cv2.circle(blob, (160, 90), 30, (255, 255, 255), -1)
    rows, columns = np.indices(blob.shape[:2]) + 0.5
    weight = blob[..., 0] / blob[..., 0].sum()
    middle = [(columns * weight).sum(), (rows * weight).sum(), 1, 1]
    choices = Choices(image_scale=1.02, image_shift=(0.01, -0.03), image_flip=flip)
    window = transforms.image_transform(blob.shape[:2], size, WHOLE, choices)
    assert window.reduction > 1
    data = cv2.imencode(".jpg", blob, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    found = window.decoded(EncodedImage("a", data))
    assert found.shape == (*size, 3)
    rows, columns = np.indices(size) + 0.5
    weight = found[..., 0] / found[..., 0].sum(dtype=float)
    u, v, _, _ = window.matrix() @ middle
    assert (columns * weight).sum() == pytest.approx(u, abs=0.1)
    assert (rows * weight).sum() == pytest.approx(v, abs=0.1)


def test_other_formats_are_reduced_by_the_resize_alone():
    rng = np.random.default_rng(0)
    recorded = rng.integers(0, 255, (90, 160, 3)).astype(np.uint8)
    window = transforms.image_transform((90, 160), (30, 40), WHOLE, Choices())
    assert window.reduction == 2
    data = cv2.imencode(".png", recorded[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(window.decoded(EncodedImage("a", data)), window.image(recorded))
