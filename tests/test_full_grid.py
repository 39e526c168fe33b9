"""The whole way of a frame on the full label grid: files, network, loss, prediction, scores."""

from pathlib import Path

import pytest
import torch

from dataset.layout import LABEL_GRID
from dataset.sample import collate
from engine.build.build import build_dataset, build_grid, build_model
from engine.metrics.confusion import Confusion
from tests.layout_files import write_tiny_unscenes3d
from utils.config import load_config

CONFIG = Path(__file__).parents[1] / "config/minesim/minesim_occ.py"
NARROW = {
    "grid.voxel_m": 0.3,
    "grid.shape": (256, 256, 32),
    "model.coarsening": 4,
    "model.parts.lift.channels": 4,
    "model.parts.lift.evidence_channels": 2,
    "model.parts.lidar_encoder.stage_channels": (4, 8, 8),
    "model.parts.lidar_encoder.channels": 8,
    "model.parts.lidar_encoder.evidence_channels": 2,
    "model.parts.fusion.channels": 8,
    "model.parts.decoder.channels": (8, 8),
    "model.parts.head.channels": 4,
    "dataset.split_source": "auto",
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_tiny_unscenes3d(root)
    return load_config(CONFIG, NARROW | {"data_root": str(root)})


def test_a_frame_of_the_full_grid_is_learned_from_and_scored(config):
    assert build_grid(config) == LABEL_GRID
    frames = build_dataset(config, "train", training=True)
    batch = collate([frames[0]])
    network = build_model(config)

    losses = network(batch, mode="loss")
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert network.head.classify.weight.grad.abs().sum() > 0

    network.eval()
    with torch.no_grad():
        predictions = network(batch, mode="predict")
    confusion = Confusion(12)
    for prediction, label in zip(predictions, batch.occupancy, strict=True):
        assert prediction.occupancy.shape == LABEL_GRID.shape
        confusion.update(prediction.occupancy, label)
    assert int(confusion.matrix.sum()) == int((batch.occupancy != 255).sum())
