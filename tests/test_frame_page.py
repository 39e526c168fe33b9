from dataclasses import replace

import numpy as np
import pytest
import torch

from dataset.sample import Sample, VehicleState
from engine.pictures.frame_errors import ERRORS
from engine.pictures.frame_page import draw_frame, frame_caption
from engine.pictures.page import NIGHT
from utils.geometry import VoxelGrid
from utils.labels import IGNORE, UNSCENES3D
from utils.view import look_at

GRID = VoxelGrid((0.0, -9.6, -4.0), 1.2, (16, 16, 8))
ROAD, TRUCK = UNSCENES3D.index("driveable_surface"), UNSCENES3D.index("truck")
SKY = (90, 160, 230)
WIDTH = 900


def scene_labels() -> np.ndarray:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[:, 4:12, 0] = ROAD
    labels[8:11, 6:9, 1:4] = TRUCK
    labels[15, 15] = IGNORE
    return labels


def frame(size=(60, 96)) -> Sample:
    view = look_at((-1, 0, 2), (10, 0, -1), size=size[::-1], fov_deg=60)
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform((1, -5, -3), (18, 5, 0), (500, 3)), np.ones((500, 1))], 1)
    image = torch.empty(1, 3, *size, dtype=torch.uint8)
    image[:] = torch.tensor(SKY)[:, None, None]
    return Sample(
        stem="1689903584.278848",
        scene="scene_00001",
        images=image,
        points=torch.from_numpy(points).float(),
        pixel_from_lidar=torch.from_numpy(view.pixel_from_lidar).float()[None],
        occupancy=torch.from_numpy(scene_labels()),
    )


def share(image, color, tolerance=0):
    """Share of the pixels with a color."""
    return (np.abs(image.astype(int) - color).max(-1) <= tolerance).mean()


def draw(sample, prediction=None):
    prediction = scene_labels() if prediction is None else prediction
    prediction = np.where(prediction == IGNORE, 0, prediction)
    return draw_frame(sample, prediction, GRID, UNSCENES3D, width=WIDTH)


def test_a_labeled_frame_has_two_rows_more_and_error_colors():
    sample = frame()
    prediction = scene_labels()
    prediction[:4, 4:12, 0] = 0  # Missed.
    prediction[4:6, 0:4, 0] = ROAD  # Invented.
    prediction[8:11, 6:9, 1:4] = UNSCENES3D.index("car")  # Wrong.
    labeled, bare = draw(sample, prediction), draw(replace(sample, occupancy=None), prediction)
    assert labeled.dtype == np.uint8
    assert labeled.shape[1] == bare.shape[1] == pytest.approx(WIDTH, abs=40)
    assert labeled.shape[0] > 1.6 * bare.shape[0]
    for name in ("missed", "invented", "wrong class"):
        color = ERRORS.colors[ERRORS.index(name)]
        assert share(labeled, color, 12) > 4 * share(bare, color, 12)
    assert share(labeled, UNSCENES3D.colors[TRUCK]) > 0  # Only the label has a truck.


def test_the_image_is_shown_as_it_is_and_larger():
    image = draw(frame())
    rows, columns = np.nonzero((image == SKY).all(-1))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert width / height == pytest.approx(96 / 60, rel=0.02)
    assert share(image, SKY) * image[..., 0].size == pytest.approx(height * width, rel=1e-3)


def test_a_wide_image_keeps_its_shape_between_dashes():
    image = draw(frame(size=(30, 120)))
    rows, columns = np.nonzero((image == SKY).all(-1))
    assert (np.ptp(columns) + 1) / (np.ptp(rows) + 1) == pytest.approx(4, rel=0.05)


def test_a_stretched_image_is_shown_with_square_pixels():
    sample = frame(size=(60, 96))
    stretched = torch.diag(torch.tensor([0.5, 1.0, 1.0, 1.0])) @ sample.pixel_from_lidar
    image = draw(replace(sample, images=sample.images[..., ::2], pixel_from_lidar=stretched))
    rows, columns = np.nonzero((image == SKY).all(-1))
    assert (np.ptp(columns) + 1) / (np.ptp(rows) + 1) == pytest.approx(96 / 60, rel=0.02)


@pytest.mark.parametrize("absent", [("images", "pixel_from_lidar"), ("images",), ("points",)])
def test_a_frame_is_drawn_from_what_it_has(absent):
    sample = replace(frame(), **dict.fromkeys(absent))
    image = draw(sample)
    assert (share(image, SKY) > 0) == ("images" not in absent)
    assert (share(image, NIGHT) > 0.05) == ("points" not in absent)


def test_a_frame_with_nothing_predicted_is_drawn():
    image = draw(replace(frame(), occupancy=None), np.zeros(GRID.shape, np.uint8))
    assert image.shape[1] == pytest.approx(WIDTH, abs=40)


def test_drawing_leaves_the_frame_alone():
    sample, prediction = frame(), np.where(scene_labels() == IGNORE, 0, scene_labels())
    before = prediction.copy()
    first = draw_frame(sample, prediction, GRID, UNSCENES3D, width=WIDTH)
    np.testing.assert_array_equal(prediction, before)
    for name in ("images", "points", "occupancy"):
        assert torch.equal(getattr(sample, name), getattr(frame(), name))
    second = draw_frame(sample, prediction, GRID, UNSCENES3D, width=WIDTH)
    np.testing.assert_array_equal(first, second)


def test_a_prediction_of_another_size_is_rejected():
    small = np.zeros((4, 4, 8), np.uint8)
    with pytest.raises(ValueError, match=r"903584.278848: the prediction of shape \(4, 4, 8\)"):
        draw(frame(), small)
    with pytest.raises(ValueError, match="the label of shape"):
        draw(replace(frame(), occupancy=torch.from_numpy(small)))


def test_caption_and_motion_stand_below_the_input():
    vehicle = VehicleState((3.0, 4.0, 0.0), (-0.5, 0.25, 9.8))
    told = replace(frame(), caption="A truck on the left.", vehicle=vehicle)
    assert frame_caption(told) == [
        "A truck on the left.",
        "Speed 5.0 m/s (18 km/h), acceleration -0.50 forward, +0.25 left, +9.80 up m/s^2",
    ]
    assert frame_caption(frame()) == []
    assert draw(told).shape[0] > draw(frame()).shape[0]
