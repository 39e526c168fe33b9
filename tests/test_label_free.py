import torch

from model.label_free import occupied_labels


def test_classes_share_the_probability_of_being_occupied():
    shares = torch.tensor([[0.45, 0.25, 0.3], [0.6, 0.1, 0.3], [0.1, 0.8, 0.1]])
    labels = occupied_labels(shares.log().T[None, :, :, None, None])
    assert labels.flatten().tolist() == [2, 0, 1]
