"""A textured wall, seen by two cameras of which one is nearer."""

import pytest
import torch

from dataset.sample import VideoImages
from model.objective import LabelFreeOptions
from model.render.rays import pixel_centers, pixel_rays
from model.video import (
    MatchedColumns,
    lattice_pixels,
    matched_columns,
    passes_of,
    proposals,
    proposed_depths,
    votes_of,
)
from tests.model_inputs import pinhole
from utils.geometry import VoxelGrid

GRID = VoxelGrid(origin_m=(0.0, -12.0, -8.0), voxel_m=1.0, shape=(24, 24, 16))
SIZE = (48, 64)
WALL_M = 10.0
OPTIONS = LabelFreeOptions(proposals=48, depths_m=(3.0, 40.0))
DEPTHS_M = proposed_depths(OPTIONS, torch.device("cpu"))


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
    found = proposals(images, PIXELS, DEPTHS_M)
    return DEPTHS_M[found.errors.masked_fill(~found.is_seen, 9.0).argmin(-1)][0]


def test_the_wall_looks_alike_at_its_depth():
    depth_m = depth_of(video())
    assert (depth_m / WALL_M - 1).abs().median() < 0.04
    assert proposals(video(), PIXELS, DEPTHS_M).counts.float().mean() > 0.9


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
    found = proposals(video(then_m=WALL_M + 1.5), PIXELS, DEPTHS_M)
    assert found.counts.float().mean() < 0.2


def test_what_no_depth_explains_does_not_count():
    images = video()
    noise = torch.randint(
        256, images.images[:, 1].shape, generator=torch.Generator().manual_seed(0)
    )
    images.images[:, 1] = noise.to(torch.uint8)
    assert proposals(images, PIXELS, DEPTHS_M).counts.float().mean() < 0.1


def test_depths_just_in_front_of_another_camera_are_not_compared():
    seen = proposals(video(forward_m=1.5), PIXELS, DEPTHS_M).is_seen[0]
    is_close = DEPTHS_M[0] >= DEPTHS_M - 1.5
    assert not seen[:, is_close].any()
    assert seen[:, ~is_close].any(0).all()


def test_a_frame_that_the_scene_does_not_have_sees_nothing():
    images = video()
    images.pixel_from_lidar[:, 1] = 0
    found = proposals(images, PIXELS, DEPTHS_M)
    assert not found.is_seen.any()
    assert not found.counts.any()


def columns_of(images: VideoImages) -> MatchedColumns:
    torch.manual_seed(0)
    return matched_columns(images, GRID, OPTIONS, 4)


def test_the_pixels_of_both_frames_vote_for_the_wall():
    images = video()
    found = columns_of(images)
    assert set(found.is_matched.unique().tolist()) == {0.0, 1.0}
    matched = found.is_matched[0].sum(-1)
    # The wall, and the columns beside it. The waves repeat, so that some pixels match elsewhere.
    assert matched[8:12].sum() > 0.6 * matched.sum()
    leading = (found.profiles == 1).any(-1) & (found.is_matched > 0)
    assert leading.equal(found.is_matched > 0)
    assert found.depth_m.shape == (1, 1, 12, 16)
    own_m = found.depth_m[found.depth_m > 0]
    assert own_m.median().item() == pytest.approx(WALL_M, rel=0.02)
    assert found.profiles[0, :2].sum() > 0  # Continued.


def test_unsure_pixels_say_nothing():
    images = video()
    images.images[:] = 100
    found = columns_of(images)
    assert not found.profiles.any()
    assert not found.is_matched.any()
    assert not found.depth_m.any()


def test_a_frame_that_is_missing_matches_nothing():
    images = video()
    images.pixel_from_lidar[:, 1] = 0
    assert not columns_of(images).profiles.any()


def test_ends_vote_for_their_voxels():
    ends_m = torch.tensor([[[5.5, 0.5, 0.5], [5.1, 0.9, 0.1], [50.0, 0.5, 0.5], [0.0, 0.0, 0.0]]])
    votes = votes_of(ends_m, torch.tensor([[True, True, True, False]]), GRID)
    assert votes[0, 5, 12, 8] == votes.sum() == 2


def test_rays_pass_what_is_well_above_their_ends():
    origins_m = torch.tensor([[[-1.0, 0.5, 3.5], [-1.0, 0.5, 3.5]]])
    ends_m = torch.tensor([[[11.0, 0.5, 0.5], [11.0, 0.5, 0.5]]])
    passes = passes_of(origins_m, ends_m, torch.tensor([[True, False]]), GRID)
    # It falls by 1 m in 4 m, and is less than a voxel above its end from x = 7 on.
    assert not passes[0, 7:].any()
    along = passes[0, :7, 12].sum(-1)
    torch.testing.assert_close(along, torch.full((7,), (1 + 1 / 16) ** 0.5), rtol=0.2, atol=0)


def test_a_lattice_takes_one_pixel_of_each_cell():
    pixels = lattice_pixels((6, 8), 8, torch.device("cpu")).view(6, 8, 2)
    assert (pixels[:, :, 0].diff(dim=1) == 8).all()
    assert (pixels[:, :, 1].diff(dim=0) == 8).all()
    assert ((pixels[0, 0] >= 0.5) & (pixels[0, 0] <= 7.5)).all()


def test_each_depth_is_the_same_multiple_of_the_one_before():
    assert DEPTHS_M[[0, -1]].tolist() == pytest.approx([3.0, 40.0], rel=1e-5)
    ratios = DEPTHS_M[1:] / DEPTHS_M[:-1]
    torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios), rtol=1e-4, atol=0)
