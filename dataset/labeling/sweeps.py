"""One cloud with what is known of each point: its class, and whether it moves or is dust.

Classes come from the best source that a recording has, in this order:

| source | files |
| --- | --- |
| point labels | ``labels/STEM.label``: uint32 per point, the class in the lower 16 bits |
| boxes | ``boxes.json``, KITTI's ``tracklet_labels.xml`` or ``label_2/STEM.txt`` |
| 2D masks | ``masks/STEM.png``: one class per pixel of the image |
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from dataset.class_mapping import DROP, UNKNOWN, ClassMapping
from dataset.formats import open_image
from dataset.labeling.boxes import BOXES, BoxReader
from dataset.labeling.drive import Drive
from dataset.labeling.dust import is_dust
from dataset.labeling.options import LabelOptions
from dataset.labeling.visibility import first_hits
from dataset.point_labels import read_point_labels
from dataset.recorded_clouds import in_box

POINT_LABELS = "labels"
MASKS = "masks"


@dataclass(frozen=True)
class Sweep:
    """Points of one cloud that count.

    Attributes:
        points: x, y, z [m] in the LiDAR frame of the network, and the intensity, 0–1.
        label: Class of each point; 0 if unknown.
        is_moving: Points on things that move, according to their labels.
        is_dust: Points in the air, which lie on no surface.
    """

    points: Float32[np.ndarray, "P 4"]
    label: UInt8[np.ndarray, " P"]
    is_moving: Bool[np.ndarray, " P"]
    is_dust: Bool[np.ndarray, " P"]


class SweepReader:
    """Reads the clouds of a drive with the labels that the recording has.

    Args:
        drive: The drive.
        options: Range, and the box of your own vehicle.
        mapping: Classes of the sources; None ignores all sources.

    Attributes:
        drive: The drive.
        sources: Which sources are used, the best first.

    Raises:
        ValueError: If a source is invalid.
    """

    def __init__(
        self, drive: Drive, options: LabelOptions, mapping: ClassMapping | None = None
    ) -> None:
        self.drive = drive
        self._options = options
        self._mapping = mapping
        self.sources = () if mapping is None else sources_of(drive.root)
        self._boxes = None
        if mapping is not None and "boxes" in self.sources:
            self._boxes = BoxReader(drive, mapping)

    def read(self, frame: int) -> Sweep:
        """Read the cloud of a frame.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is invalid.
        """
        stem = self.drive.stems[frame]
        points = self.drive.clouds.read(stem).astype(np.float32)
        label = np.zeros(len(points), np.uint8)
        is_moving = np.zeros(len(points), bool)
        if self._mapping is not None and "point labels" in self.sources:
            path = self.drive.root / POINT_LABELS / f"{stem}.label"
            source = read_point_labels(path, len(points))
            label, is_moving = self._mapping.of_points(source, path)
        kept = is_outside_vehicle(points, self._options) & (label != DROP)
        points, label, is_moving = points[kept], label[kept], is_moving[kept]
        if self._boxes is not None:
            of_box, moves = self._boxes.classes(frame, points[:, :3])
            label = np.where(label == UNKNOWN, of_box, label)
            is_moving = is_moving | moves
            kept = label != DROP
            points, label, is_moving = points[kept], label[kept], is_moving[kept]
        if self._mapping is not None and "masks" in self.sources:
            label = np.where(label == UNKNOWN, self._of_mask(stem, points), label)
        dust = is_dust(points[:, :3], self._options.dust_share) & ~is_moving
        return Sweep(points, label.astype(np.uint8), is_moving, dust)

    def _of_mask(self, stem: str, points: Float32[np.ndarray, "P 4"]) -> UInt8[np.ndarray, " P"]:
        """Return the class of the pixels of points that the camera sees within the range."""
        assert self._mapping is not None, "masks need a mapping"
        path = self.drive.root / MASKS / f"{stem}.png"
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if not path.is_file() or self.drive.pixel_from_lidar is None:
            return np.zeros(len(points), np.uint8)
        if mask is None or mask.ndim != 2:
            raise ValueError(f"{path}: expected a gray PNG with a class per pixel: write it again")
        size = open_image(self.drive.images[stem]).size
        if mask.shape != size:
            raise ValueError(
                f"{path}: expected the {size[1]}×{size[0]} pixels of the image, found "
                f"{mask.shape[1]}×{mask.shape[0]}: write it again in the size of the image"
            )
        seen, column, row = first_hits(points[:, :3], self.drive.pixel_from_lidar, mask.shape)
        near = np.linalg.norm(points[seen, :3], axis=1) <= self._options.mask_range_m
        label = np.zeros(len(points), np.uint8)
        of_mask = self._mapping.of_masks(mask[row[near], column[near]], path)
        label[seen[near]] = np.where(of_mask == DROP, UNKNOWN, of_mask)
        return label


def sources_of(root: Path) -> tuple[str, ...]:
    """Return the sources of classes that a recording has, the best first."""
    files = {
        "point labels": (POINT_LABELS,),
        "boxes": BOXES,
        "masks": (MASKS,),
    }
    return tuple(
        source for source, names in files.items() if any((root / name).exists() for name in names)
    )


def is_outside_vehicle(
    points: Float32[np.ndarray, "P 4"], options: LabelOptions
) -> Bool[np.ndarray, " P"]:
    """Return the points within the range and not on your own vehicle."""
    range_m = np.linalg.norm(points[:, :3], axis=1)
    in_range = (range_m >= options.min_range_m) & (range_m <= options.range_m)
    return in_range & ~in_box(points, options.vehicle_m)
