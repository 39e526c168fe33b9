"""Depth of painted volumes, as cameras at known places must see it."""

import math
from dataclasses import replace

import pytest
import torch

from dataset.sample import NeighborViews
from model.novel_view import (
    ViewOptions,
    gaussian_depth,
    labeled_centers,
    lattice_from_pixel,
    log_free_of,
    occupancy_density,
    render_depth,
    sample_depth,
    untrained_refinement,
    volume_depth,
    voxel_edges,
)
from model.render.volume import termination_weights
from tests.model_inputs import GRID as WIDE
from tests.model_inputs import make_batch, make_model, model_config, pinhole
from utils.geometry import VoxelGrid, project_points

GRID = VoxelGrid(origin_m=(0.0, -6.0, -3.0), voxel_m=0.5, shape=(40, 24, 12))
IMAGE = (20, 40)
OPTIONS = ViewOptions(size=(5, 9), near_m=0.1, far_m=30.1)
PLANE_M = 15.0


def painted_logits(size=1, x=30):
    """A wall one voxel thick, from 15 m to 15.5 m ahead, in frame b one meter farther each."""
    logits = torch.zeros(size, 12, *GRID.shape)
    logits[:, 0] = 14.0
    for frame in range(size):
        logits[frame, 0, x + 2 * frame] = -14.0
        logits[frame, 10, x + 2 * frame] = 14.0
    return logits


def cameras(*forward_m):
    return torch.stack([pinhole(*IMAGE, 60.0, forward_m=m) for m in forward_m])[None]


def by_volume(logits, views, options=OPTIONS):
    return volume_depth(log_free_of(logits), GRID, views, IMAGE, options)


def by_gaussians(logits, views):
    decoded = torch.zeros(len(logits), 2, 20, 12, 6)
    return gaussian_depth(None, decoded, logits, GRID, views, IMAGE, OPTIONS)


@pytest.mark.parametrize("render", [by_volume, by_gaussians])
def test_a_wall_is_where_it_stands_and_two_meters_nearer_after_two_meters(render):
    here, ahead = render(painted_logits(), cameras(-1.0, 1.0))[0]
    middle = torch.full_like(here, PLANE_M + 0.25 + 1.0)  # Camera depth: the same at all pixels.
    # A ray ends in the middle of its first segment in the wall, and those are half a voxel long.
    torch.testing.assert_close(here, middle, atol=0.5, rtol=0)
    torch.testing.assert_close(here - ahead, torch.full_like(here, 2.0), atol=0.02, rtol=0)


def test_the_likeliest_end_is_at_the_wall_too():
    options = ViewOptions(depth_target="max", size=OPTIONS.size, near_m=0.1, far_m=30.1)
    here, ahead = by_volume(painted_logits(), cameras(-1.0, 1.0), options)[0]
    torch.testing.assert_close(here, torch.full_like(here, 16.25), atol=0.5, rtol=0)
    torch.testing.assert_close(here - ahead, torch.full_like(here, 2.0))


def test_max_is_not_drawn_to_the_far_end_by_what_passes():
    logits = painted_logits()
    logits[:, 0, 30] = 0.0
    logits[:, 1:, 30] = torch.tensor([2.0] + 10 * [-20.0])[:, None, None]  # P(occupied) = 0.88
    raw = by_volume(logits, cameras(0.0))
    likeliest = by_volume(logits, cameras(0.0), ViewOptions("volume", "max", (5, 9), 0.1, 30.1))
    assert (raw > 16).all()
    assert ((likeliest - 15.25).abs() < 0.5).all()


def test_rays_that_meet_nothing_end_at_the_far_end():
    free = painted_logits()
    free[:, 0] = 30.0
    for target in ("raw", "max"):
        options = ViewOptions("volume", target, (5, 9), 0.1, 30.1)
        depth = by_volume(free, cameras(0.0), options)
        torch.testing.assert_close(depth, torch.full_like(depth, 30.1))
    assert (by_gaussians(free, cameras(0.0)) == OPTIONS.far_m).all()


