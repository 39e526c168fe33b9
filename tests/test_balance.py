"""Weights of classes by hand, and the weighted sum that refuses to guess."""

import math

import pytest
import torch

from loss.balance import effective_number_weights, log_share_weights, weighted_terms


class TestEffectiveNumberWeights:
    def test_by_hand(self) -> None:
        # Effective numbers at β = 0.5: 1 sample -> 1, 2 samples -> 1.5.
        raw = (1 / 1, 1 / 1.5)
        expected = [2 * w / sum(raw) for w in raw]
        assert effective_number_weights([1, 2], 0.5).tolist() == pytest.approx(expected)

    def test_beta_zero_weighs_all_alike(self) -> None:
        assert effective_number_weights([1, 10, 10**9], 0.0).tolist() == [1, 1, 1]

    def test_beta_near_one_weighs_by_frequency(self) -> None:
        weights = effective_number_weights([100, 400], 1 - 1e-9)
        assert (weights[0] / weights[1]).item() == pytest.approx(4, rel=1e-5)

    def test_counts_of_a_whole_data_set(self) -> None:
        weights = effective_number_weights([10**10, 10**4], 0.9999)
        ratio = (1 - 0.9999 ** (10**4)) ** -1
        assert (weights[1] / weights[0]).item() == pytest.approx(ratio, rel=1e-5)

    def test_class_without_samples_has_no_weight_and_takes_no_part(self) -> None:
        with_gap = effective_number_weights([5, 0, 7], 0.9)
        assert with_gap[1] == 0
        assert torch.equal(with_gap[[0, 2]], effective_number_weights([5, 7], 0.9))
        assert effective_number_weights([0, 0], 0.9).tolist() == [0, 0]

    def test_mean_is_one_over_the_present_classes(self) -> None:
        assert effective_number_weights([3, 0, 90, 4000], 0.999).sum().item() == pytest.approx(3)

    @pytest.mark.parametrize("counts", [[1, -1], [1, math.nan], [1, math.inf]])
    def test_counts_that_are_none(self, counts: list[float]) -> None:
        with pytest.raises(ValueError, match="finite and not negative"):
            effective_number_weights(counts, 0.9)

    @pytest.mark.parametrize("beta", [-0.1, 1.0, math.nan])
    def test_beta_out_of_range(self, beta: float) -> None:
        with pytest.raises(ValueError, match=r"beta must be in \[0, 1\), got"):
            effective_number_weights([1, 2], beta)


class TestLogShareWeights:
    def test_by_hand(self) -> None:
        expected = [1 / math.log(1.02), 1 / math.log(1.52), 1 / math.log(2.02)]
        assert log_share_weights([0.0, 0.5, 1.0][:2]).tolist() == pytest.approx(expected[:2])
        assert log_share_weights([1.0]).tolist() == pytest.approx(expected[2:])

    def test_rarer_weighs_more(self) -> None:
        weights = log_share_weights([0.6, 0.3, 0.1, 0.0]).tolist()
        assert weights == sorted(weights)

    @pytest.mark.parametrize("shares", [[0.6, 0.6], [3, 5], [-0.1, 0.5], [math.nan]])
    def test_counts_are_no_shares(self, shares: list[float]) -> None:
        with pytest.raises(ValueError, match=r"shares must be in 0 to 1 .* are these counts\?"):
            log_share_weights(shares)

    def test_offset_out_of_range(self) -> None:
        with pytest.raises(ValueError, match=r"offset must be above 1, got 1\.0"):
            log_share_weights([0.5], offset=1.0)


class TestWeightedTerms:
    def test_each_term_gets_its_weight_and_its_name(self) -> None:
        terms = {"depth": torch.tensor(3.0), "lovasz_softmax": torch.tensor(0.5)}
        weighted = weighted_terms(terms, {"lovasz_softmax": 2.0, "depth": 0.1})
        assert list(weighted) == ["loss_depth", "loss_lovasz_softmax"]
        assert weighted["loss_depth"].item() == pytest.approx(0.3)
        assert weighted["loss_lovasz_softmax"].item() == 1.0

    def test_weight_scales_the_gradient(self) -> None:
        x = torch.tensor(2.0, requires_grad=True)
        weighted_terms({"square": x.square()}, {"square": 3.0})["loss_square"].backward()
        assert x.grad is not None
        assert x.grad.item() == 3 * 2 * 2  # Not of x² / x²: no term is divided by its own value.

    def test_nothing_to_weigh(self) -> None:
        assert weighted_terms({}, {}) == {}

    def test_term_without_weight(self) -> None:
        with pytest.raises(ValueError, match=r"losses without a weight \['depth'\]"):
            weighted_terms({"depth": torch.tensor(1.0)}, {})

    def test_weight_without_term(self) -> None:
        with pytest.raises(ValueError, match=r"weights without a loss \['dpeth'\]"):
            weighted_terms({}, {"dpeth": 1.0})

    @pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
    def test_weight_that_is_none(self, weight: float) -> None:
        with pytest.raises(ValueError, match=r"finite and not negative, got \{'depth'"):
            weighted_terms({"depth": torch.tensor(1.0)}, {"depth": weight})

    def test_nan_is_not_hidden(self) -> None:
        assert weighted_terms({"a": torch.tensor(torch.nan)}, {"a": 0.0})["loss_a"].isnan()
