"""Occupancy labels of nuScenes from three benchmarks, converted to the project's label set.

The label set "nuscenes" has 0 free, the nuScenes classes 1–16 unchanged, 17 others and 255 ignored:

| benchmark | others | free | ignored |
| --- | --- | --- | --- |
| Occ3D | 0 → 17 | 17 → 0 | 255 |
| SurroundOcc, OpenOccupancy | | voxels without a row → 0 | 0 (noise) → 255 |
"""

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from dataset import occupancy_files
from dataset.class_mapping import DROP, UNKNOWN
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, NUSCENES

FRAMES = ("ego", "lidar")
"""Frames at the time of a key frame's point cloud: of the vehicle, or of LIDAR_TOP."""

_POINT_IDS = {
    "barrier": (9,),
    "bicycle": (14,),
    "bus": (15, 16),
    "car": (17,),
    "construction_vehicle": (18,),
    "motorcycle": (21,),
    "pedestrian": (2, 3, 4, 6),
    "traffic_cone": (12,),
    "trailer": (22,),
    "truck": (23,),
    "driveable_surface": (24,),
    "other_flat": (25,),
    "sidewalk": (26,),
    "terrain": (27,),
    "manmade": (28,),
    "vegetation": (30,),
}
POINT_CLASSES = {
    **{n: NUSCENES.index(name) for name, numbers in _POINT_IDS.items() for n in numbers},
    **dict.fromkeys((1, 5, 7, 8, 10, 11, 13, 19, 20, 29), UNKNOWN),
    **dict.fromkeys((0, 31), DROP),  # Noise, and the vehicle itself.
}
"""Label of each number in the files of the LiDAR segmentation; its benchmark ignores the rest."""


@dataclass(frozen=True)
class Benchmark:
    """Location and grid of the labels of a benchmark.

    Attributes:
        name: Name in configs and on command lines.
        folder: Folder of the labels, beside that of nuScenes.
        grid: Grid of the labels.
        frame: Frame of the grid: "ego" (x forward, y left), or "lidar", that of LIDAR_TOP (x right,
            y forward).
        has_masks: Whether there are masks of the observed voxels.
    """

    name: str
    folder: str
    grid: VoxelGrid
    frame: str
    has_masks: bool


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            "occ3d", "occ3d", VoxelGrid((-40.0, -40.0, -1.0), 0.4, (200, 200, 16)), "ego", True
        ),
        Benchmark(
            "surroundocc",
            "nuscenes_occ",
            VoxelGrid((-50.0, -50.0, -5.0), 0.5, (200, 200, 16)),
            "lidar",
            False,
        ),
        Benchmark(
            "openoccupancy",
            "nuScenes-Occupancy",
            VoxelGrid((-51.2, -51.2, -5.0), 0.2, (512, 512, 40)),
            "lidar",
            False,
        ),
    )
}


@dataclass(frozen=True)
class OccupancyLabels:
    """The labels of one key frame, in the project's classes, on their own grid.

    Attributes:
        occupancy: Label of each voxel: 0 free, 255 ignored.
        grid: Grid of the voxels.
        frame: Frame of the grid, "ego" or "lidar".
        mask_camera: Voxels seen by a camera; None if the benchmark has no masks.
        mask_lidar: Voxels seen by the LiDAR; likewise.
    """

    occupancy: UInt8[np.ndarray, "X Y Z"]
    grid: VoxelGrid
    frame: str
    mask_camera: Bool[np.ndarray, "X Y Z"] | None = None
    mask_lidar: Bool[np.ndarray, "X Y Z"] | None = None


