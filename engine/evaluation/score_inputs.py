"""Readers for scoring saved predictions: depth maps, masks of scored voxels, ray origins."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dataset.formats import read_depth_m
from dataset.occupancy_files import SUFFIX, read_array

IMAGE_SUFFIX = ".png"
DEPTH_SUFFIXES = (SUFFIX, IMAGE_SUFFIX)


def depth_path(folder: Path, stem: str) -> Path:
    """Return the path of the depth map of a frame.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If there are two.
    """
    paths = [folder / f"{stem}{suffix}" for suffix in DEPTH_SUFFIXES]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise FileNotFoundError(f"no depth map of frame {stem}: expected {paths[0]} or {paths[1]}")
    if len(found) > 1:
        raise ValueError(f"two depth maps of frame {stem}: remove {found[0]} or {found[1]}")
    return found[0]


def read_depth_map(path: Path) -> Float[Tensor, "H W"]:
    """Read a depth map [m]: an array of floats, or a uint16 image of meters × 256.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If the file is corrupt or not a depth map.
    """
    if path.suffix == IMAGE_SUFFIX:
        return torch.from_numpy(read_depth_m(path))
    array = read_array(path)
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ValueError(
            f"{path}: expected a floating-point depth map (H, W) in meters, got {array.dtype} of "
            f"shape {array.shape}; store integers, meters × 256, as a uint16 {IMAGE_SUFFIX}"
        )
    return torch.from_numpy(array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32))


def read_mask(path: Path, shape: tuple[int, ...]) -> Bool[np.ndarray, "X Y Z"]:
    """Read a mask of scored voxels: bool, or integers 0 and 1.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If the file is corrupt, not a mask, or has another shape.
    """
    if not path.is_file():
        raise FileNotFoundError(f"mask {path} not found; every scored frame needs one")
    array = read_array(path)
    is_mask = array.dtype.kind in "iub" and bool(((array == 0) | (array == 1)).all())
    if array.shape != shape or not is_mask:
        maximum = "" if is_mask or array.dtype.kind not in "iu" else f", up to {array.max()}"
        raise ValueError(
            f"{path}: expected a mask of shape {shape}, bool or 0 and 1, got "
            f"{array.dtype}{maximum} of shape {array.shape}"
        )
    return array.astype(bool)


def read_origins(path: Path) -> Float[Tensor, "M 3"]:
    """Read ray origins [m] in single precision if stored so, otherwise in double.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If the file is corrupt, or its shape or type is wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(f"ray origins {path} not found; every scored frame needs them")
    array = read_array(path)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: expected ray origins (M, 3) of x, y, z in meters, got "
            f"{array.dtype} of shape {array.shape}"
        )
    return torch.from_numpy(array.astype(np.float32 if array.dtype == np.float32 else np.float64))
