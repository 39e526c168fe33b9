"""The network. Importing this package registers its parts in ``utils.registry.MODELS``."""

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
]
