"""The class that reads the data set of a config. Importing this module registers all of them."""

from mmengine.config import Config

import dataset.nuscenes.dataset
import dataset.unscenes3d  # noqa: F401  Registers UnScenes3D.
from dataset.frame_dataset import FrameDataset
from dataset.reading import Reading
from utils.config import section_class
from utils.registry import DATASETS

GROUPS = {"reading": Reading}
"""Arguments of data sets that a config gives as flat keys of its ``dataset`` section."""


def dataset_class(cfg: Config) -> type[FrameDataset]:
    """The class of a config's data set; what it says of itself needs no data.

    Raises:
        ValueError: If the class is unknown.
    """
    found: type[FrameDataset] = section_class(cfg, "dataset", DATASETS, groups=GROUPS)
    return found