def test_each_frame_and_each_camera_has_its_own_image():
    views = torch.cat([cameras(-1.0, 0.0), cameras(0.0, 2.0)])
    both = by_volume(painted_logits(2), views)
    assert both.shape == (2, 2, *OPTIONS.size)
    for frame in range(2):
        one = by_volume(painted_logits(2)[frame][None], views[frame][None])
        torch.testing.assert_close(both[frame], one[0])
    torch.testing.assert_close(both[0, 1], both[1, 1] + 1.0, atol=0.02, rtol=0)  # 15 m; 16 − 2 m.


def test_a_moved_camera_sees_a_wall_aside():
    """The pose, not the pixel, decides: turned by 90 degrees it looks along y."""
    logits = torch.zeros(1, 12, *GRID.shape)
    logits[:, 0] = 14.0
    logits[:, 0, :, 22] = -14.0
    logits[:, 10, :, 22] = 14.0  # From y = 5 m on.
    here_from_turned = torch.eye(4)
    here_from_turned[:2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    here_from_turned[:3, 3] = torch.tensor([10.0, 0.0, 0.0])
    view = cameras(0.0) @ torch.linalg.inv(here_from_turned)
    depth = by_volume(logits, view)
    torch.testing.assert_close(depth, torch.full_like(depth, 5.25), atol=0.5, rtol=0)


@pytest.mark.parametrize("number", [1, 7, 45, 100])
def test_the_number_of_rays_at_a_time_changes_nothing(number):
    options = ViewOptions(size=(5, 9), near_m=0.1, far_m=30.1, rays_at_once=number)
    views = cameras(0.0)
    whole = by_volume(painted_logits(), views)
    torch.testing.assert_close(by_volume(painted_logits(), views, options), whole)


def test_density_ends_a_ray_in_a_voxel_as_probably_as_it_is_occupied():
    occupied = torch.tensor([0.0, 0.25, 0.999]).view(1, 3, 1, 1)
    density = occupancy_density(torch.log1p(-occupied), 0.5)
    weight = termination_weights(density.flatten()[:, None], torch.full((3, 1), 0.5))
    torch.testing.assert_close(weight.flatten(), occupied.flatten())
    assert density.flatten()[1].item() == pytest.approx(math.log(4 / 3) / 0.5)
    logits = torch.randn(2, 12, 2, 3, 4)
    torch.testing.assert_close(log_free_of(logits), logits.log_softmax(1)[:, 0])


def test_segments_are_no_longer_than_half_a_voxel():
    edges = voxel_edges(GRID, 0.1, 80.0, "cpu")
    assert (edges[0], edges[-1]) == (pytest.approx(0.1), 80.0)
    assert edges.diff().max() <= 0.25
    assert len(edges) == 321


def test_nodes_of_the_lattice_span_the_image():
    matrix = lattice_from_pixel((20, 40), (5, 9))
    corners = torch.tensor([[0.0, 0.0, 1.0, 1.0], [40.0, 20.0, 1.0, 1.0], [20.0, 10.0, 1.0, 1.0]])
    nodes = (corners @ matrix.T)[:, :2]
    torch.testing.assert_close(nodes, torch.tensor([[0.5, 0.5], [8.5, 4.5], [4.5, 2.5]]))


def test_depth_at_a_pixel_is_bilinear_between_the_nodes():
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(9.0), indexing="ij")
    lattice = 10 * rows + columns
    pixels = torch.tensor([[0.0, 0.0], [40.0, 20.0], [7.5, 12.5], [-3.0, 10.0]])
    # By hand: 40 / 8 = 5 pixels a column, 20 / 4 = 5 a row; the last is on the border.
    expected = torch.tensor([0.0, 48.0, 25.0 + 1.5, 20.0])
    torch.testing.assert_close(sample_depth(lattice, pixels, IMAGE), expected)
    assert sample_depth(lattice, pixels[:0], IMAGE).shape == (0,)


