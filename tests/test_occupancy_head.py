import pytest
import torch

from model.occupancy_head import OccupancyHead


def make_head(**changes) -> OccupancyHead:
    torch.manual_seed(0)
    arguments = dict(
        in_channels=6, evidence_channels=3, num_classes=5, coarsening=2, channels=4, free_prior=0.9
    )
    return OccupancyHead(**(arguments | changes))


@pytest.mark.parametrize("coarsening", [1, 2, 4])
@pytest.mark.parametrize("batch", [1, 2])
def test_gives_scores_at_full_resolution(coarsening, batch):
    head = make_head(coarsening=coarsening)
    evidence = [torch.rand(batch, 1, 8, 4, 4), torch.rand(batch, 2, 8, 4, 4)]
    decoded = torch.rand(batch, 6, 8 // coarsening, 4 // coarsening, 4 // coarsening)
    assert head(decoded, evidence).shape == (batch, 5, 8, 4, 4)


def test_starts_from_the_prior():
    head = make_head()
    torch.nn.init.zeros_(head.classify.weight)
    logits = head(torch.rand(1, 6, 4, 2, 2), [torch.rand(1, 3, 8, 4, 4)])
    probability = logits.softmax(dim=1)[0, :, 0, 0, 0]
    torch.testing.assert_close(probability, torch.tensor([0.9, 0.025, 0.025, 0.025, 0.025]))


def test_evidence_reaches_its_own_voxel_and_the_neighbours_only():
    head = make_head().eval()
    evidence = torch.zeros(1, 3, 8, 8, 8)
    touched = evidence.clone()
    touched[0, :, 4, 4, 4] = 1.0
    decoded = torch.rand(1, 6, 4, 4, 4)
    changed = (head(decoded, [evidence]) != head(decoded, [touched])).any(dim=1)[0]
    assert changed[4, 4, 4]
    changed[3:6, 3:6, 3:6] = False
    assert not changed.any()


def test_works_without_evidence():
    assert make_head(evidence_channels=0)(torch.rand(1, 6, 4, 2, 2), []).shape == (1, 5, 8, 4, 4)


def test_scores_are_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = make_head()(torch.rand(1, 6, 4, 2, 2), [torch.rand(1, 3, 8, 4, 4)])
    assert logits.dtype == torch.float32


def test_every_parameter_gets_a_gradient():
    head = make_head()
    head(torch.rand(2, 6, 4, 2, 2), [torch.rand(2, 3, 8, 4, 4)]).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in head.parameters())


@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_a_prior_that_is_certain_is_refused(prior):
    with pytest.raises(ValueError, match="between 0 and 1"):
        make_head(free_prior=prior)
