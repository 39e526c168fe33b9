import pytest
import torch

from loss.columns import column_cross_entropy, continued, surface_profiles


def test_columns_side_by_side_vote_together():
    votes = torch.zeros(1, 5, 5, 3)
    votes[0, 2, 2, 1], votes[0, 2, 3, 1], votes[0, 2, 2, 0] = 3.0, 1.0, 1.0
    profiles, has_votes = surface_profiles(votes, torch.zeros_like(votes), fewest=1)
    assert profiles[0, 2, 2].tolist() == pytest.approx([0.25, 1.0, 0.0])
    assert profiles[0, 1, 4].tolist() == pytest.approx([0.0, 1.0, 0.0])  # Of the column beside it.
    assert profiles[0, 1, 1].tolist() == pytest.approx([1 / 3, 1.0, 0.0])
    assert has_votes[0].tolist() == [[0] * 5, *[[0, 1, 1, 1, 1]] * 3, [0] * 5]


def test_a_single_vote_is_none():
    votes = torch.zeros(1, 5, 5, 3)
    votes[0, 2, 2] = torch.tensor([1.0, 2.0, 0.0])
    profiles, _ = surface_profiles(votes, torch.zeros_like(votes), fewest=2)
    assert profiles[0, 2, 2].tolist() == [0.0, 1.0, 0.0]


def test_a_voxel_that_many_rays_pass_is_free():
    votes, passes = torch.zeros(2, 1, 5, 5, 2)
    votes[0, 2, 2] = torch.tensor([3.0, 2.0])
    passes[0, 1, 1] = torch.tensor([0.0, 8.1])
    profiles, has_votes = surface_profiles(votes, passes, fewest=1)
    assert profiles[0, 2, 2].tolist() == [1.0, 0.0]
    assert profiles[0, 3, 3].tolist() == pytest.approx([1.0, 2 / 3])  # None passes beside it.
    assert has_votes[0, 2, 2] == 1


@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (1, 6)])
def test_a_level_ground_continues_everywhere(shape):
    profiles, weight = torch.zeros(2, *shape, 3), torch.zeros(2, *shape)
    profiles[0, 0, 2:4, 1] = weight[0, 0, 2:4] = 1
    filled = continued(profiles, weight, reach=8)
    torch.testing.assert_close(filled[0, ..., 1], torch.ones(shape))
    assert not filled[0, ..., [0, 2]].any()
    assert not filled[1].any()  # Nothing to continue.


def test_surfaces_are_not_continued_beyond_their_reach():
    profiles, weight = torch.zeros(1, 8, 8, 1), torch.zeros(1, 8, 8)
    profiles[0, 0] = weight[0, 0] = 1
    filled = continued(profiles, weight, reach=2)[0, ..., 0]
    assert filled[:3].equal(torch.ones(3, 8))
    assert not filled[3:].any()


def test_what_has_votes_stays_and_the_nearest_counts_most():
    profiles, weight = torch.zeros(1, 8, 8, 2), torch.zeros(1, 8, 8)
    profiles[0, 0, :, 0] = profiles[0, 7, :, 1] = 1
    weight[0, [0, 7]] = 1
    filled = continued(profiles, weight, reach=8)[0]
    assert filled[0, :, 0].equal(torch.ones(8))
    assert filled[7, :, 1].equal(torch.ones(8))
    assert (filled[1:3, :, 0] > filled[1:3, :, 1]).all()
    torch.testing.assert_close(filled.sum(-1), torch.ones(8, 8))


def test_a_voxel_of_each_kind_by_hand():
    occupied = torch.tensor([0.25, 0.5]).view(1, 1, 1, 2)
    profiles = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    terms = ((1 - occupied).log(), occupied.log(), profiles)
    loss = column_cross_entropy(*terms, torch.full((1, 1, 1), 0.3), surface_weight=2.0)
    assert loss.item() == pytest.approx(
        -(2 * torch.tensor(0.25).log() + torch.tensor(0.5).log()) / 2
    )
    assert column_cross_entropy(*terms, torch.zeros(1, 1, 1), surface_weight=2.0).item() == 0


def test_gradients():
    generator = torch.Generator().manual_seed(0)
    occupied, profiles = torch.rand(2, 1, 3, 2, 4, generator=generator, dtype=torch.float64)
    weight = torch.tensor([[[1.0, 0.2], [0.0, 0.5], [1.0, 1.0]]], dtype=torch.float64)

    def loss(logits: torch.Tensor) -> torch.Tensor:
        log_free = torch.nn.functional.logsigmoid(-logits)
        log_occupied = torch.nn.functional.logsigmoid(logits)
        return column_cross_entropy(log_free, log_occupied, profiles, weight, surface_weight=1.5)

    assert torch.autograd.gradcheck(loss, (occupied.logit().requires_grad_(),))
