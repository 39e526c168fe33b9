import pytest
import torch

from dataset.arrays import InputOptions
from engine.prediction.predictor import GridPredictor, grids_of
from model.labels import choose_labels
from model.objective import LossOptions
from tests.model_inputs import GRID, IMAGE_SIZE, make_batch, make_model
from utils.labels import FREE, UNSCENES3D


def test_the_threshold_is_on_the_probability_of_not_being_free():
    probability = torch.tensor([[0.5, 0.3, 0.2], [0.65, 0.05, 0.3], [0.2, 0.5, 0.3]]).T
    logits = probability.log() + 3.0
    assert choose_labels(logits).tolist() == [0, 0, 1]
    assert choose_labels(logits, 0.45).tolist() == [1, 0, 1]
    assert choose_labels(logits, 0.3).tolist() == [1, 2, 1]
    assert choose_labels(logits, 0.9).tolist() == [0, 0, 0]
    assert choose_labels(logits.T, 0.45, dim=1).tolist() == [1, 0, 1]


def test_without_labels_the_classes_share_the_probability_of_being_occupied():
    shares = torch.tensor([[0.55, 0.25, 0.2], [0.65, 0.1, 0.25], [0.1, 0.8, 0.1]])
    grids = grids_of(shares.log().T[None, :, :, None, None], 0.4)
    assert grids.occupancy.flatten().tolist() == [1, 0, 1]
    torch.testing.assert_close(grids.confidence.flatten(), torch.tensor([0.45, 0.65, 0.9]))
    two = torch.stack([shares[:, 0], 1 - shares[:, 0]])
    torch.testing.assert_close(grids.entropy.flatten(), -(two * two.log()).sum(0))
    assert grids_of(shares.log().T[None, :, :, None, None], None).occupancy.sum() == 1


@pytest.mark.parametrize(
    ("supervision", "given", "expected"),
    [("labels", None, None), ("video", None, 0.4), ("lidar", None, 0.5), ("both", 0.3, 0.3)],
)
def test_the_threshold_depends_on_the_supervision(supervision, given, expected):
    options = LossOptions({}, supervision=supervision, label_free=dict(occupied_threshold=given))
    assert options.occupied_threshold == expected


@pytest.mark.parametrize("wrong", [0.0, 1.0, 1.5, float("nan")])
def test_a_threshold_is_a_probability(wrong):
    options = LossOptions({}, supervision="lidar", label_free=dict(occupied_threshold=wrong))
    with pytest.raises(ValueError, match="occupied_threshold between 0 and 1, or None"):
        assert options.occupied_threshold


def test_arrays_are_predicted_as_scores_are(monkeypatch):
    network, batch = make_model().eval(), make_batch()
    predictor = GridPredictor(network, GRID, UNSCENES3D, InputOptions(IMAGE_SIZE))
    with torch.no_grad():
        occupied = 1 - network(batch).softmax(dim=1)[:, FREE]
    for threshold in (None, occupied.median().item()):
        monkeypatch.setattr(network, "occupied_threshold", threshold)
        with torch.no_grad():
            expected = network(batch, mode="predict")[0].occupancy
        found = predictor.run(batch).occupancy[0]
        torch.testing.assert_close(found, expected)
    assert 0.2 < (found != FREE).float().mean() < 0.8
