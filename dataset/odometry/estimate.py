"""Poses of a whole recording: tracked and refined in stretches, checked, and written.

Stretches overlap, and are estimated independently of each other: in parallel, in bounded memory,
and with the same result for any number of processes. Finished ones are kept in a hidden folder, so
that an interrupted run resumes.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from dataset.clouds import SUFFIXES
from dataset.file_content import read_json
from dataset.inventory import time_order
from dataset.odometry import alignment, quality, surfaces, sweeps, tracking
from dataset.odometry.quality import PairQuality
from dataset.odometry.sweeps import SweepOptions, read_sweep
from dataset.recorded_poses import POSES, write_poses
from dataset.recording import files_by_stem
from utils.folder_lock import locked
from utils.parallel import map_in_processes
from utils.whole_files import new_file, write_json

STRETCH = 200
SHARED = 28
"""Frames that consecutive stretches have in common; they are joined in the middle of these."""
POINT_VOXEL_M = 0.7
"""One point per voxel of this size is aligned."""
ORIGIN = "poses.json"
"""Beside poses.txt: how it was estimated, and how good it is."""
BACKUP = "poses_measured.txt"
_PARTS = ".poses"

logger = logging.getLogger(__name__)

Matrices = Float64[np.ndarray, "n 4 4"]


@dataclass(frozen=True)
class EstimateOptions:
    """What to estimate.

    Attributes:
        sweep: How clouds are read.
        min_overlap: Smallest share of overlapping points between neighboring frames.
        stem_unit_s: Seconds per unit of the stems.
        overwrite: Whether measured poses may be replaced.
        workers: Number of processes; None: one per core.
    """

    sweep: SweepOptions
    min_overlap: float
    stem_unit_s: float = 1.0
    overwrite: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class Stretch:
    """Consecutive frames that are estimated together.

    Attributes:
        paths: Their clouds.
        times_s: Their times.
        result: File of the result.
    """

    paths: Sequence[Path]
    times_s: Sequence[float]
    result: Path


def estimate_poses(recording: Path, options: EstimateOptions) -> dict[str, Any]:
    """Write poses.txt and poses.json, and return what the latter holds.

    Raises:
        FileNotFoundError: If there are no clouds.
        ValueError: If kiss-icp is not installed, a cloud is invalid, stems are no times, measured
            poses would be replaced, or the poses are not good enough.
    """
    version = tracking.tracker_version()
    files = files_by_stem(recording / "clouds", SUFFIXES)
    stems = sorted(files, key=time_order)
    times_s = _times(recording, stems, options.stem_unit_s)
    with locked(recording):
        _check_replaceable(recording, overwrite=options.overwrite)
        clouds = [files[stem] for stem in stems]
        parts = _stretches(recording / _PARTS, clouds, times_s, options.sweep, version)
        poses, pairs = _joined(parts, options)
        problem = quality.implausible(stems, poses, times_s, pairs, options.min_overlap)
        if problem is not None:
            raise ValueError(
                f"{recording / 'clouds'}, {problem}. The poses were not written: leave out the "
                "frames where the LiDAR sees too little or that are far apart, or lower "
                "--min-overlap"
            )
        content = {
            "estimated": True,
            "method": "kiss-icp, then joint point-to-plane alignment; no loop closure",
            "versions": {"kiss-icp": version, "numpy": np.__version__},
            "motion_corrected": options.sweep.has_times,
            "min_overlap": options.min_overlap,
            "quality": quality.summary(stems, poses, times_s, pairs),
        }
        _write(recording, dict(zip(stems, poses, strict=True)), content)
    return content


def is_estimated(recording: Path) -> bool:
    """Return whether poses.txt is as this module wrote it."""
    origin, poses = recording / ORIGIN, recording / POSES
    if not origin.is_file() or not poses.is_file():
        return False
    content = read_json(origin)
    return isinstance(content, dict) and content.get("sha256") == _digest(poses.read_bytes())


def _times(recording: Path, stems: Sequence[str], unit_s: float) -> list[float]:
    """Return the time of each frame [s].

    Raises:
        ValueError: If there are fewer than two, or a stem is no time.
    """
    if len(stems) < 2:
        raise ValueError(f"{recording / 'clouds'}: expected at least 2 clouds, found {len(stems)}")
    try:
        units = [float(stem) for stem in stems]
    except ValueError:
        units = []
    if not np.isfinite(units).all() or (np.diff(units) <= 0).any() or not units:
        raise ValueError(
            f"{recording / 'clouds'}: expected times as names, in seconds, found {stems[-1]}: "
            "rename the files, such as 1718000000.100.bin"
        )
    times_s = [unit * unit_s for unit in units]
    if np.median(np.diff(times_s)) >= 1.0:
        raise ValueError(
            f"{recording / 'clouds'}: expected frames less than 1 s apart, found "
            f"{np.median(np.diff(times_s)):g} s. If the names are numbers, state the time between "
            "them, such as --stem-unit 0.1"
        )
    return times_s


def _check_replaceable(recording: Path, *, overwrite: bool) -> None:
    path, backup = recording / POSES, recording / BACKUP
    if not path.exists() or is_estimated(recording):
        return
    if not overwrite:
        raise ValueError(
            f"{path}: expected no poses, found measured ones: keep them, or pass --overwrite, "
            f"which renames the file to {BACKUP}"
        )
    if backup.exists():
        raise ValueError(f"{backup}: expected no earlier backup, found one: move it elsewhere")


def _stretches(
    folder: Path,
    clouds: Sequence[Path],
    times_s: Sequence[float],
    options: SweepOptions,
    version: str,
) -> list[Stretch]:
    """Return the stretches; the name of a result depends on everything that decides about it."""
    found = []
    for start in range(0, max(len(clouds) - SHARED, 1), STRETCH):
        rows = slice(start, start + STRETCH + SHARED)
        files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in clouds[rows]]
        decisive = [version, np.__version__, files, times_s[rows], asdict(options)]
        digest = _digest(json.dumps(decisive, default=str).encode())
        found.append(Stretch(clouds[rows], times_s[rows], folder / f"{digest}.npz"))
    return found


def _joined(parts: Sequence[Stretch], options: EstimateOptions) -> tuple[Matrices, PairQuality]:
    """Estimate the stretches that are missing, and join all."""
    work = partial(_estimate_stretch, options=options.sweep)
    missing = [part for part in parts if not part.result.exists()]
    if len(missing) < len(parts):
        logger.info("%d of %d stretches exist already", len(parts) - len(missing), len(parts))
    for _ in map_in_processes(work, missing, title="poses", workers=options.workers, chunk_size=1):
        pass
    poses, overlaps, residuals = np.eye(4)[None], np.zeros(0), np.zeros(0)
    for number, part in enumerate(parts):
        with np.load(part.result) as found:
            first = 0 if not number else SHARED // 2
            last = len(part.paths) - 1 if part is parts[-1] else STRETCH + SHARED // 2
            relative = np.linalg.inv(found["poses"][first]) @ found["poses"][first + 1 : last + 1]
            poses = np.concatenate([poses, poses[-1] @ relative])
            overlaps = np.append(overlaps, found["overlap"][first:last])
            residuals = np.append(residuals, found["residual_m"][first:last])
    return poses, PairQuality(overlaps, residuals)


def _estimate_stretch(part: Stretch, options: SweepOptions) -> None:
    """Estimate the poses of a stretch, and measure them."""
    count = len(part.paths)

    def read(index: int) -> Float64[np.ndarray, "P 3"]:
        return read_sweep(part.paths[index], options, None)

    poses = tracking.track(read, part.times_s)
    for _ in range(2 if options.has_times else 1):
        motions = sweeps.velocities(poses, part.times_s)
        scans = [_scan(read_sweep(part.paths[i], options, motions[i])) for i in range(count)]
        poses = alignment.aligned(scans, poses)
    motions = sweeps.velocities(poses, part.times_s)

    def corrected(index: int) -> Float64[np.ndarray, "P 3"]:
        return read_sweep(part.paths[index], options, motions[index])

    pairs = _measured(corrected, scans, poses)
    with new_file(part.result) as partial_file, partial_file.open("wb") as file:
        np.savez(file, poses=poses, overlap=pairs.overlap, residual_m=pairs.residual_m)


def _scan(points: Float64[np.ndarray, "P 3"]) -> alignment.Scan:
    kept = points[surfaces.thinned(points, POINT_VOXEL_M)]
    return alignment.Scan(kept, surfaces.find_surfaces(points))


def _measured(
    read: Callable[[int], Float64[np.ndarray, "P 3"]],
    scans: Sequence[alignment.Scan],
    poses: Matrices,
) -> PairQuality:
    overlaps, residuals = [], []
    points = read(0)
    for index in range(len(scans) - 1):
        following = read(index + 1)
        here_from_next = np.linalg.inv(poses[index]) @ poses[index + 1]
        overlaps.append(quality.overlap(points, following, here_from_next))
        next_from_here = np.linalg.inv(here_from_next)
        residuals.append(alignment.residual_m(scans[index], scans[index + 1], next_from_here))
        points = following
    return PairQuality(np.array(overlaps), np.array(residuals))


def _write(
    recording: Path, poses: dict[str, Float64[np.ndarray, "4 4"]], content: dict[str, Any]
) -> None:
    path = recording / POSES
    if path.exists() and not is_estimated(recording):
        path.replace(recording / BACKUP)
    write_poses(path, poses)
    write_json(content | {"sha256": _digest(path.read_bytes())}, recording / ORIGIN)
    shutil.rmtree(recording / _PARTS, ignore_errors=True)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
