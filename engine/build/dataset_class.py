"""The data set class of a config. Importing this module registers all data sets."""

from mmengine.config import Config

import dataset.nuscenes.dataset
import dataset.recordings.dataset
import dataset.rellis3d.dataset
import dataset.unscenes3d  # noqa: F401  Registers UnScenes3D.
from dataset.frame_dataset import FrameDataset
from dataset.reading import Reading
from dataset.recordings.folders import Splits
from dataset.rellis3d.labels import LabelFiles
from engine.build.section import Section
from utils.registry import DATASETS

GROUPS = {"reading": Reading, "label_files": LabelFiles, "splits": Splits}
"""Data set arguments that are flat keys of the ``dataset`` section in a config."""


def dataset_class(cfg: Config) -> type[FrameDataset]:
    """Return the data set class of a config; its class attributes are available without data.

    Raises:
        ValueError: If the class is unknown.
    """
    found: type[FrameDataset] = Section(cfg, "dataset", DATASETS, GROUPS).find_class()
    return found
