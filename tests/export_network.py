"""A small trained network for the tests of its export."""

from pathlib import Path

from mmengine.config import Config

from engine.checkpoint.weights import TrainedWeights, read_weights
from engine.prediction.predictor import GridPredictor, build_predictor
from tests.trained import save_trained
from utils.config import load_config

CONFIG = """
_base_ = "{base}"
grid = dict(voxel_m=2.4, shape=(32, 32, 4))
dataset = dict(image_size=(32, 64))
model = dict(
    parts=dict(
        image_encoder=dict(backbone="resnet18", weights=None, num_stages=3, channels=16,
            frozen_stages=0),
        lift=dict(bins=dict(num=8), channels=8, hidden_channels=8, evidence_channels=2),
        lidar_encoder=dict(stage_channels=(8, 12), channels=8, evidence_channels=2),
        fusion=dict(channels=8, hidden_channels=8),
        decoder=dict(channels=(8, 12)),
        head=dict(channels=8, free_prior=0.08),
        refinement=None,
    ),
)
"""
BASE = Path(__file__).parents[1] / "config/minesim/minesim_occ.py"


def write_network(folder: Path, base: Path = BASE, **options: object) -> tuple[Path, Path]:
    """Write the config and random weights; return their paths."""
    config, weights = folder / "small.py", folder / "small.pth"
    config.write_text(CONFIG.format(base=base))
    save_trained(load_config(config, dict(options)), weights)
    return config, weights


def small_network(
    folder: Path, base: Path = BASE, **options: object
) -> tuple[Config, TrainedWeights, GridPredictor]:
    """Return the config, the weights and their predictor on the CPU."""
    config, path = write_network(folder, base, **options)
    cfg, weights = load_config(config, dict(options)), read_weights(path)
    return cfg, weights, build_predictor(cfg, weights, device="cpu")
