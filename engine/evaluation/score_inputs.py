"""What is scored beside label grids: depth maps, masks of voxels that count, ray origins."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dataset.formats import read_depth_m
from dataset.occupancy_files import SUFFIX, read_array

PICTURE_SUFFIX = ".png"
DEPTH_SUFFIXES = (SUFFIX, PICTURE_SUFFIX)


def depth_path(folder: Path, stem: str) -> Path:
    """The depth map of a frame.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If there are two.
    """
    paths = [folder / f"{stem}{suffix}" for suffix in DEPTH_SUFFIXES]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise FileNotFoundError(f"no depth map of frame {stem}: neither {paths[0]} nor {paths[1]}")
    if len(found) > 1:
        raise ValueError(f"two depth maps of frame {stem}, {found[0]} and {found[1]}: remove one")
    return found[0]


def read_depth_map(path: Path) -> Float[Tensor, "H W"]:
    """Read a depth map [m]: floats of an array, or metres × 256 of a uint16 picture.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is broken, or holds something else.
    """
    if path.suffix == PICTURE_SUFFIX:
        return torch.from_numpy(read_depth_m(path))
    array = read_array(path)
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ValueError(
            f"{path}: expected a depth map (H, W) of floating point metres, got {array.dtype} of "
            f"shape {array.shape}; metres × 256 as integers belong in a uint16 {PICTURE_SUFFIX}"
        )
    return torch.from_numpy(array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32))


def read_mask(path: Path, shape: tuple[int, ...]) -> Bool[np.ndarray, "X Y Z"]:
    """Read which voxels of a grid count: bool, or integers 0 and 1.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is broken, holds something else, or is of another shape.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no mask {path}: each frame that is scored needs one")
    array = read_array(path)
    is_mask = array.dtype.kind in "iub" and bool(((array == 0) | (array == 1)).all())
    if array.shape != shape or not is_mask:
        held = "" if is_mask or array.dtype.kind not in "iu" else f", up to {array.max()}"
        raise ValueError(
            f"{path}: expected a mask of shape {shape}, of bool or of 0 and 1, got "
            f"{array.dtype}{held} of shape {array.shape}"
        )
    return array.astype(bool)


def read_origins(path: Path) -> Float[Tensor, "M 3"]:
    """Read ray origins [m], in the precision that they are stored in.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is broken, or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no ray origins {path}: each frame that is scored needs some")
    array = read_array(path)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: expected ray origins (M, 3), a row x, y, z in metres for each, got "
            f"{array.dtype} of shape {array.shape}"
        )
    return torch.from_numpy(array.astype(np.float32 if array.dtype == np.float32 else np.float64))
