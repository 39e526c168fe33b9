"""Images of a painted volume agree with those of the labels; each term is where it belongs."""

import pytest
import torch

from dataset.sample import Batch
from model.fusion import Field, Fused
from model.gs_refinement import GSRefinement
from model.render.views import Views, label_views
from model.supervision import (
    RenderOptions,
    at_rays,
    chosen_rays,
    image_terms,
    labeled_pixels,
    novel_depth_term,
    ray_targets,
    splat_terms,
    volume_terms,
)
from tests.model_inputs import GRID, make_batch, pinhole

OPTIONS = RenderOptions(stride=2, ray_step=1, near_m=0.5, far_m=16.0, num_segments=320)
WEIGHT = torch.ones(12)


def batch_and_views(**options: object) -> tuple[Batch, Views]:
    batch = make_batch(1)
    place = (batch.occupancy, GRID, batch.pixel_from_lidar, (32, 64))
    return batch, label_views(*place, stride=OPTIONS.stride, **options)


def painted(batch: Batch, *, shift: tuple[int, int] = (0, 0)) -> Field:
    """The labels as a volume: opaque where occupied, with the class's probability 1."""
    labels = batch.occupancy.roll(shift, dims=(1, 3)).long()
    occupied = ((labels > 0) & (labels < 255)).float()[:, None]
    classes = torch.nn.functional.one_hot(labels.where(labels < 255, 0), 12)[..., 1:]
    return Field(50.0 * occupied, classes.movedim(-1, 1).float())


def terms_of(fused: Fused, depth_m: torch.Tensor | None = None) -> dict[str, float]:
    batch, views = batch_and_views()
    targets = ray_targets(views, batch.images, depth_m, GRID, OPTIONS)
    terms = volume_terms(fused, GRID, targets, WEIGHT, OPTIONS)
    return {name: term.item() for name, term in terms.items()}


def test_classes_of_the_image_are_compared_with_the_real_cameras_images() -> None:
    _, views = batch_and_views(virtual=("bird",))
    size = (views.height, views.width)
    labels = views.hit.labels[:, : size[0] * size[1]].view(1, 1, *size)
    assert labels.unique().tolist() == [2, 11, 255]
    classes = torch.nn.functional.one_hot(labels.where(labels < 255, 1).long() - 1, 11)
    right = 20.0 * classes.movedim(-1, 2)

    def terms(logits: torch.Tensor) -> dict[str, float]:
        return {name: term.item() for name, term in image_terms(logits, views, WEIGHT).items()}

    assert terms(right) == pytest.approx(dict(image_semantic=0, image_lovasz=0), abs=1e-6)
    wrong = terms(right.roll(4, dims=-1))
    assert wrong["image_semantic"] > 1
    assert wrong["image_lovasz"] > 0.2
    unlabeled = right.where((labels < 255)[:, :, None], torch.rand(right.shape))
    assert terms(unlabeled) == terms(right)


def test_classes_of_the_image_may_be_coarser_than_the_images_and_are_balanced() -> None:
    _, views = batch_and_views()
    coarse = torch.zeros(1, 1, 11, 4, 8)
    coarse[:, :, 10] = 3.0  # Class 11 everywhere: right for the ground, wrong for the block.
    weight = torch.ones(12)
    weight[2] = 5.0
    plain, balanced = (image_terms(coarse, views, w)["image_semantic"] for w in (WEIGHT, weight))
    assert balanced > plain + 0.1


def test_a_volume_painted_with_the_labels_is_better_than_a_shifted_one() -> None:
    batch, _ = batch_and_views()
    right, wrong = painted(batch), painted(batch, shift=(3, 1))
    volume = torch.zeros(1, 1, *GRID.shape)
    good = terms_of(Fused(volume, camera=right, lidar=right))
    bad = terms_of(Fused(volume, camera=wrong, lidar=wrong))
    assert bad["render_depth"] > 1.5 * good["render_depth"]
    assert bad["render_semantic"] > 1.5 * good["render_semantic"]
    assert good["render_alignment"] == pytest.approx(0, abs=1e-5)
    assert terms_of(Fused(volume, camera=right, lidar=wrong))["render_alignment"] > 0.5


def test_terms_of_what_is_there() -> None:
    batch, _ = batch_and_views()
    field, volume = painted(batch), torch.zeros(1, 1, *GRID.shape)
    colors = Field(field.density, field.features[:, :3])
    assert terms_of(Fused(volume)) == {}
    assert list(terms_of(Fused(volume, camera=field))) == ["render_depth"]
    assert list(terms_of(Fused(volume, lidar=field))) == ["render_semantic"]
    assert list(terms_of(Fused(volume, fused=colors))) == ["render_depth", "render_color"]


