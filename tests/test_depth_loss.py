"""Losses of depth against numbers worked by hand, slow loops, and edge cases."""

import math

import pytest
import torch
from torch import Tensor

from loss.depth import depth_bin_cross_entropy, downsample_depth, masked_depth_l1


def image(*values: float) -> Tensor:
    """Depths (1, 1, N)."""
    return torch.tensor(values, dtype=torch.float64)[None, None]


def all_valid(depth: Tensor) -> Tensor:
    return torch.ones_like(depth, dtype=torch.bool)


class TestDownsampleDepth:
    def test_takes_the_nearest_label_of_each_cell(self) -> None:
        depth_m = torch.tensor([[3.0, 0, 0, 0], [5, 2, 0, 0], [0, 7, 1, 1], [9, 8, 4, 1]])
        expected = torch.tensor([[2.0, 0], [7, 1]])
        assert torch.equal(downsample_depth(depth_m, 2), expected)

    @pytest.mark.parametrize("batch", [(1, 1), (2, 3)])
    def test_equals_a_slow_loop(self, batch: tuple[int, ...]) -> None:
        depth_m = 50 * torch.rand(*batch, 6, 12) * (torch.rand(*batch, 6, 12) < 0.3)
        nearest = downsample_depth(depth_m, 3)
        assert nearest.shape == (*batch, 2, 4)
        for index in torch.cartesian_prod(*(torch.arange(n) for n in nearest.shape)):
            *camera, row, column = index.tolist()
            cell = depth_m[tuple(camera)][3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
            labels = cell[cell > 0].tolist()
            assert nearest[tuple(index)] == min(labels, default=0)

    def test_stride_of_one_changes_nothing(self) -> None:
        depth_m = torch.rand(2, 3)
        assert torch.equal(downsample_depth(depth_m, 1), depth_m)

    def test_nan_is_not_hidden(self) -> None:
        assert downsample_depth(torch.tensor([[1.0, torch.nan]]).expand(2, 2), 2).isnan()

    @pytest.mark.parametrize("stride", [0, 4])
    def test_stride_that_does_not_divide(self, stride: int) -> None:
        with pytest.raises(ValueError, match=f"stride of {stride} does not divide .* 8×6"):
            downsample_depth(torch.zeros(8, 6), stride)


class TestDepthBinCrossEntropy:
    edges = torch.tensor([2.0, 4.0, 8.0, 16.0])

    def case(self, batch: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(1)
        logits = torch.randn(batch, 2, 3, 4, 5, generator=generator, dtype=dtype)
        return logits, 20 * torch.rand(batch, 2, 4, 5, generator=generator)

    def test_by_hand(self) -> None:
        # Bins: 3 m -> 0, 8 m -> 2 (a bin holds its lower edge); 0, 1.9 and 16 m -> none.
        logits = (
            torch.tensor([0.5, 0.25, 0.25]).log().reshape(1, 1, 3, 1, 1).expand(-1, -1, -1, 1, 5)
        )
        depth_m = torch.tensor([3.0, 8.0, 0.0, 1.9, 16.0]).reshape(1, 1, 1, 5)
        expected = (math.log(2) + math.log(4)) / 2
        value = depth_bin_cross_entropy(logits, depth_m, self.edges)
        assert value.item() == pytest.approx(expected)
        valid = torch.tensor([False, True, True, True, True]).reshape(1, 1, 1, 5)
        value = depth_bin_cross_entropy(logits, depth_m, self.edges, valid)
        assert value.item() == pytest.approx(math.log(4))

    @pytest.mark.parametrize("batch", [1, 2])
    def test_equals_a_slow_loop(self, batch: int) -> None:
        logits, depth_m = self.case(batch)
        losses = []
        for index in torch.cartesian_prod(*(torch.arange(n) for n in depth_m.shape)):
            b, n, row, column = index.tolist()
            for k in range(3):
                if self.edges[k] <= depth_m[b, n, row, column] < self.edges[k + 1]:
                    losses.append(-logits[b, n, :, row, column].log_softmax(0)[k].item())
        value = depth_bin_cross_entropy(logits, depth_m, self.edges)
        assert value.item() == pytest.approx(sum(losses) / len(losses))

    def test_gradient(self) -> None:
        logits, depth_m = self.case(1)
        logits = logits[..., :2].contiguous().requires_grad_()
        depth_m = depth_m[..., :2]
        assert torch.autograd.gradcheck(
            lambda x: depth_bin_cross_entropy(x, depth_m, self.edges), logits
        )

    def test_labels_at_zero_do_not_count_even_inside_the_first_bin(self) -> None:
        logits, _ = self.case(1)
        edges = torch.tensor([0.0, 1.0, 2.0, 3.0])
        assert depth_bin_cross_entropy(logits, torch.zeros(1, 2, 4, 5), edges) == 0

    def test_nothing_labeled_is_a_differentiable_zero(self) -> None:
        logits = self.case(2)[0].requires_grad_()
        value = depth_bin_cross_entropy(logits, torch.zeros(2, 2, 4, 5), self.edges)
        value.backward()
        assert value.item() == 0
        assert logits.grad is not None
        assert not logits.grad.any()

    def test_nan_is_not_hidden(self) -> None:
        logits, depth_m = self.case(1)
        logits[0, 0, 0, 0, 0] = torch.nan
        assert depth_bin_cross_entropy(logits, depth_m.fill_(3.0), self.edges).isnan()

    def test_half_precision_is_summed_in_float32(self) -> None:
        logits, depth_m = self.case(1, torch.float32)
        logits = logits.bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            value = depth_bin_cross_entropy(logits, depth_m, self.edges)
        assert value.dtype == torch.float32
        assert value == depth_bin_cross_entropy(logits.float(), depth_m, self.edges)

    def test_number_of_edges(self) -> None:
        with pytest.raises(ValueError, match="3 depth bins have 4 edges, got 3"):
            depth_bin_cross_entropy(*self.case(1), self.edges[:3])


class TestMaskedDepthL1:
    def test_by_hand(self) -> None:
        pred, target = image(3, 10, 9, 70, 5), image(5, 9, 0, 61, 5)
        valid = image(1, 1, 1, 1, 0) > 0
        # 9 m has no label, 61 m is too far, the last is not valid.
        assert masked_depth_l1(pred, target, valid, max_depth_m=60.0).item() == (2 + 1) / 2

    def test_a_label_at_the_limit_counts(self) -> None:
        value = masked_depth_l1(image(1), image(60), all_valid(image(1)), max_depth_m=60.0)
        assert value.item() == 59

    @pytest.mark.parametrize("batch", [1, 2])
    def test_gradient(self, batch: int) -> None:
        pred = torch.rand(batch, 2, 3, dtype=torch.float64, requires_grad=True)
        target = 2 + torch.rand(batch, 2, 3, dtype=torch.float64)
        valid = torch.rand(batch, 2, 3) < 0.7
        assert torch.autograd.gradcheck(
            lambda x: masked_depth_l1(x, target, valid, max_depth_m=2.5), pred
        )

    def test_limit_must_be_positive(self) -> None:
        with pytest.raises(ValueError, match="max_depth_m must be > 0, got 0"):
            masked_depth_l1(image(1), image(1), all_valid(image(1)), max_depth_m=0.0)


def l1(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    return masked_depth_l1(pred, target, valid, max_depth_m=80.0)


class TestDepthMaps:
    def test_nothing_labeled_is_a_differentiable_zero(self) -> None:
        pred = torch.rand(2, 3, 4, requires_grad=True)
        for target, is_valid in ((torch.zeros(2, 3, 4), True), (torch.ones(2, 3, 4), False)):
            value = l1(pred, target, torch.full((2, 3, 4), is_valid))
            (gradient,) = torch.autograd.grad(value, pred)
            assert value.item() == 0
            assert not gradient.any()

    def test_no_pixels(self) -> None:
        assert l1(torch.rand(0, 3, 4), torch.rand(0, 3, 4), torch.ones(0, 3, 4).bool()) == 0

    def test_nan_shows_where_it_counts_only(self) -> None:
        pred = image(1, torch.nan).requires_grad_()
        target = image(2, 2)
        assert l1(pred, target, all_valid(pred)).isnan()
        value = l1(pred, target, image(1, 0) > 0)
        (gradient,) = torch.autograd.grad(value, pred)
        assert value.isfinite()
        assert gradient.isfinite().all()

    def test_half_precision_is_summed_in_float32(self) -> None:
        pred = 1 + torch.rand(1, 8, 8)
        with torch.autocast("cpu", torch.bfloat16):
            value = l1(pred.bfloat16(), torch.ones(1, 8, 8), torch.ones(1, 8, 8).bool())
        assert value.dtype == torch.float32
        assert value == l1(pred.bfloat16().float(), torch.ones(1, 8, 8), torch.ones(1, 8, 8) > 0)
