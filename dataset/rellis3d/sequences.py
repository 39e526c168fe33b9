"""Frames of RELLIS-3D: which exist, their files, their calibration and their poses."""

import logging
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from dataset.rellis3d import files, layout
from dataset.rellis3d.layout import Frame
from utils.shortlist import shortlist

_FASTEST_MPS = 20.0
"""The vehicle drives at most 5 m/s; larger steps are errors of the poses."""

logger = logging.getLogger(__name__)


class Sequence:
    """The files of one sequence.

    Args:
        root: Its folder.

    Attributes:
        root: As given.
        name: Name of the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, root.name

    @cached_property
    def clouds(self) -> frozenset[int]:
        """Numbers of the frames with an Ouster cloud."""
        return self._numbers(layout.CLOUDS, ".bin")

    @cached_property
    def point_labels(self) -> frozenset[int]:
        """Numbers of the frames with point labels."""
        return self._numbers(layout.POINT_LABELS, ".label")

    @cached_property
    def images(self) -> dict[int, Path]:
        """Image of each frame; other files of the folder are ignored."""
        return self._images(layout.IMAGES, (".jpg", ".jpeg", ".png"))

    @cached_property
    def image_labels(self) -> dict[int, Path]:
        """Labels of each labeled image."""
        return self._images(layout.IMAGE_LABELS, (".png",))

    @cached_property
    def poses(self) -> files.Poses:
        """Poses of the LiDAR; warns of rows that are none."""
        path = self.root / layout.POSES
        poses = files.read_poses(path)
        unknown = np.flatnonzero(~poses.is_known)
        if len(unknown):
            logger.warning(
                "%s: %d of %d rows are no pose, such as row %d; their frames are used without one",
                path, len(unknown), len(poses.is_known), unknown[0],
            )  # fmt: skip
        return poses

    @cached_property
    def jumps(self) -> frozenset[int]:
        """Numbers of the frames whose pose does not continue that of the frame before."""
        poses = self.poses
        step_m = np.linalg.norm(np.diff(poses.world_from_lidar[:, :3, 3], axis=0), axis=1)
        is_jump = ~(poses.is_known[1:] & poses.is_known[:-1])
        is_far = ~is_jump & (step_m > _FASTEST_MPS * layout.PERIOD_S)
        if is_far.any():
            first = int(np.flatnonzero(is_far)[0]) + 1
            logger.warning(
                "%s: %d poses are more than %g m from the one before, such as that of frame %d; "
                "point clouds are not accumulated across them",
                self.root / layout.POSES, is_far.sum(), _FASTEST_MPS * layout.PERIOD_S, first,
            )  # fmt: skip
        return frozenset((np.flatnonzero(is_jump | is_far) + 1).tolist())

    @cached_property
    def pixel_from_lidar(self) -> Float64[np.ndarray, "4 4"]:
        """Projection from the network's frame to the pixels of a recorded image."""
        pixel_from_cam = files.read_camera_info(self.root / layout.CAMERA_INFO)
        return files.pixel_from_lidar(
            pixel_from_cam, files.read_camera_pose(self.root / layout.TRANSFORMS)
        )

    def cloud_path(self, number: int) -> Path:
        """Return the file of a cloud."""
        return self.root / layout.CLOUDS / f"{number:06d}.bin"

    def point_label_path(self, number: int) -> Path:
        """Return the file of the point labels of a cloud."""
        return self.root / layout.POINT_LABELS / f"{number:06d}.label"

    def image_path(self, number: int) -> Path:
        """Return the image of a frame, or a path for messages that it is missing."""
        return self.images.get(number, self.root / layout.IMAGES / f"frame{number:06d}-*.jpg")

    def time_s(self, number: int) -> float:
        """Return the time of a frame [s], from the name of its image."""
        path = self.images.get(number)
        parsed = None if path is None else layout.parse_image(path.stem)
        return number * layout.PERIOD_S if parsed is None else parsed[1]

    def has_times(self, numbers: Iterable[int]) -> bool:
        """Return whether the names of images state the time of all frames."""
        return all(number in self.images for number in numbers)

    def has_pose(self, number: int) -> bool:
        """Return whether the pose of a frame is known."""
        known = self.poses.is_known
        return number < len(known) and bool(known[number])

    def world_from_lidar(self, number: int) -> Float64[np.ndarray, "4 4"]:
        """Return the pose of the LiDAR, in the frame of the network.

        Raises:
            ValueError: If it is unknown.
        """
        if not self.has_pose(number):
            raise ValueError(
                f"{self.root / layout.POSES}: expected a pose in row {number}, found none of "
                f"{len(self.poses.is_known)} rows. Leave the frame out ('stems'), or read no poses"
            )
        pose: Float64[np.ndarray, "4 4"] = self.poses.world_from_lidar[number]
        return pose

    def sweeps(self, number: int, count: int) -> list[int]:
        """Return a frame and those before it, at most ``count``, latest first.

        It ends at a missing cloud, or at a pose that is unknown or does not continue the others.
        """
        found = [number]
        while len(found) < count and self.has_pose(found[-1]):
            before = found[-1] - 1
            if before not in self.clouds or found[-1] in self.jumps:
                break
            found.append(before)
        return found

    def _numbers(self, folder: str, suffix: str) -> frozenset[int]:
        path = self.root / folder
        if not path.is_dir():
            return frozenset()
        names = (file.name for file in path.iterdir() if file.name.endswith(suffix))
        stems = (name.removesuffix(suffix) for name in names)
        return frozenset(int(stem) for stem in stems if len(stem) == 6 and stem.isdecimal())

    def _images(self, folder: str, suffixes: Collection[str]) -> dict[int, Path]:
        path = self.root / folder
        found: dict[int, Path] = {}
        for file in sorted(path.iterdir()) if path.is_dir() else ():
            parsed = layout.parse_image(file.stem)
            if parsed is None or file.suffix.lower() not in suffixes:
                continue
            if parsed[0] in found:
                raise ValueError(
                    f"{path} has two images of frame {parsed[0]}: {found[parsed[0]].name} and "
                    f"{file.name}: keep one"
                )
            found[parsed[0]] = file
        return found


def is_rellis3d(root: Path) -> bool:
    """Return whether a folder has a sequence of RELLIS-3D."""
    return any((root / name / layout.CLOUDS).is_dir() for name in layout.SEQUENCES)


def find_sequences(root: str | Path) -> dict[str, Sequence]:
    """Return the sequences on disk by name.

    Raises:
        FileNotFoundError: If there is none.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no data set at '{root}': set data_root to its folder")
    found = {name: Sequence(folder / name) for name in layout.SEQUENCES if (folder / name).is_dir()}
    if not found:
        below = sorted(path.parent for path in folder.glob(f"*/{layout.SEQUENCES[0]}"))
        names = sorted(path.name for path in folder.iterdir())
        hint = f"set data_root to '{below[0]}'" if below else "set data_root to their parent folder"
        raise FileNotFoundError(
            f"'{root}' has none of the folders {', '.join(layout.SEQUENCES)} of RELLIS-3D, it has "
            f"{shortlist(names, most=5)}: {hint}"
        )
    return found


def all_frames(sequences: Iterable[Sequence]) -> list[Frame]:
    """Return the frames that have a cloud or an image, in order."""
    return [
        Frame(sequence.name, number)
        for sequence in sequences
        for number in sorted(sequence.clouds | sequence.images.keys())
    ]
