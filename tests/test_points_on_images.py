import numpy as np
import torch

from engine.pictures.color_maps import TURBO
from engine.pictures.points_on_images import draw_points_on_images

SCALE = 42  # 24 columns become 1008.
FORWARD = torch.tensor(  # 10 px focal length, the middle at (12, 8); x forward, y left, z up.
    [[12.0, -10, 0, 0], [8, 0, -10, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
)


def draw(*points, cameras=1):
    matrices = torch.stack([FORWARD, FORWARD @ torch.diag(torch.tensor([-1.0, -1, 1, 1]))])
    images = torch.zeros(cameras, 3, 16, 24, dtype=torch.uint8)
    return draw_points_on_images(images, matrices[:cameras], torch.tensor(points))


def test_a_return_is_where_it_is_projected_to():
    image = draw([10.0, 4.0, 2.0, 0.5])  # 4 pixels left of the middle and 2 above.
    assert image.shape == (16 * SCALE, 24 * SCALE, 3)
    row, column, _ = np.nonzero(image)
    assert {*row} == {6 * SCALE - 1, 6 * SCALE, 6 * SCALE + 1}
    assert {*column} == {8 * SCALE - 1, 8 * SCALE, 8 * SCALE + 1}


def test_near_returns_lie_over_far_ones_in_other_colors():
    both = draw([2.0, 0.0, 0.0, 0.0], [80.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(both, draw([2.0, 0.0, 0.0, 0.0]))
    np.testing.assert_array_equal(both[8 * SCALE, 12 * SCALE], TURBO[235])
    np.testing.assert_array_equal(draw([80.0, 0.0, 0.0, 0.0])[8 * SCALE, 12 * SCALE], TURBO[30])


def test_returns_behind_the_camera_are_in_the_other_ones_image():
    image = draw([-10.0, 0.0, 0.0, 0.0], cameras=2)
    ahead, behind = np.split(image, 2)
    assert not ahead.any()
    assert behind.any()


def test_square_pixels_whatever_the_shape_of_the_input():
    squeezed = torch.diag(torch.tensor([1.0, 0.5, 1.0, 1.0])) @ FORWARD  # 8 rows instead of 16.
    images = torch.zeros(1, 3, 8, 24, dtype=torch.uint8)
    image = draw_points_on_images(images, squeezed[None], torch.tensor([[10.0, 4.0, 2.0, 0.5]]))
    np.testing.assert_array_equal(image, draw([10.0, 4.0, 2.0, 0.5]))


def test_without_returns_the_image_is_as_it_was():
    images = torch.randint(0, 255, (1, 3, 8, 2000), dtype=torch.uint8)
    for points in (torch.zeros(0, 4), torch.full((1, 4), -5.0)):
        image = draw_points_on_images(images, FORWARD[None], points)
        np.testing.assert_array_equal(image, images[0].permute(1, 2, 0).numpy())
