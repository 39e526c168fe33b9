import pytest
import torch

from model.render.views import DISPLACEMENT_M, bird_camera, label_views
from tests.model_inputs import GRID, make_batch
from utils.geometry import project_points

SIZE = (32, 64)


def test_the_images_are_those_of_the_images_shrunk() -> None:
    batch = make_batch(2, cameras=2)
    views = label_views(batch.occupancy, GRID, batch.pixel_from_lidar, SIZE, stride=4)
    assert (views.height, views.width) == (8, 16)
    assert views.rays.origins.shape == (2, 2 * 8 * 16, 3)
    # The ray of image 1, row 3, column 5 goes through the image pixel (22, 14).
    ray = (1 * 8 + 3) * 16 + 5
    point = views.rays.origins[0, ray] + 7.0 * views.rays.directions[0, ray]
    pixel, depth = project_points(batch.pixel_from_lidar[0, 1], point[None])
    assert pixel[0].tolist() == pytest.approx([22.0, 14.0], abs=1e-3)
    assert depth.item() == pytest.approx(7.0, abs=1e-4)


def test_the_block_of_the_labels_is_where_it_projects_to() -> None:
    batch = make_batch(1)
    views = label_views(batch.occupancy, GRID, batch.pixel_from_lidar, SIZE)
    labels = views.hit.labels.view(*SIZE)
    # The block's near face: x = 6 m, y from −3 to 0 m, z from −1 to 1 m, 7 m before the camera.
    assert labels[16, 32 + round(30 * 1.5 / 7)] == 2
    assert labels[16, 32 - 20] == 255  # The sky: nothing is hit.


def test_the_displaced_camera_sees_what_the_real_one_would_see_from_there() -> None:
    batch = make_batch(1)
    views = label_views(batch.occupancy, GRID, batch.pixel_from_lidar, SIZE, virtual=("displaced",))
    assert views.pixel_from_lidar.shape == (1, 2, 4, 4)
    point = torch.tensor([[5.0, 1.0, 0.5]])
    real, depth = project_points(views.pixel_from_lidar[0, 0], point)
    moved, moved_depth = project_points(
        views.pixel_from_lidar[0, 1], point + torch.tensor(DISPLACEMENT_M)
    )
    torch.testing.assert_close(real, moved)
    torch.testing.assert_close(depth, moved_depth)


def test_the_bird_sees_all_of_the_grids_top_with_the_far_end_up() -> None:
    camera = bird_camera(GRID, SIZE)
    x, y, z = (low + n * GRID.voxel_m for low, n in zip(GRID.origin_m, GRID.shape, strict=True))
    corners = torch.tensor([[x, -y, z], [x, y, z], [0.0, -y, z], [0.0, y, z]])
    pixels, depth = project_points(camera, corners)
    assert (depth > 0).all()
    assert (pixels >= -1e-3).all()
    assert (pixels <= torch.tensor([64.001, 32.001])).all()
    assert (pixels[:2, 1] < pixels[2:, 1]).all()  # Far is up.
    assert pixels[1, 0] < pixels[0, 0]  # Left is left.
    turn = camera[:3, :3] / camera[:3, :3].norm(dim=1, keepdim=True)
    assert (camera[:2, :3] @ camera[2, :3]).abs().max() > 0 or torch.det(turn) > 0


def test_the_bird_sees_the_block_on_the_ground() -> None:
    batch = make_batch(1)
    views = label_views(batch.occupancy, GRID, batch.pixel_from_lidar, (64, 64), virtual=("bird",))
    labels = views.hit.labels.view(2, 64, 64)[1]
    assert set(labels.unique().tolist()) == {2, 11, 255}
    block = torch.nonzero(labels == 2).float()
    # Its middle: 7.5 m ahead of the grid's 16, 1.5 m right of its middle.
    assert block.mean(0).tolist() == pytest.approx([64 * (1 - 7.5 / 16), 32 + 4 * 1.5], abs=2.0)


def test_what_does_not_fit_is_rejected() -> None:
    batch = make_batch(1)
    place = (batch.occupancy, GRID, batch.pixel_from_lidar)
    with pytest.raises(ValueError, match="stride of 5 does not divide"):
        label_views(*place, SIZE, stride=5)
    with pytest.raises(ValueError, match=r"virtual cameras are .* got 'cat'"):
        label_views(*place, SIZE, virtual=("cat",))