def benchmark(name: str) -> Benchmark:
    """Return a benchmark by name.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"unknown labels '{name}'; known: {sorted(BENCHMARKS)}")
    return BENCHMARKS[name]


def relative_path(
    name: str,
    *,
    scene_name: str,
    scene_token: str,
    sample_token: str,
    lidar_token: str,
    lidar_file: str,
) -> str:
    """Return the path of the labels of a key frame, relative to the folder of a benchmark.

    Args:
        name: Name of the benchmark.
        scene_name: Name of the scene, such as "scene-0061".
        scene_token: Token of the scene.
        sample_token: Token of the key frame.
        lidar_token: Token of its LIDAR_TOP record in ``sample_data``.
        lidar_file: File of that record.
    """
    if name == "occ3d":
        return f"gts/{scene_name}/{sample_token}/labels.npz"
    if name == "surroundocc":
        return f"samples/{Path(lidar_file).name}.npy"
    return f"scene_{scene_token}/occupancy/{lidar_token}.npy"


def read_labels(name: str, path: Path) -> OccupancyLabels:
    """Read a label file of a benchmark.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the benchmark is unknown, or the file is corrupt or of another benchmark.
    """
    return {
        "occ3d": read_occ3d,
        "surroundocc": read_surroundocc,
        "openoccupancy": read_openoccupancy,
    }[benchmark(name).name](path)


def read_occ3d(path: Path) -> OccupancyLabels:
    """Read Occ3D's ``labels.npz``: dense semantics, and the masks of LiDAR and cameras.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is corrupt or of another benchmark.
    """
    source = BENCHMARKS["occ3d"]
    arrays = _read_archive(path, ("semantics", "mask_lidar", "mask_camera"))
    for name, array in arrays.items():
        if array.shape != source.grid.shape or array.dtype.kind not in "iub":
            found = f"{array.dtype} of shape {array.shape}"
            raise _invalid_file(path, f"integers of shape {source.grid.shape} as '{name}'", found)
    semantics = arrays["semantics"].astype(np.int64)
    _check_classes(path, semantics[semantics != IGNORE], NUSCENES.num_classes)
    return OccupancyLabels(
        swap_free_and_others(semantics.astype(np.uint8)),
        source.grid,
        source.frame,
        mask_camera=arrays["mask_camera"].astype(bool),
        mask_lidar=arrays["mask_lidar"].astype(bool),
    )


def read_surroundocc(path: Path) -> OccupancyLabels:
    """Read SurroundOcc's rows x, y, z, class.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is corrupt or of another benchmark.
    """
    return _read_rows(path, BENCHMARKS["surroundocc"], (0, 1, 2, 3))


def read_openoccupancy(path: Path) -> OccupancyLabels:
    """Read OpenOccupancy's rows z, y, x, class.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is corrupt or of another benchmark.
    """
    return _read_rows(path, BENCHMARKS["openoccupancy"], (2, 1, 0, 3))


def swap_free_and_others(labels: UInt8[np.ndarray, "*any"]) -> UInt8[np.ndarray, "*any"]:
    """Convert between Occ3D's classes and those of the project, in either direction."""
    table = np.arange(256, dtype=np.uint8)
    others = NUSCENES.index("others")
    table[[FREE, others]] = others, FREE
    return table[labels]


def _read_rows(path: Path, source: Benchmark, columns: tuple[int, ...]) -> OccupancyLabels:
    """Read sparse labels, with their columns in the order ``columns``."""
    _check_exists(path)
    rows = occupancy_files.read_labels(path)
    if not occupancy_files.is_sparse(rows):
        raise _invalid_file(path, "rows of 4 columns", f"shape {rows.shape}")
    rows = rows[:, columns]
    _check_classes(path, rows[:, 3], NUSCENES.index("others"))
    try:
        grid = occupancy_files.dense_from_rows(rows, source.grid.shape, relabel={0: IGNORE})
    except ValueError as error:
        raise _invalid_file(path, f"labels of {source.name}", str(error)) from error
    return OccupancyLabels(grid.astype(np.uint8), source.grid, source.frame)


def _read_archive(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read some arrays of a NumPy archive (.npz)."""
    _check_exists(path)
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except KeyError as error:
        raise _invalid_file(path, f"the arrays {names}", str(error)) from error
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _invalid_file(path, f"the arrays {names}", str(error)) from error


def _check_classes(path: Path, labels: np.ndarray, count: int) -> None:
    is_unknown = (labels < 0) | (labels >= count)
    if is_unknown.any():
        found = f"{is_unknown.sum()} voxels of {np.unique(labels[is_unknown])[:5].tolist()}"
        raise _invalid_file(path, f"classes 0–{count - 1}", found)


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} not found: unpack the labels (docs/prepare_data.md), or remove the frame"
        )


def _invalid_file(path: Path, expected: str, found: str) -> ValueError:
    return ValueError(
        f"{path}: expected {expected}, got {found}. The file is corrupt or of another benchmark"
    )
