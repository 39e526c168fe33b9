"""Losses of images by hand, and what they say where there is nothing to say."""

import math

import pytest
import torch

from loss.rendering import (
    class_log_probability,
    rendered_classes,
    rendered_color,
    rendered_depth,
    rendered_lovasz,
    rendered_semantics,
    termination_alignment,
)


def labels(*values: int) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.uint8)


def test_class_probabilities_are_completed_by_free() -> None:
    probability, opacity = torch.tensor([[[0.5, 0.2]]]), torch.tensor([[0.7]])
    log_probability = class_log_probability(probability, opacity)
    assert log_probability.exp()[0, :, 0].tolist() == pytest.approx([0.3, 0.5, 0.2])


def test_semantics_by_hand() -> None:
    probability = torch.tensor([[[0.5, 0.2], [0.1, 0.6], [0.0, 0.0]]])
    opacity = torch.tensor([[0.7, 0.7, 0.0]])
    weight = torch.tensor([0.0, 1.0, 3.0])
    loss = rendered_semantics(probability, opacity, labels(1, 2, 255), weight)
    assert loss.item() == pytest.approx(-(math.log(0.5) + 3 * math.log(0.6)) / 4, rel=1e-5)


def test_classes_count_where_rays_end_and_pixels_have_one() -> None:
    log_shares = torch.tensor([[[-1.0, -2.0], [-0.2, -0.1], [-9.0, -9.0], [-9.0, -9.0]]])
    opacity = torch.tensor([[1.0, 0.5, 0.9, 0.9]], requires_grad=True)
    shares = log_shares.requires_grad_()
    loss = rendered_classes(shares, opacity, labels(2, 1, 0, 255))
    assert loss.item() == pytest.approx((2.0 + 0.2) / 1.5)
    nothing = rendered_classes(shares, opacity, labels(0, 255, 0, 0))
    nothing.backward()
    assert nothing.item() == 0
    assert not shares.grad.any()


def test_a_ray_that_should_end_and_does_not_has_a_finite_loss_and_a_gradient() -> None:
    probability = torch.full((1, 1, 2), 1e-3, requires_grad=True)
    loss = rendered_semantics(probability, probability.sum(-1), labels(2))
    loss.backward()
    assert loss.isfinite()
    assert probability.grad is not None
    assert probability.grad[0, 0, 1] < 0


def test_lovasz_is_nothing_for_a_perfect_image_and_one_for_the_opposite() -> None:
    perfect = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    opaque = torch.ones(1, 2)
    assert rendered_lovasz(perfect, opaque, labels(1, 2)).item() == pytest.approx(0, abs=1e-3)
    assert rendered_lovasz(perfect, opaque, labels(2, 1)).item() == pytest.approx(1, abs=1e-3)


def test_depth_counts_as_a_share_of_the_range_and_only_within_it() -> None:
    depth_m = torch.tensor([[10.0, 30.0, 7.0, 99.0]])
    target_m = torch.tensor([[12.0, 26.0, 0.0, 90.0]])
    loss = rendered_depth(depth_m, target_m, max_depth_m=50.0)
    assert loss.item() == pytest.approx((2 + 4) / 2 / 50)


def test_color_counts_where_a_surface_is_labeled() -> None:
    colors = torch.tensor([[[0.5, 0.5, 0.5], [0.9, 0.9, 0.9]]])
    opacity, target = torch.tensor([[0.5, 1.0]]), torch.full((1, 2, 3), 0.8)
    loss = rendered_color(colors, opacity, target, labels(3, 255))
    assert loss.item() == pytest.approx((0.5 - 0.4) ** 2)


def test_alignment_is_the_divergence_both_ways_weighted_by_the_teachers_opacity() -> None:
    first, second = (
        torch.tensor([[[0.6, 0.2], [0.1, 0.1]]]),
        torch.tensor([[[0.3, 0.3], [0.2, 0.7]]]),
    )

    def divergence(teacher: list[float], student: list[float]) -> float:
        ends = zip([*teacher, 1 - sum(teacher)], [*student, 1 - sum(student)], strict=True)
        return sum(t * math.log(t / s) for t, s in ends)

    a, b = first[0].tolist(), second[0].tolist()
    forth = sum(sum(t) * divergence(t, s) for t, s in zip(a, b, strict=True)) / (0.8 + 0.2)
    back = sum(sum(t) * divergence(t, s) for t, s in zip(b, a, strict=True)) / (0.6 + 0.9)
    assert termination_alignment(first, second).item() == pytest.approx(forth + back, rel=1e-4)


def test_alignment_of_a_volume_with_itself_is_nothing() -> None:
    weights = torch.rand(2, 5, 7).softmax(-1) * 0.9
    assert termination_alignment(weights, weights).item() == pytest.approx(0, abs=1e-6)


def test_each_volume_learns_from_the_other_one_and_neither_from_itself() -> None:
    logits = torch.randn(2, 1, 3, 5, generator=torch.Generator().manual_seed(0))
    first, second = (part.requires_grad_() for part in logits)
    weights = [0.9 * part.softmax(-1) for part in (first, second)]
    termination_alignment(*weights).backward()
    # With the teacher detached, the gradient of the cross entropy is all there is.
    with torch.enable_grad():
        again = logits[0].clone().requires_grad_()
        student = 0.9 * again.softmax(-1)
        teacher = weights[1].detach()
        passing = 1 - student.sum(-1)
        entropy = -(teacher * student.log()).sum(-1) - (1 - teacher.sum(-1)) * passing.log()
        (entropy.sum() / 3).backward()
    torch.testing.assert_close(first.grad, again.grad)


def test_a_volume_that_sees_nothing_teaches_nothing() -> None:
    nothing = torch.zeros(1, 4, 3, requires_grad=True)
    seeing = torch.full((1, 4, 3), 0.3, requires_grad=True)
    termination_alignment(nothing, seeing).backward()
    assert seeing.grad is not None
    assert seeing.grad.abs().max() == 0
    assert nothing.grad is not None


@pytest.mark.parametrize("rays", [0, 3])
def test_nothing_to_compare_is_a_differentiable_zero(rays: int) -> None:
    probability = torch.full((1, rays, 2), 0.3, requires_grad=True)
    opacity = probability.sum(-1)
    none = torch.full((1, rays), 255, dtype=torch.uint8)
    losses = [
        rendered_semantics(probability, opacity, none),
        rendered_lovasz(probability, opacity, none),
        rendered_depth(opacity, torch.zeros(1, rays), max_depth_m=9.0),
        rendered_color(
            probability.sum(-1, keepdim=True).expand(-1, -1, 3),
            opacity,
            torch.zeros(1, rays, 3),
            none,
        ),
    ]
    assert [loss.item() for loss in losses] == [0.0] * 4
    sum(losses).backward()
    assert probability.grad is not None
    assert probability.grad.isfinite().all()
