"""A textured wall, seen by two cameras of which one is nearer."""

import pytest
import torch

from dataset.sample import VideoImages
from model.objective import LabelFreeOptions
from model.render.rays import pixel_centers, pixel_rays
from model.surface import Surface
from model.video import lattice_pixels, proposals, segment_edges, video_terms
from tests.model_inputs import pinhole
from utils.geometry import VoxelGrid

GRID = VoxelGrid(origin_m=(0.0, -12.0, -8.0), voxel_m=1.0, shape=(24, 24, 16))
SIZE = (48, 64)
WALL_M = 10.0
OPTIONS = LabelFreeOptions(segments=48, depths_m=(3.0, 40.0), blur_m=0.2)
EDGES_M = segment_edges(OPTIONS, torch.device("cpu"))
MIDDLES_M = (EDGES_M[1:] * EDGES_M[:-1]).sqrt()


def camera(forward_m: float) -> torch.Tensor:
    return pinhole(*SIZE, 40.0, forward_m=forward_m)


def photograph(projection: torch.Tensor, wall_m: float) -> torch.Tensor:
    """Image of a wall at x = wall_m, whose colors are waves along y and z."""
    rays = pixel_rays(projection[None], pixel_centers(*SIZE)[None])
    scale = (wall_m - rays.origins[..., :1]) / rays.directions[..., :1]
    y, z = (rays.origins + scale * rays.directions)[0, :, 1:].unbind(-1)
    waves = [torch.sin(2.1 * y + 0.4) * torch.sin(1.7 * z), torch.sin(1.3 * y - 2.3 * z)]
    waves.append(torch.sin(0.9 * y + 1.9 * z + 1))
    return (127 + 90 * torch.stack(waves)).view(3, *SIZE).to(torch.uint8)


def video(*, forward_m: float = 1.5, now_m: float = WALL_M, then_m: float = WALL_M) -> VideoImages:
    matrices = torch.stack([camera(0.0), camera(forward_m)])
    images = [photograph(matrices[0], now_m), photograph(matrices[1], then_m)]
    return VideoImages(matrices[None, :, None], torch.stack(images)[None, :, None])


PIXELS = pixel_centers(*SIZE).view(*SIZE, 2)[6:-6:6, 6:-6:6].reshape(-1, 2)


def depth_of(images: VideoImages) -> torch.Tensor:
    found = proposals(images, PIXELS, MIDDLES_M)
    return MIDDLES_M[found.errors.masked_fill(~found.is_seen, 9.0).argmin(-1)][0]


def test_the_wall_looks_alike_at_its_depth():
    depth_m = depth_of(video())
    assert (depth_m / WALL_M - 1).abs().median() < 0.04
    assert proposals(video(), PIXELS, MIDDLES_M).counts.float().mean() > 0.9


def test_a_camera_that_went_back_or_aside_sees_the_same_depth():
    assert (depth_of(video(forward_m=-1.5)) / WALL_M - 1).abs().median() < 0.04
    aside = video()
    matrix = camera(0.0)
    matrix = matrix @ torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, -0.8], [0, 0, 1, 0], [0, 0, 0, 1]])
    aside.pixel_from_lidar[0, 1, 0] = matrix
    aside.images[0, 1, 0] = photograph(matrix, WALL_M)
    assert (depth_of(aside) / WALL_M - 1).abs().median() < 0.04


def test_another_exposure_does_not_matter():
    images = video()
    images.images[:, 1] = (0.85 * images.images[:, 1].float() + 20).to(torch.uint8)
    assert (depth_of(images) / WALL_M - 1).abs().median() < 0.04


def test_what_moves_like_the_vehicle_does_not_count():
    found = proposals(video(then_m=WALL_M + 1.5), PIXELS, MIDDLES_M)
    assert found.counts.float().mean() < 0.2


def test_what_no_depth_explains_does_not_count():
    images = video()
    noise = torch.randint(
        256, images.images[:, 1].shape, generator=torch.Generator().manual_seed(0)
    )
    images.images[:, 1] = noise.to(torch.uint8)
    assert proposals(images, PIXELS, MIDDLES_M).counts.float().mean() < 0.1


def test_a_frame_that_the_scene_does_not_have_sees_nothing():
    images = video()
    images.pixel_from_lidar[:, 1] = 0
    found = proposals(images, PIXELS, MIDDLES_M)
    assert not found.is_seen.any()
    assert not found.counts.any()


def wall_surface(wall_m: float | torch.Tensor) -> Surface:
    distance_m = (wall_m - GRID.centers_m()[..., 0])[None]
    gradient = torch.zeros(1, 3, *GRID.shape)
    gradient[:, 0] = -1
    return Surface(distance_m, gradient)


@pytest.mark.parametrize("wrong_m", [6.0, 8.5, 12.0, 16.0])
def test_a_surface_elsewhere_costs_more(wrong_m):
    torch.manual_seed(0)
    right = video_terms(wall_surface(WALL_M), GRID, video(), OPTIONS, 4)
    torch.manual_seed(0)
    wrong = video_terms(wall_surface(wrong_m), GRID, video(), OPTIONS, 4)
    assert right.terms["photometric"] < 0.6 * wrong.terms["photometric"]
    assert right.terms["matched_surface"] < 0.3 < wrong.terms["matched_surface"]
    sure = right.matched_m > 0
    assert sure.float().mean() > 0.5
    assert right.matched_m[sure].median().item() == pytest.approx(WALL_M, rel=0.02)
    assert right.matched_m.shape == (1, 1, 12, 16)


@pytest.mark.parametrize(("wall_m", "sign"), [(9.0, -1), (11.0, 1)])
def test_gradients_move_the_surface_to_the_wall(wall_m, sign):
    torch.manual_seed(0)
    place = torch.tensor(wall_m, requires_grad=True)
    terms = video_terms(wall_surface(place), GRID, video(), OPTIONS, 4).terms
    for name in ("photometric", "matched_surface"):
        (gradient,) = torch.autograd.grad(terms[name], place, retain_graph=True)
        assert gradient.sign().item() == sign


def test_a_lattice_takes_one_pixel_of_each_cell():
    pixels = lattice_pixels((6, 8), 8, torch.device("cpu")).view(6, 8, 2)
    assert (pixels[:, :, 0].diff(dim=1) == 8).all()
    assert (pixels[:, :, 1].diff(dim=0) == 8).all()
    assert ((pixels[0, 0] >= 0.5) & (pixels[0, 0] <= 7.5)).all()


def test_segments_are_the_same_share_of_their_depth():
    assert EDGES_M[[0, -1]].tolist() == pytest.approx([3.0, 40.0], rel=1e-5)
    ratios = EDGES_M[1:] / EDGES_M[:-1]
    torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios), rtol=1e-4, atol=0)
