"""Losses of voxels against numbers worked by hand, slow loops in plain Python, and edge cases."""

import math
from collections.abc import Callable, Iterator

import jaxtyping
import pytest
import torch
from torch import Tensor

from loss.occupancy import (
    _negative_log,
    cross_entropy,
    geo_scal,
    lovasz_softmax,
    occupancy_terms,
    occupied_cross_entropy,
    sem_scal,
)

LOSSES = (cross_entropy, lovasz_softmax, sem_scal, geo_scal)
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)


def logits_of(rows: list[list[float]], dtype: torch.dtype = torch.float64) -> Tensor:
    """Logits (1, C, V) whose softmax at each voxel is the row of probabilities."""
    return torch.tensor(rows, dtype=dtype).log().T[None]


def labels_of(*labels: int) -> Tensor:
    return torch.tensor([labels], dtype=torch.uint8)


def random_case(
    batch: int, num_classes: int, spatial: tuple[int, ...], dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(batch, num_classes, *spatial, generator=generator, dtype=dtype)
    labels = torch.randint(0, num_classes, (batch, *spatial), generator=generator)
    is_ignored = torch.rand(labels.shape, generator=generator) < 0.2
    return logits, labels.masked_fill(is_ignored, 255).to(torch.uint8)


def labeled_voxels(logits: Tensor, labels: Tensor) -> list[tuple[list[float], int]]:
    """Class probabilities and label of each voxel that counts."""
    probability = logits.softmax(1).flatten(2).transpose(1, 2).flatten(0, 1).tolist()
    voxels = zip(probability, labels.flatten().tolist(), strict=True)
    return [(row, label) for row, label in voxels if label != 255]


def slow_lovasz(logits: Tensor, labels: Tensor) -> float:
    """The definition: Jaccard loss of the worst k voxels, one more voxel at a time."""
    voxels = labeled_voxels(logits, labels)
    losses = []
    for c in sorted({label for _, label in voxels}):
        errors = [(1 - row[c] if label == c else row[c], label == c) for row, label in voxels]
        size = sum(is_class for _, is_class in errors)
        wrong = outside = 0
        jaccard_loss = loss = 0.0
        for error, is_class in sorted(errors, reverse=True):
            wrong, outside = wrong + is_class, outside + (not is_class)
            grown = 1 - (size - wrong) / (size + outside)
            loss += error * (grown - jaccard_loss)
            jaccard_loss = grown
        losses.append(loss)
    return sum(losses) / len(losses)


def slow_affinity(rows: list[tuple[float, bool]]) -> float:
    """−log precision − log recall − log specificity from (probability, is of the class)."""
    hits = sum(p for p, inside in rows if inside)
    loss = -math.log(hits / sum(p for p, _ in rows))
    loss -= math.log(hits / sum(inside for _, inside in rows))
    rejected = [1 - p for p, inside in rows if not inside]
    return loss - math.log(sum(rejected) / len(rejected))


def slow_sem_scal(logits: Tensor, labels: Tensor) -> float:
    voxels = labeled_voxels(logits, labels)
    present = sorted({label for _, label in voxels})
    terms = [slow_affinity([(row[c], label == c) for row, label in voxels]) for c in present]
    return sum(terms) / len(terms)


def slow_geo_scal(logits: Tensor, labels: Tensor) -> float:
    voxels = labeled_voxels(logits, labels)
    return slow_affinity([(1 - row[0], label != 0) for row, label in voxels])


def slow_cross_entropy(logits: Tensor, labels: Tensor) -> float:
    nll = [-math.log(row[label]) for row, label in labeled_voxels(logits, labels)]
    return sum(nll) / len(nll)


SLOW = {
    cross_entropy: slow_cross_entropy,
    lovasz_softmax: slow_lovasz,
    sem_scal: slow_sem_scal,
    geo_scal: slow_geo_scal,
}


@pytest.fixture
def without_type_checks() -> Iterator[None]:
    """Shape checks off, as they are outside the tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class TestByHand:
    def test_cross_entropy_weighs_by_class(self) -> None:
        logits = logits_of([[0.5, 0.5], [0.75, 0.25]])
        weight = torch.tensor([1.0, 3.0])
        expected = (1 * math.log(2) + 3 * math.log(4)) / (1 + 3)
        assert cross_entropy(logits, labels_of(0, 1), weight).item() == pytest.approx(expected)

    def test_cross_entropy_without_weights_is_the_mean(self) -> None:
        logits = logits_of([[0.5, 0.5], [0.75, 0.25], [0.1, 0.9]])
        expected = (math.log(2) + math.log(4)) / 2
        assert cross_entropy(logits, labels_of(0, 1, 255)).item() == pytest.approx(expected)

    def test_lovasz(self) -> None:
        # Class 0: errors 0.6 (outside), 0.2 (inside) -> 0.6 · 1/2 + 0.2 · 1/2.
        # Class 1: errors 0.6 (inside), 0.2 (outside) -> 0.6 · 1 + 0.2 · 0.
        logits = logits_of([[0.8, 0.2], [0.6, 0.4]])
        expected = ((0.6 / 2 + 0.2 / 2) + 0.6) / 2
        assert lovasz_softmax(logits, labels_of(0, 1)).item() == pytest.approx(expected)

    def test_sem_scal(self) -> None:
        logits = logits_of([[0.8, 0.2], [0.6, 0.4]])
        class_0 = -math.log(0.8 / 1.4) - math.log(0.8) - math.log(0.4)
        class_1 = -math.log(0.4 / 0.6) - math.log(0.4) - math.log(0.8)
        expected = (class_0 + class_1) / 2
        assert sem_scal(logits, labels_of(0, 1)).item() == pytest.approx(expected)

    def test_geo_scal(self) -> None:
        logits = logits_of([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1]])
        expected = -math.log(0.4 / 0.6) - math.log(0.4) - math.log(0.8)
        assert geo_scal(logits, labels_of(0, 2)).item() == pytest.approx(expected)


@EVERY_LOSS
class TestEveryLoss:
    @pytest.mark.parametrize("batch", [1, 2])
    def test_equals_a_slow_loop(self, loss: Callable[..., Tensor], batch: int) -> None:
        logits, labels = random_case(batch, 4, (5, 3, 2))
        assert loss(logits, labels).item() == pytest.approx(SLOW[loss](logits, labels), rel=1e-9)

    def test_equals_a_slow_loop_in_float32(self, loss: Callable[..., Tensor]) -> None:
        logits, labels = random_case(2, 5, (7, 3), torch.float32)
        # Float32 keeps 7 digits; a handful of additions cost one of them.
        assert loss(logits, labels).item() == pytest.approx(SLOW[loss](logits, labels), rel=1e-5)
        assert loss(logits, labels).dtype == torch.float32

    def test_gradient(self, loss: Callable[..., Tensor]) -> None:
        logits, labels = random_case(2, 3, (4, 2))
        assert torch.autograd.gradcheck(lambda x: loss(x, labels), logits.requires_grad_())

    def test_batch_is_pooled(self, loss: Callable[..., Tensor]) -> None:
        logits, labels = random_case(2, 4, (6,))
        joined = loss(logits.transpose(0, 1).reshape(1, 4, 12), labels.reshape(1, 12))
        assert loss(logits, labels).item() == pytest.approx(joined.item())

    def test_int64_labels_are_the_same(self, loss: Callable[..., Tensor]) -> None:
        logits, labels = random_case(1, 4, (6,))
        assert loss(logits, labels.long()) == loss(logits, labels)

    def test_ignored_voxels_are_as_good_as_absent(self, loss: Callable[..., Tensor]) -> None:
        logits, labels = random_case(1, 4, (9,))
        keep = labels[0] != 255
        assert 0 < keep.sum() < 9
        short = loss(logits[:, :, keep], labels[:, keep]).item()
        assert loss(logits, labels).item() == pytest.approx(short)
        (gradient,) = torch.autograd.grad(loss(logits.requires_grad_(), labels), logits)
        assert not gradient[:, :, ~keep].any()

    @pytest.mark.parametrize("voxels", [0, 5])
    def test_nothing_labeled_is_a_differentiable_zero(
        self, loss: Callable[..., Tensor], voxels: int
    ) -> None:
        logits = torch.randn(2, 3, voxels, requires_grad=True)
        value = loss(logits, torch.full((2, voxels), 255, dtype=torch.uint8))
        value.backward()
        assert value.item() == 0
        assert logits.grad is not None
        assert not logits.grad.any()  # Nor NaN, for NaN is true.

    def test_nan_is_not_hidden(self, loss: Callable[..., Tensor]) -> None:
        logits, labels = random_case(1, 3, (6,))
        logits[0, 1, 2] = torch.nan
        assert loss(logits, labels.masked_fill(labels == 255, 0)).isnan()

    @pytest.mark.parametrize("scale", [200.0, 1e30])
    def test_hopeless_logits_give_finite_values_and_gradients(
        self, loss: Callable[..., Tensor], scale: float
    ) -> None:
        logits = torch.tensor([[[scale, 0.0], [0.0, scale], [0.0, 0.0]]], requires_grad=True)
        value = loss(logits, labels_of(1, 0))
        value.backward()
        assert value.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()

    def test_perfect_prediction_costs_nothing(self, loss: Callable[..., Tensor]) -> None:
        labels = labels_of(0, 1, 2, 1, 255)
        logits = torch.tensor([[0, 1, 2, 1, 0]])
        logits = 200.0 * torch.nn.functional.one_hot(logits, 3).transpose(1, 2).float()
        assert loss(logits, labels).item() == 0

    def test_autocast_keeps_float32(self, loss: Callable[..., Tensor]) -> None:
        logits, labels = random_case(1, 4, (8,), torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            assert loss(logits, labels) == loss(logits.clone(), labels)
            half = loss(logits.bfloat16(), labels)
        assert half.dtype == torch.float32
        assert half == loss(logits.bfloat16().float(), labels)

    def test_leaves_its_arguments_alone(self, loss: Callable[..., Tensor]) -> None:
        logits, labels = random_case(1, 4, (8,))
        before = logits.clone(), labels.clone()
        loss(logits, labels)
        assert torch.equal(logits, before[0])
        assert torch.equal(labels, before[1])

    def test_labels_of_another_shape_are_rejected(
        self, loss: Callable[..., Tensor], without_type_checks: None
    ) -> None:
        with pytest.raises(ValueError, match=r"labels of shape \(1, 4\), got \(1, 5\)"):
            loss(torch.zeros(1, 3, 4), torch.zeros(1, 5, dtype=torch.uint8))

    def test_label_that_is_no_class(self, loss: Callable[..., Tensor]) -> None:
        with pytest.raises(ValueError, match=r"labels are 0 to 2, .* got \[3, 7\]"):
            loss(torch.zeros(1, 3, 4), labels_of(0, 3, 7, 255))


def test_class_weight_of_another_length_is_rejected(without_type_checks: None) -> None:
    with pytest.raises(ValueError, match=r"one value for each of 3 classes, got shape \(2,\)"):
        cross_entropy(torch.zeros(1, 3, 4), labels_of(0, 1, 2, 0), torch.ones(2))


def test_the_type_checker_rejects_shapes_that_do_not_fit() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        cross_entropy(torch.zeros(1, 3, 4), torch.zeros(1, 5, dtype=torch.uint8))


def test_cross_entropy_of_classes_without_weight_is_zero() -> None:
    logits = torch.randn(1, 2, 3, requires_grad=True)
    value = cross_entropy(logits, labels_of(1, 1, 255), torch.tensor([1.0, 0.0]))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_lovasz_does_not_depend_on_the_order_of_equal_errors() -> None:
    logits = logits_of([[0.5, 0.5]] * 6)
    forward = lovasz_softmax(logits, labels_of(0, 0, 0, 1, 1, 1)).item()
    backward = lovasz_softmax(logits, labels_of(1, 0, 1, 0, 1, 0)).item()
    assert forward == pytest.approx(0.5)
    assert backward == pytest.approx(0.5)


def test_lovasz_keeps_its_digits_over_many_voxels() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 200_000, generator=generator)
    labels = (torch.rand(1, 200_000, generator=generator) < 0.3).byte()
    exact = lovasz_softmax(logits.double(), labels).item()
    assert lovasz_softmax(logits, labels).item() == pytest.approx(exact, rel=1e-6)


def test_geo_scal_with_nothing_occupied_pushes_towards_free() -> None:
    logits = logits_of([[0.8, 0.2], [0.6, 0.4]]).requires_grad_()
    value = geo_scal(logits, labels_of(0, 0))
    value.backward()
    assert value.item() == pytest.approx(-math.log(0.7))  # The specificity alone.
    assert logits.grad is not None
    assert (logits.grad[:, 0] < 0).all()


def test_geo_scal_with_nothing_free_pushes_towards_occupied() -> None:
    logits = logits_of([[0.8, 0.2], [0.6, 0.4]]).requires_grad_()
    value = geo_scal(logits, labels_of(1, 1))
    value.backward()
    assert value.item() == pytest.approx(-math.log(0.3))  # The recall alone: the precision is 1.
    assert logits.grad is not None
    assert (logits.grad[:, 0] > 0).all()


def test_sem_scal_of_one_class_everywhere_is_its_recall() -> None:
    logits = logits_of([[0.8, 0.2], [0.6, 0.4]])
    assert sem_scal(logits, labels_of(0, 0)).item() == pytest.approx(-math.log(0.7))


def test_a_class_without_any_probability_costs_the_cap_once() -> None:
    logits = torch.tensor([[[200.0, 200.0], [0.0, 0.0]]])
    # Class 1: no precision, recall 0 costs 100, specificity 1. Class 0: half, all, none of it.
    expected = (100 + (math.log(2) + 0 + 100)) / 2
    assert sem_scal(logits, labels_of(0, 1)).item() == pytest.approx(expected)


def test_negative_log_is_capped_and_keeps_nan() -> None:
    part = torch.tensor([2e-38, 0.0, 1.0, 0.0, torch.nan, 1.0], dtype=torch.float64)
    whole = torch.tensor([1e9, 1.0, 2.0, 0.0, 1.0, torch.nan], dtype=torch.float64)
    expected = torch.tensor([100, 100, math.log(2), 0, torch.nan, torch.nan], dtype=torch.float64)
    torch.testing.assert_close(_negative_log(part, whole), expected, equal_nan=True)


@pytest.mark.parametrize("weighted", [False, True])
def test_all_terms_at_once_equal_the_single_losses(weighted: bool) -> None:
    logits, labels = random_case(2, 5, (6, 4), torch.float32)
    logits.requires_grad_()
    weight = torch.rand(5) if weighted else None
    terms = occupancy_terms(logits, labels, weight)
    single = {loss.__name__: loss(logits, labels) for loss in LOSSES[1:]}
    single["cross_entropy"] = cross_entropy(logits, labels, weight)
    assert terms.keys() == single.keys()
    for name, term in terms.items():
        assert term == single[name], name
        (shared,) = torch.autograd.grad(term, logits, retain_graph=True)
        (alone,) = torch.autograd.grad(single[name], logits, retain_graph=True)
        torch.testing.assert_close(shared, alone, msg=name)


def test_classes_of_what_is_occupied_whatever_the_probability_that_it_is():
    rows = [[0.9, 0.08, 0.02], [0.0001, 0.25, 0.75], [0.5, 0.25, 0.25], [0.5, 0.4, 0.1]]
    # 80 % of the first voxel's 10 %, and 75 % of the second one's; the others say nothing.
    expected = -(math.log(0.8) + math.log(0.75)) / 2
    labels = labels_of(1, 2, 0, 255)
    assert occupied_cross_entropy(logits_of(rows), labels).item() == pytest.approx(expected, 1e-3)


def test_the_class_of_what_is_occupied_moves_no_score_of_free_space():
    logits, labels = random_case(1, 3, (5,))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: occupied_cross_entropy(x, labels), logits)
    occupied_cross_entropy(logits, labels).backward()
    assert not logits.grad[:, 0].any()
    assert logits.grad.sum(1).abs().max() < 1e-12  # It sharpens the classes against each other.
    is_silent = (labels == 0) | (labels == 255)
    assert not logits.grad.movedim(1, -1)[is_silent].any()


def test_no_class_anywhere_is_a_differentiable_zero():
    logits, labels = random_case(1, 3, (4,))
    logits.requires_grad_()
    loss = occupied_cross_entropy(logits, labels * 0)
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()
