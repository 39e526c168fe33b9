import torch

from model.preprocess import BatchPreprocessor
from tests.model_inputs import make_batch, make_model


def test_names_the_batch_for_forward():
    batch = make_batch()
    handed = BatchPreprocessor()(batch, True)
    assert list(handed) == ["batch"]
    assert torch.equal(handed["batch"].images, batch.images)
    assert make_model().eval().val_step(batch)[0].stem == "16.0"


def test_moves_the_batch_to_the_device_of_the_network():
    moved = BatchPreprocessor().to("meta")(make_batch(1))["batch"]
    assert moved.images.device.type == moved.points[0].device.type == "meta"
