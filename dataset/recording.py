"""Your own recording: a folder of images, a folder of point clouds, and a calibration file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from dataset import formats
from dataset.arrays import InputOptions, sample_from_arrays
from dataset.clouds import SUFFIXES as CLOUD_SUFFIXES
from dataset.inventory import require_file, time_order
from dataset.layout import IMAGE_SUFFIXES
from dataset.recorded_clouds import RecordedClouds, placed
from dataset.rig import Rig, read_rig
from dataset.sample import Sample
from utils.shortlist import shortlist


class Recording(Dataset[Sample]):
    """Frames whose files share a stem.

    Args:
        options: How recordings are preprocessed for the network.
        images: Folder of images ``STEM.jpg``, with one of ``layout.IMAGE_SUFFIXES`` in any case;
            with several cameras, it has a subfolder named after each camera. None: no images.
        clouds: Folder of ``STEM.bin`` or another of ``dataset.clouds.SUFFIXES``; None: no clouds.
        calibration: File as in ``dataset/rig.py``; required for images. None: the clouds are in
            the network's frame.
        stems: Read only these frames, in this order.

    Attributes:
        stems: Stem of each frame, in time order.
        scenes: "" for each frame: a recording has no scenes.

    Raises:
        FileNotFoundError: If a folder or a file of a frame is missing; counts and lists them.
        ValueError: If there is nothing to read, a file has an unknown format, a stem has several
            files, or the cameras of images and calibration differ.
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
            raise ValueError("images need a calibration, which gives the pose of the camera")
        self._options = options
        self._rig = Rig({}, np.eye(4)) if calibration is None else read_rig(calibration)
        self._images = [] if images is None else self._find_images(images, calibration)
        cloud_files = {} if clouds is None else files_by_stem(clouds, CLOUD_SUFFIXES)
        sides = [*self._images, *([cloud_files] if cloud_files else [])]
        names = [str(folder) for folder in (images, clouds) if folder is not None]
        self.stems = _matched_stems(sides, " and ".join(names), stems)
        self.scenes = [""] * len(self.stems)
        for camera in self._images:
            _check_sizes([camera[stem] for stem in self.stems])
        self._clouds = None
        if cloud_files:
            used = {stem: cloud_files[stem] for stem in self.stems}
            self._clouds = RecordedClouds(used, self._rig, options.lidar_height_m)
            self._rig = self._clouds.rig
        else:
            self._rig = placed(self._rig, [], options.lidar_height_m, f"'{images}'")

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.stems)

    def __getitem__(self, index: int) -> Sample:
        """Read one frame.

        Raises:
            ValueError: If a file is invalid.
        """
        stem = self.stems[index]
        images = matrices = points = None
        if self._images:
            images = [
                formats.open_image(camera[stem], image_max=self._rig.image_max)
                for camera in self._images
            ]
            matrices = list(self._rig.pixel_from_lidar.values())
        if self._clouds is not None:
            points = self._clouds.read(stem)
        return sample_from_arrays(
            stem, self._options, images=images, pixel_from_lidar=matrices, points=points
        )

    def _find_images(self, folder: Path, calibration: Path | None) -> list[dict[str, Path]]:
        """Find the images of each camera in the calibration."""
        cameras = list(self._rig.pixel_from_lidar)
        if not cameras:
            raise ValueError(f"{calibration} has no camera, but images need one")
        if len(cameras) == 1:
            return [files_by_stem(folder, IMAGE_SUFFIXES)]
        if not folder.is_dir():
            raise FileNotFoundError(f"folder {folder} not found")
        found = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if found != sorted(cameras):
            raise ValueError(
                f"{folder}: expected one subfolder for each camera of {calibration}, "
                f"{sorted(cameras)}, and nothing else; found {_shortlist(found)}"
            )
        return [files_by_stem(folder / camera, IMAGE_SUFFIXES) for camera in cameras]


def files_by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return the files of a folder by stem; hidden files are ignored.

    Args:
        folder: The folder.
        suffixes: Allowed suffixes; one that ends with another must come before it.

    Raises:
        FileNotFoundError: If the folder is missing or empty.
        ValueError: If it holds anything else, such as a named pipe or a broken link, or two files
            with the same stem.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} not found")
    found: dict[str, Path] = {}
    unknown, repeated = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        suffix = next((end for end in suffixes if path.name.lower().endswith(end)), None)
        if suffix is None or path.is_dir():
            unknown.append(path.name)
            continue
        stem = require_file(path).name[: -len(suffix)]
        if stem in found:
            repeated.append(stem)
        found[stem] = path
    if unknown:
        raise ValueError(
            f"{folder}: expected only files *{', *'.join(suffixes)}, found {_shortlist(unknown)}: "
            "convert them, or move them elsewhere"
        )
    if repeated:
        raise ValueError(
            f"{folder} has several files for the frames {_shortlist(repeated)}: keep one"
        )
    if not found:
        raise FileNotFoundError(f"{folder} has no file *{', *'.join(suffixes)}")
    return found


def _check_sizes(paths: Sequence[Path]) -> None:
    """Check that the images of a camera have one size, from their headers.

    Raises:
        ValueError: If they differ.
    """
    first: dict[tuple[int, int], Path] = {}
    for path in paths:
        try:
            with Image.open(path) as header:
                first.setdefault(header.size, path)
        except (OSError, Image.DecompressionBombError):
            continue  # The reader says what is wrong with this file.
    if len(first) > 1:
        found = ", ".join(
            f"{path.name} {width}×{height}" for (width, height), path in first.items()
        )
        raise ValueError(
            f"{paths[0].parent}: expected images of one size, because the calibration is for one "
            f"size, found {found}: restore the recorded size, or select frames with --stems"
        )


def _matched_stems(
    sides: Sequence[dict[str, Path]], folders: str, stems: Sequence[str] | None
) -> list[str]:
    """Return the frames, checking that each has a file in every folder."""
    known = set().union(*sides)
    wanted = known if stems is None else set(stems)
    unknown = sorted(wanted - known)
    if unknown:
        raise ValueError(
            f"{folders} have no frames {_shortlist(unknown)}; they have {_shortlist(known)}"
        )
    problems = []
    for side in sides:
        missing = sorted(wanted - side.keys(), key=time_order)
        if missing:
            folder = next(iter(side.values())).parent
            problems.append(
                f"{folder} lacks {len(missing)} of {len(wanted)}: {_shortlist(missing)}"
            )
    if problems:
        raise FileNotFoundError(
            f"frames without a counterpart: {'; '.join(problems)}. The files of a frame must have "
            "the same name up to the suffix: rename them, move them elsewhere, or list the frames "
            "to predict (--stems)"
        )
    return sorted(wanted, key=time_order) if stems is None else list(dict.fromkeys(stems))


def _shortlist(names: Sequence[str] | set[str]) -> str:
    ordered: list[str] = sorted(names, key=time_order)
    return shortlist(ordered, most=5)
