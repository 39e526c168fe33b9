"""Reading: the options that every data set has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dataset.augmentation import Augmentation
from utils.geometry import VoxelGrid

SUPERVISING = frozenset({"lidar_rays", "video", "voxel_classes"})
"""Fields that are read from other frames of the scene, labeled or not."""


@dataclass(frozen=True)
class Reading:
    """What to read of each frame, and how: the keys of a config's ``dataset`` section.

    Attributes:
        grid: Voxel grid of the network, or its fields.
        fields: Fields of the Sample to fill; no file is opened for the others.
        image_size: Height and width of the images after crop and resize; None: the data set's
            default size.
        image_crop: Top, left, bottom and right of the used part of the recorded image, as
            fractions; cropped before the resize.
        num_sweeps: LiDAR sweeps accumulated per frame, including its own; above 1, the points get
            a fifth column, their age [s].
        num_neighbors: Number of other frames of the scene, nearest in time, in ``neighbors``.
        num_sources: Number of other frames of the scene, nearest in time, that ``lidar_rays`` and
            ``video`` are read from.
        source_spacing_m: Least distance that the vehicle moves from one of these to the next [m].
        num_rays: Number of ``lidar_rays``.
        mask_folder: Folder of ``masks`` in the data root.
        point_labels: Folder of the point labels that ``voxel_classes`` is read from, in the data
            root; for RELLIS-3D, in each sequence. The frames to read need them; other frames of
            their scenes are used if they have them.
        point_mapping: File of the classes of point labels, as for ``tools/make_labels.py``, with
            names of the label set; None: the numbers are those of the data set.
        labels: Name of the label set, one of those of the data set; None: its first.
        stems: Read only these frames of the split, in this order.
        lidar_height_m: Height of the LiDAR above level ground, to which your own recordings are
            moved (``dataset/recording.py``); None: the frame of the network is not the LiDAR's.
        allow_missing: Whether a frame may lack its images or its point cloud: missing, empty or
            blank ones are None.
        augmentation: Ranges of the augmentation, or its fields; None: no augmentation.
        seed: Seed of the augmentation, which also depends on epoch and index.
    """

    grid: VoxelGrid | dict[str, Any]
    fields: Sequence[str]
    image_size: Sequence[int] | None = None
    image_crop: Sequence[float] = (0.0, 0.0, 1.0, 1.0)
    num_sweeps: int = 1
    num_neighbors: int = 2
    num_sources: int = 2
    source_spacing_m: float = 0.0
    num_rays: int = 4096
    mask_folder: str = "masks"
    point_labels: str = "labels"
    point_mapping: str | None = None
    labels: str | None = None
    stems: Sequence[str] | None = None
    lidar_height_m: float | None = None
    allow_missing: bool = False
    augmentation: Augmentation | dict[str, Any] | None = None
    seed: int = 0
