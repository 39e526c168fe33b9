"""A recording of one's own: a folder of images, one of clouds, and one calibration file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from dataset import formats, transforms
from dataset.arrays import InputOptions, sample_of
from dataset.clouds import SUFFIXES as CLOUD_SUFFIXES
from dataset.clouds import read_any_cloud
from dataset.inventory import time_order
from dataset.rig import Rig, read_rig
from dataset.sample import Sample
from utils.shortlist import shortlist

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class Recording(Dataset[Sample]):
    """Frames whose files have the same stem; of a sensor that is not asked for nothing is read.

    Args:
        options: How the network reads recordings.
        images: Folder of ``STEM.jpg`` or ``.png``; with several cameras, of a folder for each that
            has the camera's name. None: without images.
        clouds: Folder of ``STEM.bin`` or another of ``dataset.clouds.SUFFIXES``; None: without.
        calibration: The file of ``dataset/rig.py``; images need it. None: the clouds lie in the
            network's frame.
        stems: Only these frames, in this order, whatever else the folders hold.

    Attributes:
        stems: Stem of each frame, in the order of time.
        scenes: A recording has no scenes: "" for each.

    Raises:
        FileNotFoundError: If a folder or a file of a frame is missing; counts and names them.
        ValueError: If there is nothing to read, a file is of an unknown kind or there twice, or
            cameras of images and calibration differ.
    """

    def __init__(
        self,
        options: InputOptions,
        *,
        images: Path | None = None,
        clouds: Path | None = None,
        calibration: Path | None = None,
        stems: Sequence[str] | None = None,
    ) -> None:
        if images is None and clouds is None:
            raise ValueError("a recording needs a folder of images, of clouds, or both")
        if images is not None and calibration is None:
            raise ValueError("images need a calibration, which says where the camera looks")
        self._options = options
        self._rig = Rig({}, np.eye(4)) if calibration is None else read_rig(calibration)
        self._images = [] if images is None else self._find_images(images, calibration)
        self._clouds = None if clouds is None else files_by_stem(clouds, CLOUD_SUFFIXES)
        sides = [*self._images, *([] if self._clouds is None else [self._clouds])]
        names = [str(folder) for folder in (images, clouds) if folder is not None]
        self.stems = _paired(sides, " and ".join(names), stems)
        self.scenes = [""] * len(self.stems)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.stems)

    def __getitem__(self, index: int) -> Sample:
        """Read one frame.

        Raises:
            ValueError: If a file is not as its format says.
        """
        stem = self.stems[index]
        images = matrices = points = None
        if self._images:
            images = [formats.read_image(camera[stem]) for camera in self._images]
            matrices = list(self._rig.pixel_from_lidar.values())
        if self._clouds is not None:
            points = read_any_cloud(self._clouds[stem])
            if not np.array_equal(self._rig.network_from_lidar, np.eye(4)):
                points = transforms.transform_cloud(self._rig.network_from_lidar, points)
        return sample_of(
            stem, self._options, images=images, pixel_from_lidar=matrices, points=points
        )

    def _find_images(self, folder: Path, calibration: Path | None) -> list[dict[str, Path]]:
        """The images of each camera of the calibration."""
        cameras = list(self._rig.pixel_from_lidar)
        if not cameras:
            raise ValueError(f"{calibration} has no camera, which images need")
        if len(cameras) == 1:
            return [files_by_stem(folder, IMAGE_SUFFIXES)]
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        found = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if found != sorted(cameras):
            raise ValueError(
                f"{folder}: expected a folder of images for each camera of {calibration}, "
                f"{sorted(cameras)}, and nothing else; found {_some(found)}"
            )
        return [files_by_stem(folder / camera, IMAGE_SUFFIXES) for camera in cameras]


def files_by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The files of a folder by their names without the ending; hidden ones are not looked at.

    Args:
        folder: The folder.
        suffixes: The endings that there may be, a longer one before a shorter one that it ends in.

    Raises:
        FileNotFoundError: If the folder is missing or empty.
        ValueError: If it holds something else, or two files of one stem.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found: dict[str, Path] = {}
    unknown, twice = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        suffix = next((end for end in suffixes if path.name.lower().endswith(end)), None)
        if suffix is None or path.is_dir():
            unknown.append(path.name)
            continue
        stem = path.name[: -len(suffix)]
        if stem in found:
            twice.append(stem)
        found[stem] = path
    if unknown:
        raise ValueError(
            f"{folder}: expected files *{', *'.join(suffixes)} alone, found {_some(unknown)}: "
            "convert them, or move them elsewhere"
        )
    if twice:
        raise ValueError(f"{folder} holds several files of the frames {_some(twice)}: keep one")
    if not found:
        raise FileNotFoundError(f"{folder} holds no file *{', *'.join(suffixes)}")
    return found


def _paired(
    sides: Sequence[dict[str, Path]], folders: str, stems: Sequence[str] | None
) -> list[str]:
    """The frames, each of which has a file on every side."""
    every = set().union(*sides)
    wanted = every if stems is None else set(stems)
    unknown = sorted(wanted - every)
    if unknown:
        raise ValueError(f"{folders} have no frames {_some(unknown)}; they have {_some(every)}")
    lacking = []
    for side in sides:
        missing = sorted(wanted - side.keys(), key=time_order)
        if missing:
            folder = next(iter(side.values())).parent
            lacking.append(f"{folder} lacks {len(missing)} of {len(wanted)}: {_some(missing)}")
    if lacking:
        raise FileNotFoundError(
            f"frames without a partner: {'; '.join(lacking)}. The files of a frame have the same "
            "name but for the ending: rename them, move them away, or name the frames to predict "
            "(--stems)"
        )
    return sorted(wanted, key=time_order) if stems is None else list(dict.fromkeys(stems))


def _some(names: Sequence[str] | set[str]) -> str:
    ordered: list[str] = sorted(names, key=time_order)
    return shortlist(ordered, most=5)
