"""The voxels that occupancy is evaluated on: a benchmark's labels, or a range of them, or coarser.

A network's volume lies where its config says; benchmarks of nuScenes ask about grids of their own,
some of them in another frame. ``--resolution`` and ``--scene-size`` choose other ranges and larger
voxels, so long as each voxel is made of whole voxels of the benchmark's labels.
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
"""Lower and upper corner [m] by the number that SelfOcc's command line gives a range."""

WITHOUT_OTHERS = LabelSet("nuscenes16", NUSCENES.class_names[:-1], NUSCENES.colors[:-1])
"""nuScenes' classes for benchmarks that have no class "others"."""

_WHOLE = 1e-6
"""Numbers are whole up to this; those of the ranges have at most two decimals."""


@dataclass(frozen=True)
class EvaluatedGrid:
    """Where predictions are compared with the labels of a benchmark.

    Attributes:
        source: The benchmark, in whose frame the grid lies.
        fine: Voxels of the size of its labels, over the evaluated range.
        factor: How many of them along each axis make an evaluated voxel.
    """

    source: Benchmark
    fine: VoxelGrid
    factor: int

    @property
    def grid(self) -> VoxelGrid:
        """The evaluated voxels."""
        return self.fine.coarsen(self.factor)

    @property
    def is_own(self) -> bool:
        """Whether they are the benchmark's own."""
        return self.factor == 1 and self.fine == self.source.grid

    @property
    def labels(self) -> LabelSet:
        """The classes that the benchmark has, free first."""
        return NUSCENES if self.source.name == "occ3d" else WITHOUT_OTHERS

    def describe(self) -> str:
        """The grid in words, for a caption."""
        shape = "×".join(map(str, self.grid.shape))
        text = f"of {self.source.name}: {shape} voxels of {self.grid.voxel_m:g} m"
        if self.factor > 1:
            text += f", {self.factor} times as wide as the labels'"
        if not self.is_own:
            corner = ", ".join(f"{metres:g}" for metres in self.grid.origin_m)
            text += f", from ({corner}) m"
        return text


def evaluated_grid(
    name: str, resolution_m: float | None = None, scene_size: int | None = None
) -> EvaluatedGrid:
    """The grid that a benchmark, a voxel and a range mean together.

    Args:
        name: One of ``nuscenes_labels.BENCHMARKS``.
        resolution_m: Edge of a voxel [m]; None for that of the labels.
        scene_size: Place in SCENE_RANGES_M; None for the range of the labels.

    Raises:
        ValueError: If the voxels would not be made of whole voxels of the labels.
    """
    source = benchmark(name)
    factor = 1
    if resolution_m is not None:
        factor = _whole(resolution_m / source.grid.voxel_m) or 0
    if factor < 1:
        raise ValueError(
            f"--resolution {resolution_m:g}: labels of {name} are voxels of "
            f"{source.grid.voxel_m:g} m, which can be put together to 2, 3, … times that and not "
            "be divided; give a multiple"
        )
    if scene_size is None:
        fine = source.grid
    elif 0 <= scene_size < len(SCENE_RANGES_M):
        fine = _range_of(source.grid, scene_size) or _refuse_range(name, scene_size)
    else:
        raise ValueError(f"--scene-size is 0–{len(SCENE_RANGES_M) - 1}, got {scene_size}")
    if any(count % factor for count in fine.shape):
        shape = "×".join(map(str, fine.shape))
        raise ValueError(
            f"--resolution {resolution_m:g}: the {shape} voxels of {fine.voxel_m:g} m in the "
            f"evaluated range of {name} cannot be put together {factor} by {factor}; give another "
            "--resolution or --scene-size"
        )
    return EvaluatedGrid(source, fine, factor)


def _range_of(labels: VoxelGrid, scene_size: int) -> VoxelGrid | None:
    """A range in voxels that are the labels' own, or would be if those went on; None if not."""
    low, high = SCENE_RANGES_M[scene_size]
    if np.allclose(low, labels.origin_m) and np.allclose(high, labels.end_m):
        return labels
    first = [_whole((m - o) / labels.voxel_m) for m, o in zip(low, labels.origin_m, strict=True)]
    counts = [_whole((b - a) / labels.voxel_m) for a, b in zip(low, high, strict=True)]
    x, y, z = counts
    if None in first or x is None or y is None or z is None:
        return None
    return VoxelGrid(low, labels.voxel_m, (x, y, z))


def _refuse_range(name: str, scene_size: int) -> NoReturn:
    labels = benchmark(name).grid
    low, high = SCENE_RANGES_M[scene_size]
    fitting = [
        str(size) for size in range(len(SCENE_RANGES_M)) if _range_of(labels, size) is not None
    ]
    hint = f"give {', '.join(fitting)} or leave it out" if fitting else "leave it out"
    raise ValueError(
        f"--scene-size {scene_size}: the range from {low} to {high} m does not begin and end "
        f"between voxels of the labels of {name}, {labels.voxel_m:g} m from {labels.origin_m}: "
        f"{hint} for their own range"
    )


def _whole(number: float) -> int | None:
    """The whole number that a number is, up to rounding; None if it is none."""
    if not math.isfinite(number):
        return None
    nearest = round(number)
    return nearest if abs(number - nearest) < _WHOLE else None
