"""From the files of a data set to Samples. Importing it registers the data sets for configs."""

from dataset.nuscenes.dataset import NuScenes
from dataset.unscenes3d import UnScenes3D

__all__ = ["NuScenes", "UnScenes3D"]
