"""What goes into an exported network and comes out, and how its file says so.

The file of each format holds the same text entries, so that a reader in any language finds the
shapes, the grid and the classes. Lists are separated by spaces.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from mmengine.config import Config

from dataset.elevation import ElevationGrid
from engine import __version__
from engine.build.build import build_grid, has_elevation, sensors_of
from engine.checkpoint.weights import TrainedWeights
from utils.labels import label_set

FORMAT = 1
"""Of the entries; it grows when a reader of before would misread them."""
EXTRAS = ("probabilities", "elevation")
"""Outputs on request, beside the occupancy."""
DROPPED = "dropped_voxels"
"""Output of a package with limited room: occupied voxels that had none."""
INPUT_DTYPES = {
    "images": torch.uint8,
    "pixel_from_lidar": torch.float32,
    "points": torch.float32,
    "num_points": torch.int64,
}


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of an exported network. All shapes are fixed.

    Attributes:
        sensors: What it predicts from: "both", "camera" or "lidar".
        image_size: Height and width of the recorded images; None without a camera.
        cameras: Number of cameras.
        max_points: Rows of the point cloud, those of padding included.
        point_columns: 4, or 5 with the age of points.
        room: Occupied voxels that there is room for, at each resolution of the LiDAR encoder.
        is_limited: Whether a cloud of ``max_points`` points could occupy more than that.
        extras: Some of ``EXTRAS``.
    """

    sensors: str
    image_size: tuple[int, int] | None = None
    cameras: int = 0
    max_points: int = 0
    point_columns: int = 4
    room: tuple[int, ...] = ()
    is_limited: bool = False
    extras: tuple[str, ...] = ()

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input, in order."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.image_size is not None:
            shapes["images"] = (self.cameras, *self.image_size, 3)
            shapes["pixel_from_lidar"] = (self.cameras, 4, 4)
        if self.max_points:
            shapes["points"] = (self.max_points, self.point_columns)
            shapes["num_points"] = ()
        return shapes

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return ("occupancy", *self.extras, *((DROPPED,) if self.is_limited else ()))


def describe(
    signature: Signature,
    cfg: Config,
    weights: TrainedWeights,
    *,
    device: str,
    precision: str,
) -> dict[str, str]:
    """Return the text entries of a file.

    Args:
        signature: Inputs and outputs.
        cfg: The config of the network.
        weights: Its weights.
        device: "cpu" or "cuda".
        precision: "fp32", "bf16" or "fp16".
    """
    grid, labels = build_grid(cfg), label_set(cfg.labels)
    entries = {
        "format": str(FORMAT),
        "unsocc": __version__,
        "torch": str(torch.__version__),
        "weights": weights.path.name,
        "device": device,
        "precision": precision,
        "sensors": sensors_of(cfg),
        "inputs": " ".join(signature.inputs),
        "outputs": " ".join(signature.outputs),
        "classes": " ".join(labels.class_names),
        "palette": _numbers(value for color in labels.colors for value in color),
        "shape": _numbers(grid.shape),
        "origin_m": _numbers(grid.origin_m),
        "voxel_m": f"{grid.voxel_m:g}",
    }
    for name, shape in signature.inputs.items():
        entries[f"{name}.shape"] = _numbers(shape)
        entries[f"{name}.dtype"] = str(INPUT_DTYPES[name]).removeprefix("torch.")
    height_m = cfg.dataset.get("lidar_height_m")
    if height_m is not None:
        entries["lidar_height_m"] = f"{height_m:g}"
    if "elevation" in signature.extras:
        entries |= _elevation_entries(cfg)
    return entries


def check_extras(cfg: Config, extras: Sequence[str]) -> None:
    """Reject outputs that a network does not have.

    Raises:
        ValueError: If elevation is requested from a network without an elevation head.
    """
    if "elevation" in extras and not has_elevation(cfg):
        raise ValueError(
            "--outputs elevation needs a network with an elevation head, such as that of "
            "config/minesim/minesim_elevation.py: leave it out"
        )


def _elevation_entries(cfg: Config) -> dict[str, str]:
    cells = ElevationGrid.from_config(cfg.model.parts.elevation.cells)
    return {
        "elevation.near_right_m": _numbers(cells.near_right_m),
        "elevation.cell_m": f"{cells.cell_m:g}",
        "elevation.shape": _numbers(cells.shape),
    }


def _numbers(values: Iterable[float | int]) -> str:
    return " ".join(f"{value:g}" for value in values)
