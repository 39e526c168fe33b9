import pytest
import torch

from model.occupancy_head import CoarseOccupancyHead, OccupancyHead, classifier

HEADS = [OccupancyHead, CoarseOccupancyHead]


def make_head(kind=OccupancyHead, **changes):
    torch.manual_seed(0)
    arguments = dict(in_channels=6, num_classes=5, coarsening=2, channels=4, free_prior=0.9)
    arguments["evidence_channels"] = 3 if kind is OccupancyHead else 0
    return kind(**(arguments | changes))


def make_evidence(kind, batch, *shape):
    if kind is CoarseOccupancyHead:
        return []
    return [torch.rand(batch, 1, *shape), torch.rand(batch, 2, *shape)]


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("coarsening", [1, 2, 4])
@pytest.mark.parametrize("batch", [1, 2])
def test_gives_scores_at_full_resolution(kind, coarsening, batch):
    head = make_head(kind, coarsening=coarsening)
    evidence = make_evidence(kind, batch, 8, 4, 4)
    decoded = torch.rand(batch, 6, 8 // coarsening, 4 // coarsening, 4 // coarsening)
    assert head(decoded, evidence).shape == (batch, 5, 8, 4, 4)


@pytest.mark.parametrize("kind", HEADS)
def test_starts_from_the_prior(kind):
    head = make_head(kind)
    torch.nn.init.zeros_(head.classify.weight)
    logits = head(torch.rand(1, 6, 4, 2, 2), make_evidence(kind, 1, 8, 4, 4))
    probability = logits.softmax(dim=1)[0, :, 0, 0, 0]
    torch.testing.assert_close(probability, torch.tensor([0.9, 0.025, 0.025, 0.025, 0.025]))


def test_evidence_reaches_its_own_voxel_and_the_neighbors_only():
    head = make_head().eval()
    evidence = torch.zeros(1, 3, 8, 8, 8)
    touched = evidence.clone()
    touched[0, :, 4, 4, 4] = 1.0
    decoded = torch.rand(1, 6, 4, 4, 4)
    changed = (head(decoded, [evidence]) != head(decoded, [touched])).any(dim=1)[0]
    assert changed[4, 4, 4]
    changed[3:6, 3:6, 3:6] = False
    assert not changed.any()


@pytest.mark.parametrize("kind", HEADS)
def test_works_without_evidence(kind):
    head = make_head(kind, evidence_channels=0)
    assert head(torch.rand(1, 6, 4, 2, 2), []).shape == (1, 5, 8, 4, 4)


@pytest.mark.parametrize("kind", HEADS)
def test_scores_are_float32_under_autocast(kind):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = make_head(kind)(torch.rand(1, 6, 4, 2, 2), make_evidence(kind, 1, 8, 4, 4))
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("kind", HEADS)
def test_every_parameter_gets_a_gradient(kind):
    head = make_head(kind)
    head(torch.rand(2, 6, 4, 2, 2), make_evidence(kind, 2, 8, 4, 4)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in head.parameters())


def test_the_coarse_head_interpolates_scores_between_the_centers_of_its_voxels():
    head = make_head(CoarseOccupancyHead).eval()
    decoded = torch.rand(1, 6, 2, 1, 1)
    coarse = head.classify(head.mix(decoded))[0, :, :, 0, 0]
    logits = head(decoded, [])[0]
    # Fine centers lie at -1/4, 1/4, 3/4 and 5/4 of the way from the first coarse center to the
    # second; beyond either there is nothing to interpolate to.
    share = torch.tensor([0.0, 0.25, 0.75, 1.0])
    expected = coarse[:, :1] * (1 - share) + coarse[:, 1:] * share
    torch.testing.assert_close(logits, expected[:, :, None, None].expand(5, 4, 2, 2))


def test_the_coarse_head_of_a_grid_that_is_not_coarsened_interpolates_nothing():
    head = make_head(CoarseOccupancyHead, coarsening=1).eval()
    decoded = torch.rand(2, 6, 4, 2, 2)
    torch.testing.assert_close(head(decoded, []), head.classify(head.mix(decoded)))


def test_the_coarse_head_rejects_evidence():
    with pytest.raises(ValueError, match=r"set lift\.evidence_channels .* to None; .* have 3"):
        make_head(CoarseOccupancyHead, evidence_channels=3)


def test_the_prior_of_two_classes_by_hand():
    classify = classifier(channels=1, num_classes=2, free_prior=0.75)
    torch.testing.assert_close(classify.bias.data, torch.tensor([3.0, 1.0]).log())


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_a_prior_that_is_certain_is_rejected(kind, prior):
    with pytest.raises(ValueError, match="between 0 and 1"):
        make_head(kind, free_prior=prior)
