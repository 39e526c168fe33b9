"""Which frames of RELLIS-3D have the files of the fields to read."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from dataset.reading import SUPERVISING
from dataset.rellis3d import labels, layout
from dataset.rellis3d.layout import Frame
from dataset.rellis3d.sequences import Sequence as Drive
from utils.shortlist import shortlist

POSED = frozenset({"world_from_lidar", "neighbors", *SUPERVISING})
"""Fields that need the pose of a frame."""
_FROM_CLOUDS = {"points", "depth_m", "neighbors", "lidar_rays", "voxel_classes"}

logger = logging.getLogger(__name__)


class FrameFiles:
    """The files of frames.

    Args:
        root: The data set.
        sequences: Its sequences by name.
        labels_root: Folder of the label files.
        allow_missing: Whether frames may lack their image or their cloud.

    Attributes:
        labels_root: As given.
    """

    def __init__(
        self,
        root: Path,
        sequences: Mapping[str, Drive],
        labels_root: Path,
        *,
        allow_missing: bool,
    ) -> None:
        self.labels_root = labels_root
        self._root, self._sequences = root, sequences
        self._allow_missing = allow_missing

    @cached_property
    def label_paths(self) -> dict[Frame, Path]:
        """The label files by frame.

        Raises:
            FileNotFoundError: If there is no folder of labels.
            ValueError: If a file in it is not of a frame.
        """
        frame_of_image = {
            path.stem: Frame(sequence.name, number)
            for sequence in self._sequences.values()
            for number, path in sequence.images.items()
        }
        return labels.find_label_files(self.labels_root, frame_of_image)

    def complete(
        self,
        frames: list[Frame],
        fields: set[str],
        stems: Sequence[str] | None,
        *,
        is_tolerant: bool,
    ) -> list[Frame]:
        """Return the frames that have the files of some fields.

        Args:
            frames: The frames.
            fields: Fields of a Sample.
            stems: The frames that the user asked for, which must be complete.
            is_tolerant: Whether to leave out the others with a message, not to fail.

        Raises:
            FileNotFoundError: If frames are incomplete that must not be, or none is complete.
        """
        missing = self.missing(frames, fields) if fields else {}
        if not missing:
            return frames
        left = [frame for frame in frames if frame not in missing]
        lacking = sorted(set(missing.values()))
        what = (
            f"'{self._root}': {len(missing)} of {len(frames)} frames lack the files of "
            f"{sorted(fields)}, such as {shortlist(lacking)}; {labels.missing_by_sequence(missing)}"
        )
        if not left or not is_tolerant or stems is not None:
            raise FileNotFoundError(
                f"{what}. Unpack them (docs/prepare_data.md), or select frames with 'stems'"
            )
        logger.warning("%s. They are left out", what)
        return left

    def missing(self, frames: Iterable[Frame], fields: Iterable[str]) -> dict[Frame, str]:
        """Return the frames that lack a file of some fields, and the first one that is missing."""
        wanted, found = set(fields), {}
        needs_pose = bool(wanted & POSED)
        files_of = self.label_paths if "occupancy" in wanted else {}
        for frame in frames:
            sequence, number = self._sequences[frame.sequence], frame.number
            has_cloud, has_image = number in sequence.clouds, number in sequence.images
            if self._allow_missing and wanted & {"images", "points"}:
                has_cloud = has_image = has_cloud or has_image
            if wanted & _FROM_CLOUDS and not has_cloud:
                found[frame] = str(sequence.cloud_path(number))
            elif wanted & {"images", "video"} and not has_image:
                found[frame] = str(sequence.image_path(number))
            elif "occupancy" in wanted and frame not in files_of:
                found[frame] = f"{self.labels_root}/**/{frame.sequence}/**/{number:06d}.npy"
            elif needs_pose and not sequence.has_pose(number):
                found[frame] = f"row {number} of {sequence.root / layout.POSES}"
        return found