def test_depth_by_lidar_goes_before_depth_by_labels() -> None:
    batch, _ = batch_and_views()
    fused = Fused(torch.zeros(1, 1, *GRID.shape), camera=painted(batch))
    nowhere = terms_of(fused, depth_m=torch.zeros(1, 1, 32, 64))
    assert nowhere["render_depth"] == 0
    wrong = terms_of(fused, depth_m=torch.full((1, 1, 32, 64), 4.0))
    assert wrong["render_depth"] > terms_of(fused)["render_depth"]


def test_depth_of_surfaces_outside_of_the_grid_teaches_the_volumes_nothing() -> None:
    # The camera stands a meter behind the LiDAR, so that the grid ends 17 m ahead of it.
    options = RenderOptions(stride=2, ray_step=1, near_m=0.5, far_m=30.0, num_segments=64)
    density = torch.zeros(1, 1, *GRID.shape, requires_grad=True)
    fused = Fused(torch.zeros(1, 1, *GRID.shape), camera=Field(density + 0.02, None))
    batch, views = batch_and_views()
    for label_m, counts in ((16.0, True), (18.0, False)):
        depth_m = torch.zeros(1, 1, 32, 64)
        depth_m[..., 12:20, 28:36] = label_m
        targets = ray_targets(views, batch.images, depth_m, GRID, options)
        terms = volume_terms(fused, GRID, targets, WEIGHT, options)
        (gradient,) = torch.autograd.grad(terms["render_depth"], density, retain_graph=True)
        assert bool(terms["render_depth"] > 0) == bool(gradient.any()) == counts


def test_gaussians_at_the_labels_are_better_than_shifted_ones() -> None:
    batch, views = batch_and_views(virtual=("bird",))
    refinement = GSRefinement(in_channels=2, grid=GRID, coarsening=2, num_gaussians=300)
    size = (views.height, views.width)

    def terms(shift: int) -> dict[str, float]:
        labels = batch.occupancy.roll(shift, dims=1).long()
        labels = labels.where(labels < 255, 0)
        logits = 12.0 * torch.nn.functional.one_hot(labels, 12).movedim(-1, 1).float()
        decoded = torch.zeros(1, 2, 8, 8, 2)
        gaussians = refinement(decoded, logits, views.pixel_from_lidar, size)
        result = splat_terms(gaussians, views, WEIGHT, OPTIONS)
        return {name: term.item() for name, term in result.items()}

    good, bad = terms(0), terms(3)
    assert set(good) == {"splat_semantic", "splat_lovasz", "splat_depth"}
    for name, value in good.items():
        assert value < 0.8 * bad[name]


def test_rays_are_chosen_among_those_of_the_real_cameras() -> None:
    _, views = batch_and_views(virtual=("bird",))
    assert views.rays.origins.shape[1] == 2 * 16 * 32
    chosen = chosen_rays(views, 1, 4)
    assert len(chosen) == 4 * 8
    assert chosen[:2].tolist() == [2 * 32 + 2, 2 * 32 + 6]
    assert chosen.max() < 16 * 32


def test_targets_are_read_where_the_rays_are() -> None:
    batch, views = batch_and_views()
    options = RenderOptions(stride=2, ray_step=4, near_m=0.5, far_m=16.0, num_segments=4)
    targets = ray_targets(views, batch.images, None, GRID, options)
    first = 2 * 32 + 2  # Row 2, column 2 of 16×32 pixels.
    assert torch.equal(targets.rays.directions[:, 0], views.rays.directions[:, first])
    assert torch.equal(targets.labels[:, 0], views.hit.labels[:, first])
    seen_m = (views.hit.depth_m * views.hit.is_valid)[:, chosen_rays(views, 1, 4)]
    assert torch.equal(targets.depth_m, seen_m)
    assert torch.equal(targets.colors[0, 0], batch.images[0, 0, :, 5, 5] / 255)


def test_values_at_rays_are_those_of_the_pixels_that_hold_them() -> None:
    images = torch.arange(2 * 3 * 8 * 12).view(1, 2, 3, 8, 12).float()
    values = at_rays(images, 4)
    assert values.shape == (1, 2 * 2 * 3, 3)
    assert values[0, 6 + 3 + 1].tolist() == images[0, 1, :, 4 + 2, 4 + 2].tolist()


@pytest.mark.parametrize(
    "wrong", [dict(stride=0), dict(ray_step=0), dict(num_segments=0), dict(near_m=16.0)]
)
def test_wrong_options_are_rejected(wrong: dict[str, object]) -> None:
    options = dict(stride=2, ray_step=1, near_m=0.5, far_m=16.0, num_segments=4)
    with pytest.raises(ValueError, match="rendering needs a positive stride"):
        RenderOptions(**options | wrong)


