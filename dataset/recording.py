"""Your own recording: a folder of images, a folder of point clouds, and a calibration file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch.utils.data import Dataset

from dataset import formats
from dataset.arrays import Images, InputOptions, sample_from_arrays
from dataset.clouds import SUFFIXES as CLOUD_SUFFIXES
from dataset.inventory import require_file, time_order
from dataset.layout import IMAGE_SUFFIXES
from dataset.lost_sensors import has_content, with_losses
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
        allow_missing: Whether a frame may lack its images or its cloud: missing, empty or blank
            ones are None.

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
        allow_missing: bool = False,
    ) -> None:
        if images is None and clouds is None:
            raise ValueError("a recording needs a folder of images, of clouds, or both")
        if images is not None and calibration is None:
            raise ValueError("images need a calibration, which gives the pose of the camera")
        self._options, self._allow_missing = options, allow_missing
        self._fields = [
            field for field, side in (("images", images), ("points", clouds)) if side is not None
        ]
        self._rig = Rig({}, np.eye(4)) if calibration is None else read_rig(calibration)
        self._images = [] if images is None else self._find_images(images, calibration)
        cloud_files = {} if clouds is None else files_by_stem(clouds, CLOUD_SUFFIXES)
        sides = [*self._images, *([cloud_files] if cloud_files else [])]
        names = [str(folder) for folder in (images, clouds) if folder is not None]
        self.stems = _matched_stems(sides, " and ".join(names), stems, allow_missing=allow_missing)
        self.scenes = [""] * len(self.stems)
        self._images = [self._present(camera) for camera in self._images]
        self._sizes = [size_of_all(list(camera.values())) for camera in self._images]
        self._cloud_files, self._clouds = self._present(cloud_files), None
        if self._cloud_files:
            self._clouds = RecordedClouds(self._cloud_files, self._rig, options.lidar_height_m)
            self._rig = self._clouds.rig
        else:
            self._rig = placed(self._rig, [], options.lidar_height_m, f"'{images}'")

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.stems)

    def __getitem__(self, index: int) -> Sample:
        """Read one frame.

        Raises:
            ValueError: If a file is invalid, or the frame has lost all of its sensors.
        """
        stem = self.stems[index]
        images = self.open_images(stem)
        matrices = None if images is None else list(self._rig.pixel_from_lidar.values())
        sample = sample_from_arrays(
            stem,
            self._options,
            images=images,
            pixel_from_lidar=matrices,
            points=self.read_cloud(stem),
        )
        return with_losses(sample, self._fields, drop=self._allow_missing)

    @property
    def rig(self) -> Rig:
        """The calibration, for the frame of the network."""
        return self._rig

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """Height and width of the images of each camera; 0 if unknown."""
        return list(self._sizes)

    def has_images(self, stem: str) -> bool:
        """Return whether a frame has an image of each camera."""
        return bool(self._images) and all(stem in camera for camera in self._images)

    def has_cloud(self, stem: str) -> bool:
        """Return whether a frame has a cloud."""
        return stem in self._cloud_files

    def read_cloud(self, stem: str) -> Float[np.ndarray, "P 4"] | None:
        """Read the points of a frame; None if it has no cloud.

        Returns:
            x, y, z [m] in the frame of the network, and the intensity, 0–1.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If it is invalid.
        """
        if self._clouds is None or not self.has_cloud(stem):
            return None
        return self._clouds.read(stem)

    def open_images(self, stem: str) -> Images | None:
        """Read the image of each camera, black where only some are lost; None if there is none.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If it is invalid.
        """
        paths = [camera.get(stem) for camera in self._images]
        if not any(paths):
            return None
        return [
            np.zeros((*size, 3), np.uint8)
            if path is None
            else formats.open_image(path, image_max=self._rig.image_max)
            for path, size in zip(paths, self._sizes, strict=True)
        ]

    def _present(self, files: Mapping[str, Path]) -> dict[str, Path]:
        """Return the files of the frames, without those that are lost."""
        present = {stem: files[stem] for stem in self.stems if stem in files}
        if not self._allow_missing:
            return present
        return {stem: path for stem, path in present.items() if has_content(path)}

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


def size_of_all(paths: Sequence[Path]) -> tuple[int, int]:
    """Return the height and width of the images of a camera, from their headers; 0 if unknown.

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
            f"size, found {found}: restore the recorded size, or leave the "
            "others out (predict.py --stems)"
        )
    width, height = next(iter(first), (0, 0))
    return height, width


def _matched_stems(
    sides: Sequence[dict[str, Path]],
    folders: str,
    stems: Sequence[str] | None,
    *,
    allow_missing: bool,
) -> list[str]:
    """Return the frames, checking that each has a file in every folder, or in one."""
    known = set().union(*sides)
    wanted = known if stems is None else set(stems)
    unknown = sorted(wanted - known)
    if unknown:
        raise ValueError(
            f"{folders} have no frames {_shortlist(unknown)}; they have {_shortlist(known)}"
        )
    problems = []
    for side in () if allow_missing else sides:
        missing = sorted(wanted - side.keys(), key=time_order)
        if missing:
            folder = next(iter(side.values())).parent
            problems.append(
                f"{folder} lacks {len(missing)} of {len(wanted)}: {_shortlist(missing)}"
            )
    if problems:
        raise FileNotFoundError(
            f"frames without a counterpart: {'; '.join(problems)}. The files of a frame must have "
            "the same name up to the suffix: rename them, move them elsewhere, list the frames "
            "to predict (--stems), or predict from the sensor that is left (--allow-missing)"
        )
    return sorted(wanted, key=time_order) if stems is None else list(dict.fromkeys(stems))


def _shortlist(names: Sequence[str] | set[str]) -> str:
    ordered: list[str] = sorted(names, key=time_order)
    return shortlist(ordered, most=5)
