"""The network. Importing this package registers its parts in ``utils.registry.MODELS``."""

import utils.compat  # noqa: F401  Before anything that imports torchvision.
from model.decoder import UNet3d
from model.fusion import ConcatFusion
from model.image_encoder import ImageEncoder
from model.lidar_encoder import LidarEncoder
from model.lift import Lift
from model.occupancy_head import OccupancyHead
from model.prediction import Prediction
from model.preprocess import BatchPreprocessor
from model.unsocc import UnsOcc

__all__ = [
    "BatchPreprocessor",
    "ConcatFusion",
    "ImageEncoder",
    "LidarEncoder",
    "Lift",
    "OccupancyHead",
    "Prediction",
    "UNet3d",
    "UnsOcc",
]