@pytest.mark.parametrize("render", [by_volume, by_gaussians])
def test_the_ground_is_sampled_where_its_points_are_seen(render):
    """Depth that changes over the image: any shift between lattice and image would show."""
    logits = torch.zeros(1, 12, *GRID.shape)
    logits[:, 0] = 14.0
    logits[:, 0, :, :, 1] = -14.0
    logits[:, 11, :, :, 1] = 14.0
    points = torch.stack(
        torch.meshgrid(torch.arange(7.0, 15), torch.arange(-2.0, 3), indexing="ij")
    )
    points = torch.cat([points.flatten(1).T, torch.full((40, 1), -2.25)], dim=1)
    view = pinhole(*IMAGE, 30.0)[None, None]
    pixels, depth_m = project_points(view[0, 0], points)
    inside = ((pixels > 0) & (pixels < torch.tensor([40.0, 20.0]))).all(-1)
    assert inside.sum() > 10
    fine = ViewOptions(size=(60, 60), near_m=0.1, far_m=30.1)
    if render is by_volume:
        lattice = by_volume(logits, view, fine)[0, 0]
    else:
        decoded = torch.zeros(1, 2, 20, 12, 6)
        lattice = gaussian_depth(None, decoded, logits, GRID, view, IMAGE, fine)[0, 0]
    error = sample_depth(lattice, pixels[inside], IMAGE) - depth_m[inside]
    # A ray that ends half a voxel before the middle of the layer is 1/9 of its depth too short.
    assert (error / depth_m[inside]).mean().item() == pytest.approx(-0.08, abs=0.05)
    assert (error / depth_m[inside]).abs().max() < 0.2


def test_labeled_centers_are_those_of_the_pixels():
    depth_m = torch.zeros(3, 4)
    depth_m[1, 2], depth_m[2, 0] = 5.0, 7.0
    pixels, labels = labeled_centers(depth_m)
    assert pixels.tolist() == [[2.5, 1.5], [0.5, 2.5]]
    assert labels.tolist() == [5.0, 7.0]


def test_without_refinement_only_visible_gaussians_are_placed():
    decoded = torch.zeros(1, 2, 20, 12, 6)
    refinement = untrained_refinement(decoded, painted_logits(), GRID)
    assert refinement.num_gaussians == 24 * 12
    assert refinement.coarsening == 2


def test_a_network_renders_by_either_way():
    model = make_model().eval()
    batch = make_batch(1)
    with torch.no_grad():
        outputs = model.infer(batch)
    view = (batch.pixel_from_lidar, (32, 64))
    log_free = log_free_of(outputs.logits)
    expected = volume_depth(log_free, WIDE, *view, OPTIONS)
    torch.testing.assert_close(render_depth(model, outputs, *view, OPTIONS), expected)
    options = ViewOptions("gaussians", size=(5, 9), far_m=30.1)
    expected = gaussian_depth(
        model.refinement, outputs.decoded, outputs.logits, WIDE, *view, options
    )
    torch.testing.assert_close(render_depth(model, outputs, *view, options), expected)


@pytest.mark.parametrize("size", [1, 2])
def test_training_from_other_poses_teaches_the_head(size):
    options = model_config()["rendering"] | dict(novel_views=2, novel_rays=100)
    model, batch = make_model(rendering=options), make_batch(size)
    with pytest.raises(ValueError, match="were read without 'neighbors'"):
        model(batch, mode="loss")
    views = pinhole(32, 64, 30.0, forward_m=1.0).expand(size, 2, 1, 4, 4)
    depth_m = torch.full((size, 2, 1, 32, 64), 5.0)
    terms = model(replace(batch, neighbors=NeighborViews(views, depth_m)), mode="loss")
    terms["loss_novel_depth"].backward()
    assert model.head.classify.weight.grad.abs().max() > 0
    assert "loss_novel_depth" not in make_model()(batch, mode="loss")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(renderer="mesh"), "by one of .*'mesh'"),
        (dict(depth_target="median"), "as one of .*'median'"),
        (dict(renderer="gaussians", depth_target="max"), "Gaussians give the expected one"),
        (dict(size=(1, 9)), "at least 2×2 rays.* 1×9"),
        (dict(rays_at_once=-1), "rays at once >= 0"),
    ],
)
def test_wrong_options_are_rejected(wrong, message):
    with pytest.raises(ValueError, match=message):
        ViewOptions(**wrong)


def test_options_in_words():
    assert "P(occupied), 96×200 rays" in ViewOptions().summary
    assert "likeliest end" in ViewOptions(depth_target="max").summary
    assert "Gaussians" in ViewOptions("gaussians").summary
    assert ViewOptions().to_json() == {
        "render": "volume",
        "depth_tgt": "raw",
        "num_rays": [96, 200],
    }
