"""Evaluation grids of nuScenes: the label grid of a benchmark, another range, or larger voxels.

A config defines the grid of its network; each nuScenes benchmark has its own grid, some in another
frame. ``--scene-size`` and ``--resolution`` choose other ranges and larger voxels, if they align
with the voxels of the benchmark's labels.
"""

import math
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from dataset.nuscenes.labels import Benchmark, benchmark
from utils.geometry import VoxelGrid
from utils.labels import NUSCENES, LabelSet

Corner = tuple[float, float, float]

SCENE_RANGES_M: tuple[tuple[Corner, Corner], ...] = (
    ((-51.2, -51.2, -4.0), (51.2, 51.2, 4.0)),
    ((-40.0, -40.0, -2.8), (40.0, 40.0, 3.6)),
    ((-40.0, -40.0, -3.1), (40.0, 40.0, 3.9)),
    ((-40.0, -40.0, -3.2), (40.0, 40.0, 4.0)),
    ((-40.0, -40.0, -1.0), (40.0, 40.0, 5.4)),
    ((-51.2, -51.2, -5.0), (51.2, 51.2, 3.0)),
    ((-51.2, -51.2, -4.0), (51.2, 51.2, 5.0)),
)
"""Lower and upper corners [m], indexed by ``--scene-size`` as in SelfOcc."""

WITHOUT_OTHERS = LabelSet("nuscenes16", NUSCENES.class_names[:-1], NUSCENES.colors[:-1])
"""nuScenes' classes for benchmarks without the class "others"."""

_INTEGER_TOLERANCE = 1e-6
"""Tolerance for integers; numbers in the ranges have at most two decimals."""


@dataclass(frozen=True)
class EvaluatedGrid:
    """The grid on which predictions are compared with the labels of a benchmark.

    Attributes:
        source: The benchmark; the grid is in its frame.
        fine: The evaluated range in voxels of the benchmark's size.
        factor: Ratio of the evaluated voxel size to that of ``fine``.
    """

    source: Benchmark
    fine: VoxelGrid
    factor: int

    @property
    def grid(self) -> VoxelGrid:
        """The evaluated grid."""
        return self.fine.coarsen(self.factor)

    @property
    def is_native(self) -> bool:
        """Whether it is the benchmark's own grid."""
        return self.factor == 1 and self.fine == self.source.grid

    @property
    def labels(self) -> LabelSet:
        """The classes of the benchmark, free first."""
        return NUSCENES if self.source.name == "occ3d" else WITHOUT_OTHERS

    def describe(self) -> str:
        """Describe the grid for a caption."""
        shape = "×".join(map(str, self.grid.shape))
        text = f"of {self.source.name}: {shape} voxels of {self.grid.voxel_m:g} m"
        if self.factor > 1:
            text += f" (labels coarsened by {self.factor})"
        if not self.is_native:
            corner = ", ".join(f"{meters:g}" for meters in self.grid.origin_m)
            text += f", from ({corner}) m"
        return text


def evaluated_grid(
    name: str, resolution_m: float | None = None, scene_size: int | None = None
) -> EvaluatedGrid:
    """Return the grid for a benchmark, a voxel size and a range.

    Args:
        name: One of ``dataset.nuscenes.labels.BENCHMARKS``.
        resolution_m: Voxel size [m]; None for that of the labels.
        scene_size: Index into SCENE_RANGES_M; None for the range of the labels.

    Raises:
        ValueError: If the grid does not align with the voxels of the labels.
    """
    source = benchmark(name)
    factor = 1
    if resolution_m is not None:
        factor = _as_integer(resolution_m / source.grid.voxel_m) or 0
    if factor < 1:
        raise ValueError(
            f"--resolution must be a multiple of the voxel size of {name}, "
            f"{source.grid.voxel_m:g} m, got {resolution_m:g}"
        )
    if scene_size is None:
        fine = source.grid
    elif 0 <= scene_size < len(SCENE_RANGES_M):
        fine = _range_of(source.grid, scene_size) or _reject_range(name, scene_size)
    else:
        raise ValueError(f"--scene-size must be 0–{len(SCENE_RANGES_M) - 1}, got {scene_size}")
    if any(count % factor for count in fine.shape):
        shape = "×".join(map(str, fine.shape))
        raise ValueError(
            f"--resolution {resolution_m:g}: {factor} does not divide the {shape} voxels of "
            f"{fine.voxel_m:g} m in the range of {name}; choose another --resolution or "
            "--scene-size"
        )
    return EvaluatedGrid(source, fine, factor)


def _range_of(labels: VoxelGrid, scene_size: int) -> VoxelGrid | None:
    """Return a range on the lattice of the labels' voxels; None if it does not align."""
    low, high = SCENE_RANGES_M[scene_size]
    if np.allclose(low, labels.origin_m) and np.allclose(high, labels.end_m):
        return labels
    first = [
        _as_integer((m - o) / labels.voxel_m) for m, o in zip(low, labels.origin_m, strict=True)
    ]
    counts = [_as_integer((b - a) / labels.voxel_m) for a, b in zip(low, high, strict=True)]
    x, y, z = counts
    if None in first or x is None or y is None or z is None:
        return None
    return VoxelGrid(low, labels.voxel_m, (x, y, z))


def _reject_range(name: str, scene_size: int) -> NoReturn:
    labels = benchmark(name).grid
    low, high = SCENE_RANGES_M[scene_size]
    fitting = [
        str(size) for size in range(len(SCENE_RANGES_M)) if _range_of(labels, size) is not None
    ]
    hint = f"give {', '.join(fitting)} or leave it out" if fitting else "leave it out"
    raise ValueError(
        f"--scene-size {scene_size}: the range from {low} to {high} m does not align with the "
        f"voxels of {name}, {labels.voxel_m:g} m from {labels.origin_m}: {hint} for the range of "
        "its labels"
    )


def _as_integer(number: float) -> int | None:
    """Return a number as an integer; None if it is not one, up to rounding errors."""
    if not math.isfinite(number):
        return None
    nearest = round(number)
    return nearest if abs(number - nearest) < _INTEGER_TOLERANCE else None