# --- depth of the predicted occupancy, from other poses ---

NOVEL = RenderOptions(
    stride=2, ray_step=1, near_m=0.5, far_m=16.0, num_segments=4, novel_views=1, novel_rays=9999
)


def labels_as_logits(batch: Batch, shift: int = 0) -> torch.Tensor:
    labels = batch.occupancy.where(batch.occupancy < 255, 0).roll(shift, dims=1).long()
    return 12.0 * torch.nn.functional.one_hot(labels, 12).movedim(-1, 1).float()


def seen_from(batch: Batch, *forward_m: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Projections and depth labels of cameras that stand at these places."""
    cameras = torch.stack([pinhole(32, 64, 30.0, forward_m=m) for m in forward_m])
    cameras = cameras.expand(len(batch), -1, -1, -1)
    views = label_views(batch.occupancy, GRID, cameras, (32, 64))
    return cameras, (views.hit.depth_m * views.hit.is_valid).view(len(batch), -1, 32, 64)


@pytest.mark.parametrize("size", [1, 2])
def test_depth_from_other_poses_tells_a_right_volume_from_a_shifted_one(size: int) -> None:
    batch = make_batch(size)
    cameras, depth_m = seen_from(batch, -1.0, 3.0)

    def term(logits: torch.Tensor, cameras: torch.Tensor) -> float:
        return novel_depth_term(logits, GRID, cameras, depth_m, NOVEL).item()

    right = term(labels_as_logits(batch), cameras)
    assert right < 0.06  # Voxels of 1 m, of a range of 16 m.
    assert term(labels_as_logits(batch, shift=3), cameras) > 1.4 * right
    assert term(labels_as_logits(batch), cameras.flip(1)) > 1.4 * right  # The poses swapped.


def test_depth_from_other_poses_reaches_the_logits_of_each_frame() -> None:
    batch = make_batch(2)
    cameras, depth_m = seen_from(batch, -1.0, 3.0)
    logits = torch.zeros(2, 12, *GRID.shape, requires_grad=True)
    novel_depth_term(logits, GRID, cameras, depth_m, NOVEL).backward()
    assert (logits.grad.abs().flatten(1).sum(1) > 0).all()
    empty = torch.zeros_like(logits, requires_grad=True)
    nothing = novel_depth_term(empty, GRID, cameras, torch.zeros_like(depth_m), NOVEL)
    nothing.backward()
    assert nothing == 0
    assert not empty.grad.any()


def test_depth_labels_beyond_the_grid_do_not_count() -> None:
    batch = make_batch(1)
    cameras, depth_m = seen_from(batch, 4.0)
    beyond = torch.full_like(depth_m, 15.0)  # The grid ends 12 m ahead of this camera.
    assert novel_depth_term(labels_as_logits(batch), GRID, cameras, beyond, NOVEL) == 0


def test_rays_go_through_labeled_pixels_of_all_views() -> None:
    depth_m = torch.zeros(2, 3, 4, 5)
    depth_m[0, 0, 1, 2], depth_m[0, 2, 3, 4], depth_m[1, 1, 0, 0] = 5.0, 7.0, 9.0
    view, pixels, labels = labeled_pixels(depth_m, 6)
    assert view.shape == labels.shape == (2, 6)
    found = [
        {
            (int(v), *pixel.tolist(), label.item())
            for v, pixel, label in zip(view[b], pixels[b], labels[b], strict=True)
            if label > 0
        }
        for b in range(2)
    ]
    assert found == [{(0, 2.5, 1.5, 5.0), (2, 4.5, 3.5, 7.0)}, {(1, 0.5, 0.5, 9.0)}]
    assert labeled_pixels(depth_m, 999)[0].shape == (2, 60)


def test_rays_are_drawn_anew_and_repeat_with_the_seed() -> None:
    depth_m = torch.ones(1, 1, 20, 30)

    def draw(seed: int) -> list[list[float]]:
        torch.manual_seed(seed)
        return sorted(labeled_pixels(depth_m, 50)[1][0].tolist())

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


@pytest.mark.parametrize("wrong", [dict(novel_views=-1), dict(novel_rays=0)])
def test_wrong_options_of_novel_views_are_rejected(wrong: dict[str, object]) -> None:
    options = dict(stride=2, ray_step=1, near_m=0.5, far_m=16.0, num_segments=4)
    with pytest.raises(ValueError, match="novel_views >= 0 and a positive novel_rays"):
        RenderOptions(**options | wrong)
