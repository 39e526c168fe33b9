"""The network. Importing this package registers its parts in ``utils.registry.MODELS``.

``build_unsocc`` gives a trained network as a function of numpy arrays.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import utils.compat  # noqa: F401  Before anything that imports torchvision.
from model.decoder import UNet3d
from model.elevation_head import ElevationHead
from model.fusion import ConcatFusion
from model.gs_refinement import GSRefinement
from model.image_encoder import ImageEncoder
from model.knn_fusion import KnnFusion
from model.lidar_encoder import LidarEncoder
from model.lift import Lift
from model.occupancy_head import CoarseOccupancyHead, OccupancyHead
from model.prediction import Prediction
from model.preprocess import BatchPreprocessor
from model.render_fusion import RenderFusion
from model.unsocc import UnsOcc

if TYPE_CHECKING:
    from engine.prediction.predictor import GridPredictor

__all__ = [
    "BatchPreprocessor",
    "CoarseOccupancyHead",
    "ConcatFusion",
    "ElevationHead",
    "GSRefinement",
    "ImageEncoder",
    "KnnFusion",
    "LidarEncoder",
    "Lift",
    "OccupancyHead",
    "Prediction",
    "RenderFusion",
    "UNet3d",
    "UnsOcc",
    "build_unsocc",
]


def build_unsocc(
    config: str | Path,
    weights: str | Path,
    *,
    device: str = "auto",
    amp: str = "off",
    options: Mapping[str, Any] | None = None,
) -> "GridPredictor":
    """A trained network, to be called with arrays: image, points, pixel_from_lidar.

    Args:
        config: Config file.
        weights: ``model_state_dict.pth`` or ``latest.pth``, which train.py wrote.
        device: "auto" takes a GPU if there is one; "cpu" or "cuda".
        amp: Precision on a GPU: "off", "bf16" or "fp16".
        options: Values of the config to override, by dotted key.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If the config is at fault, the weights are of another network, or device and
            precision do not fit.
    """
    from engine.prediction.predictor import build_predictor  # Which imports this package.
    from utils.config import load_config

    return build_predictor(load_config(config, options), weights, device=device, amp=amp)
