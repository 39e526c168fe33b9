import cv2
import numpy as np
import pytest
import torch

from dataset import layout
from dataset.arrays import InputOptions, as_array, sample_from_arrays
from dataset.formats import read_calibration, read_cloud, read_image
from dataset.image_decoding import EncodedImage
from dataset.reading import Reading
from dataset.unscenes3d import UnScenes3D
from tests.layout_files import write_tiny_unscenes3d

OPTIONS = InputOptions((30, 48), (0.1, 0.0, 0.9, 1.0), 40.0)
MATRIX = np.diag([2.0, 2.0, 1.0, 1.0])
IMAGE = np.zeros((20, 30, 3), np.uint8)
POINTS = np.array([[1.0, 2.0, 3.0, 0.5], [99.0, 0.0, 0.0, 0.5]])


def test_arrays_become_the_sample_that_the_data_set_reads(tmp_path):
    scenes = {"scene_00000": "location_1"}
    (stem,) = write_tiny_unscenes3d(tmp_path, scenes=scenes, frames=1, sweeps=0)
    expected = UnScenes3D(
        tmp_path,
        "all",
        Reading(
            layout.LABEL_GRID,
            ("images", "points", "pixel_from_lidar"),
            image_size=OPTIONS.image_size,
            image_crop=OPTIONS.image_crop,
        ),
        max_range_m=OPTIONS.max_range_m,
    )[0]
    path = {folder: tmp_path / layout.relative_path(folder, stem) for folder in layout.SUFFIXES}
    found = sample_from_arrays(
        stem,
        OPTIONS,
        images=[read_image(path[layout.IMAGES])],
        pixel_from_lidar=[read_calibration(path[layout.CALIBS]).pixel_from_lidar],
        points=read_cloud(path[layout.CLOUDS]),
    )
    for field in ("images", "points", "pixel_from_lidar"):
        assert torch.equal(getattr(found, field), getattr(expected, field)), field


def test_image_files_may_take_the_place_of_arrays():
    pixels = cv2.resize(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8), (320, 200))
    data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    inputs = ([EncodedImage("a.jpg", data)], [EncodedImage("a.jpg", data).rgb()])
    file, array = (
        sample_from_arrays("a", OPTIONS, images=images, pixel_from_lidar=[MATRIX])
        for images in inputs
    )
    assert torch.equal(file.pixel_from_lidar, array.pixel_from_lidar)
    # The file is decoded at a quarter of its size, so only the anti-aliasing differs.
    assert 0 < (file.images.int() - array.images.int()).abs().float().mean() < 1


def test_cameras_may_have_images_of_several_sizes():
    images = [IMAGE, np.zeros((40, 30, 3), np.uint8)]
    sample = sample_from_arrays("a", OPTIONS, images=images, pixel_from_lidar=[MATRIX, MATRIX])
    assert sample.images.shape == (2, 3, 30, 48)
    assert sample.pixel_from_lidar.shape == (2, 4, 4)
    assert sample.points is None


def test_points_beyond_the_range_are_dropped_and_none_without_one():
    assert len(sample_from_arrays("a", OPTIONS, points=POINTS).points) == 1
    points = sample_from_arrays("a", InputOptions(None), points=POINTS).points
    assert points.shape == (2, 4)
    assert points.dtype == torch.float32


def test_options_are_those_of_the_section_that_it_has():
    section = dict(type="X", image_size=[30, 48], image_crop=(0.1, 0.0, 0.9, 1.0), max_range_m=40.0)
    assert InputOptions.from_section(section) == OPTIONS
    assert InputOptions.from_section(section | {"lidar_height_m": 2.7}).lidar_height_m == 2.7
    assert InputOptions.from_section({}) == InputOptions(None)
    with pytest.raises(ValueError, match="image_crop"):
        InputOptions((30, 48), (0.0, 0.0, 2.0, 1.0))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (dict(images=[IMAGE]), "1 images and 0 matrices"),
        (dict(images=[IMAGE], pixel_from_lidar=[MATRIX] * 2), "1 images and 2 matrices"),
        (dict(images=[], pixel_from_lidar=[]), "0 images"),
        (dict(images=[IMAGE], pixel_from_lidar=[np.zeros((4, 4))]), "an invertible"),
        (dict(images=[IMAGE], pixel_from_lidar=[np.diag([1.0, 1, 1, 2])]), "last row"),
        (dict(images=[IMAGE], pixel_from_lidar=[np.diag([2.0, 2, 2, 1])]), "length 1, got 2: "),
        (dict(points=np.zeros((3, 3))), r"intensity.*\(3, 3\)"),
        (dict(points=np.full((3, 4), np.nan)), "3 of 3 points are not finite, the first is 0"),
    ],
)
def test_what_is_not_as_described_is_rejected(arrays, message):
    with pytest.raises(ValueError, match=message):
        sample_from_arrays("a", OPTIONS, **arrays)


def test_intensities_of_another_unit_are_rejected():
    points = np.random.default_rng(0).uniform(0, 1, (200, 4))
    with pytest.raises(ValueError, match=r"frame a: points: .* of 0–1, found .* % above.* Divide"):
        sample_from_arrays("a", OPTIONS, points=points * [1, 1, 1, 255])
    points[0, 3] = 1.2  # One glint.
    assert sample_from_arrays("a", OPTIONS, points=points).points[:, 3].max() == 1


def test_tensors_and_lists_become_arrays():
    for values in (POINTS, POINTS.tolist(), torch.from_numpy(POINTS).requires_grad_()):
        np.testing.assert_array_equal(as_array("points", values), POINTS)
    for values, found in (
        ([[1.0, 2.0], [3.0]], "must be an array of numbers: "),
        ("clouds/a.bin", r"numbers, got str \(<U"),
        ([None], r"numbers, got list \(object"),
        ({"x": 1}, "numbers, got dict"),
    ):
        with pytest.raises(ValueError, match=f"points .*{found}"):
            as_array("points", values)


def test_an_image_of_another_kind_is_rejected():
    for image in (IMAGE[:0], IMAGE.astype(np.uint8)[:, :0]):
        with pytest.raises(ValueError, match="an image must be uint8"):
            sample_from_arrays("a", OPTIONS, images=[image], pixel_from_lidar=[MATRIX])


def test_images_need_the_size_that_the_network_reads():
    with pytest.raises(ValueError, match="no image_size"):
        sample_from_arrays("a", InputOptions(None), images=[IMAGE], pixel_from_lidar=[MATRIX])
