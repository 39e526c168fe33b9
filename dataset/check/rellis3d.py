"""The check of RELLIS-3D and of WildOcc's labels on it, with the frames in parallel."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dataset import formats
from dataset.check.findings import Finding, Level
from dataset.check.report import finding_rows
from dataset.image_decoding import decode_image
from dataset.options import spread
from dataset.rellis3d import agreement, classes, files, labels, layout, splits
from dataset.rellis3d.agreement import Agreement, LabeledFrame
from dataset.rellis3d.layout import Frame
from dataset.rellis3d.sequences import Sequence as Drive
from dataset.rellis3d.sequences import all_frames, find_sequences
from dataset.splits import SPLITS
from utils.labels import RELLIS3D
from utils.parallel import map_in_processes

LEAST_ON_CLASS = 0.65
"""Share of the labeled points that fall on image pixels of their class: 77 % in the published
example with the calibration of 2021, 60 % with that of 2020."""
LEAST_SEEN = 100
"""Fewer points say nothing of a calibration."""
_NAMES = ("void", *RELLIS3D.class_names[1:])
_NEAREST_M = 0.5

Counts = Mapping[str, int | float]


class _Task(NamedTuple):
    """Files of a frame, None where there is none."""

    frame: Frame
    cloud: Path | None
    point_labels: Path | None
    image: Path | None
    image_labels: Path | None
    occupancy: Path | None
    pixel_from_lidar: Float64[np.ndarray, "4 4"] | None


@dataclass
class FrameCheck:
    """What was found in the files of a frame.

    Attributes:
        frame: The frame.
        findings: What is wrong.
        points: Labeled points by class, void first.
        voxels: Rows of the occupancy label by class id.
        on_class: Labeled points on a labeled pixel of their class, and on any labeled pixel.
        image_size: Height and width of the image.
    """

    frame: Frame
    findings: list[Finding] = field(default_factory=list)
    points: Int64[np.ndarray, " C"] = field(default_factory=lambda: np.zeros(len(_NAMES), np.int64))
    voxels: Mapping[int, int] = field(default_factory=dict)
    on_class: tuple[int, int] = (0, 0)
    image_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class RellisReport:
    """Outcome of a check.

    Attributes:
        root: Folder of the data set.
        sequences: Number of files of each kind, and poses, by sequence.
        points: Labeled points by class, void first.
        voxels: Rows of the occupancy labels by class id.
        image_sizes: Number of frames per image size, "width×height".
        splits: Number of frames per list.
        release: Release that the occupancy labels fit, and how they are read; "" without labels.
        shares: Agreement of each reading with the points.
        findings: What is wrong.
    """

    root: str
    sequences: Mapping[str, Counts]
    points: Mapping[str, int]
    voxels: Mapping[int, int]
    image_sizes: Mapping[str, int]
    splits: Mapping[str, int]
    release: str
    shares: Mapping[str, float]
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether there are no errors."""
        return all(finding.level is not Level.ERROR for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        levels = Counter(finding.level for finding in self.findings)
        counts = {"errors": levels[Level.ERROR], "warnings": levels[Level.WARNING]}
        return asdict(self) | counts

    def table(self) -> str:
        """Format the report as text."""
        parts = [self._head(), self._class_rows(), finding_rows(self.findings)]
        return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part)))

    def _head(self) -> Iterator[str]:
        yield f"{self.root}: RELLIS-3D, {len(self.sequences)} sequences"
        columns = list(next(iter(self.sequences.values())))
        yield f"{'':<8}" + "".join(f"{name:>16}" for name in columns)
        for name, counts in self.sequences.items():
            yield f"{name:<8}" + "".join(f"{_cell(counts[column]):>16}" for column in columns)
        for title, counts in (("images", self.image_sizes), ("lists", self.splits)):
            yield f"{title}: " + (", ".join(f"{k} {v:,}" for k, v in counts.items()) or "none")
        yield f"occupancy labels: {self.release or 'none'}"

    def _class_rows(self) -> Iterator[str]:
        points, voxels = sum(self.points.values()), sum(self.voxels.values())
        of_class: Counter[str] = Counter()
        for number, count in self.voxels.items():
            of_class[classes.RELLIS_IDS.get(number, f"id {number}")] += count
        if not points and not voxels:
            return
        names = ("points", "share", "published", "voxels", "share")
        widths = (14, 10, 11, 14, 10)
        cells = (f"{name:>{width}}" for name, width in zip(names, widths, strict=True))
        yield f"{'class':<12}" + "".join(cells)
        for name in dict.fromkeys([*self.points, *of_class]):
            count, filled = self.points.get(name, 0), of_class[name]
            if count or filled:
                published = classes.POINT_SHARES.get(name)
                text = "–" if published is None else f"{100 * published:.3f} %"
                yield (
                    f"{name:<12}{count:>14,}{100 * count / max(1, points):>8.3f} %{text:>11}"
                    f"{filled:>14,}{100 * filled / max(1, voxels):>8.3f} %"
                )


def check_rellis3d(
    root: Path, *, workers: int | None = None, progress: bool = True
) -> RellisReport:
    """Check the files of RELLIS-3D, and of WildOcc's labels in ``wildocc`` beside it.

    Args:
        root: Folder with ``00000/`` and so on.
        workers: Number of processes; None for one per core.
        progress: Whether to show a progress bar.

    Raises:
        FileNotFoundError: If there is no sequence.
        ValueError: If ``workers`` is not positive.
    """
    drives = find_sequences(root)
    findings: list[Finding] = []
    occupancy = _find_labels(root, drives, findings)
    tasks = [task for drive in drives.values() for task in _tasks(drive, occupancy, findings)]
    found = list(
        map_in_processes(check_frame, tasks, title="check", workers=workers, progress=progress)
    )
    table = {drive.name: _summary(drive, occupancy, found) for drive in drives.values()}
    for name, counts in table.items():
        findings += _of_sequence(drives[name], counts)
    release, shares = _reading(tasks, findings)
    sizes = Counter(check.image_size for check in found if check.image_size)
    voxels: Counter[int] = Counter()
    for check in found:
        voxels.update(check.voxels)
    points = sum((check.points for check in found), np.zeros(len(_NAMES), np.int64))
    return RellisReport(
        root=str(root),
        sequences=table,
        points={name: int(n) for name, n in zip(_NAMES[1:], points[1:], strict=True) if n},
        voxels=dict(sorted(voxels.items())),
        image_sizes={f"{width}×{height}": n for (height, width), n in sizes.items()},
        splits=_splits(root, drives, findings),
        release=release,
        shares=shares,
        findings=(*findings, *(finding for check in found for finding in check.findings)),
    )


def check_frame(task: _Task) -> FrameCheck:
    """Check the files of one frame."""
    check = FrameCheck(task.frame)
    cloud = ids = None
    matrix = task.pixel_from_lidar
    try:
        if task.cloud is not None:
            cloud = files.read_cloud(task.cloud, layout.INTENSITY_MAX)
            if task.point_labels is not None:
                ids = files.read_point_labels(task.point_labels, cloud)
                check.points = _count_classes(ids)
    except ValueError as error:
        _add(check.findings, Level.ERROR, "format", task.cloud, str(error), task.frame)
    try:
        if task.image is not None:
            check.image_size = formats.open_image(task.image).size
        if ids is not None and cloud is not None and task.image_labels and matrix is not None:
            check.on_class = _on_class(task.image_labels, matrix, cloud.points, ids)
    except ValueError as error:
        _add(check.findings, Level.ERROR, "format", task.image, str(error), task.frame)
    try:
        if task.occupancy is not None:
            values, counts = np.unique(labels.read_rows(task.occupancy)[:, 3], return_counts=True)
            check.voxels = dict(zip(values.tolist(), counts.tolist(), strict=True))
    except ValueError as error:
        _add(check.findings, Level.ERROR, "format", task.occupancy, str(error), task.frame)
    return check


def _tasks(drive: Drive, occupancy: Mapping[Frame, Path], findings: list[Finding]) -> list[_Task]:
    matrix = None
    try:
        matrix = drive.pixel_from_lidar
    except (ValueError, FileNotFoundError) as error:
        _add(findings, Level.ERROR, "calibration", drive.root, str(error))
    tasks = []
    for frame in all_frames([drive]):
        number = frame.number
        has_labels = number in drive.point_labels
        tasks.append(
            _Task(
                frame,
                drive.cloud_path(number) if number in drive.clouds else None,
                drive.point_label_path(number) if has_labels else None,
                drive.images.get(number),
                drive.image_labels.get(number),
                occupancy.get(frame),
                matrix,
            )
        )
    return tasks


def _summary(drive: Drive, occupancy: Mapping[Frame, Path], found: Sequence[FrameCheck]) -> Counts:
    own = [check.on_class for check in found if check.frame.sequence == drive.name]
    hits, seen = np.sum(own, axis=0) if own else (0, 0)
    known = jumps = 0
    if (drive.root / layout.POSES).is_file():
        known, jumps = int(drive.poses.is_known.sum()), len(drive.jumps)
    return {
        "clouds": len(drive.clouds),
        "point labels": len(drive.point_labels),
        "images": len(drive.images),
        "image labels": len(drive.image_labels),
        "poses": known,
        "jumps": jumps,
        "occupancy": sum(frame.sequence == drive.name for frame in occupancy),
        "points on class": float(hits / seen) if seen >= LEAST_SEEN else float("nan"),
    }


def _of_sequence(drive: Drive, counts: Counts) -> Iterator[Finding]:
    """Yield what is wrong with a whole sequence."""
    every = len(drive.clouds | drive.images.keys())
    for name, folder, level in (
        ("clouds", layout.CLOUDS, Level.ERROR),
        ("images", layout.IMAGES, Level.ERROR),
        ("point labels", layout.POINT_LABELS, Level.WARNING),
        ("poses", layout.POSES, Level.WARNING),
        ("occupancy", labels.FOLDER, Level.WARNING),
    ):
        lacking = every - int(counts[name])
        if lacking > 0:
            message = f"{lacking} of {every} frames have none"
            yield Finding(level, "missing_file", f"{drive.name}/{folder}", "", message)
    if counts["jumps"]:
        message = f"{int(counts['jumps'])} poses are unknown or do not continue the one before"
        yield Finding(Level.WARNING, "pose_jump", f"{drive.name}/{layout.POSES}", "", message)
    share = counts["points on class"]
    has_both = counts["image labels"] and counts["point labels"]
    if has_both and not share >= LEAST_ON_CLASS:
        found = f"fewer than {LEAST_SEEN}" if np.isnan(share) else f"{100 * share:.1f} %"
        message = (
            f"{found} of the labeled points fall on image pixels of their class, expected at least "
            f"{100 * LEAST_ON_CLASS:.0f} %. Use this sequence's transforms.yaml of 2021-02-24"
        )
        path = f"{drive.name}/{layout.TRANSFORMS}"
        yield Finding(Level.WARNING, "calibration", path, "", message)


def _reading(tasks: Sequence[_Task], findings: list[Finding]) -> tuple[str, dict[str, float]]:
    """Find out how the occupancy labels are read."""
    able = [
        (task.cloud, task.point_labels, task.occupancy)
        for task in tasks
        if task.cloud and task.point_labels and task.occupancy
    ]
    compared = []
    for task in spread(able, agreement.FRAMES):
        try:
            compared.append(_labeled_frame(*task))
        except ValueError:
            continue  # Reported with its frame.
    if not compared:
        return "", {}
    largest = np.max([frame.rows[:, :3].max(axis=0, initial=0) for frame in compared], axis=0)
    fits = [name for name, grid in labels.RELEASES.items() if (largest < grid.shape).all()]
    if not fits:
        message = f"indices up to {largest.tolist()} fit none of {', '.join(labels.RELEASES)}"
        _add(findings, Level.ERROR, "release", Path(labels.FOLDER), message)
        return "of an unknown release", {}
    found: Agreement = agreement.measure(compared, labels.RELEASES[fits[0]])
    axes, ids_name = found.best
    share = found.shares[found.best]
    if not share >= agreement.LEAST_SHARE:
        message = f"labeled points agree with no reading: {found.table()}"
        _add(findings, Level.ERROR, "reading", Path(labels.FOLDER), message)
    text = (
        f"{fits[0]}, labels_axes='{axes}', labels_ids='{ids_name}', ids {list(found.ids)}\n"
        f"  points in voxels of their class, {found.frames} frames: {found.table()}"
    )
    return text, {"/".join(way): share for way, share in found.shares.items()}


def _labeled_frame(cloud_path: Path, points_path: Path, occupancy: Path) -> LabeledFrame:
    cloud = files.read_cloud(cloud_path, layout.INTENSITY_MAX)
    ids = files.read_point_labels(points_path, cloud)
    return LabeledFrame(labels.read_rows(occupancy), cloud.points, ids)


def _find_labels(
    root: Path, drives: Mapping[str, Drive], findings: list[Finding]
) -> dict[Frame, Path]:
    folder = labels.LabelFiles().root(root)
    if not folder.is_dir():
        return {}
    frame_of_image = {
        path.stem: Frame(drive.name, number)
        for drive in drives.values()
        for number, path in drive.images.items()
    }
    try:
        return labels.find_label_files(folder, frame_of_image)
    except (ValueError, FileNotFoundError) as error:
        _add(findings, Level.ERROR, "format", folder, str(error))
        return {}


def _splits(root: Path, drives: Mapping[str, Drive], findings: list[Finding]) -> dict[str, int]:
    present = [split for split in SPLITS if (root / f"pt_{split}.lst").is_file()]
    if not present:
        return {}
    try:
        lists = splits.read_lists(root, present[0])
    except ValueError as error:
        _add(findings, Level.ERROR, "splits", root, str(error))
        return {}
    on_disk = set(all_frames(drives.values()))
    for split, frames in lists.items():
        absent = [frame for frame in frames if frame not in on_disk]
        if absent:
            message = f"{len(absent)} of {len(frames)} frames are not on disk"
            _add(findings, Level.WARNING, "splits", Path(f"pt_{split}.lst"), message)
        near = splits.near_training(frames, lists.get("train", []))
        if split != "train" and near:
            message = f"{len(near)} of {len(frames)} frames are within 1 s of a training frame"
            _add(findings, Level.WARNING, "splits", Path(f"pt_{split}.lst"), message)
    return {split: len(frames) for split, frames in lists.items()}


def _count_classes(ids: Int64[np.ndarray, " P"]) -> Int64[np.ndarray, " C"]:
    counts = np.zeros(len(_NAMES), np.int64)
    values, number = np.unique(ids, return_counts=True)
    unknown = sorted(set(values.tolist()) - classes.RELLIS_IDS.keys())
    if unknown:
        raise ValueError(f"expected the ids of RELLIS-3D in point labels, found {unknown}")
    for value, count in zip(values.tolist(), number.tolist(), strict=True):
        name = classes.RELLIS_IDS[value]
        counts[_NAMES.index(name) if name in _NAMES else 0] += count
    return counts


def _on_class(
    path: Path,
    matrix: Float64[np.ndarray, "4 4"],
    points: Float32[np.ndarray, "P 4"],
    ids: Int64[np.ndarray, " P"],
) -> tuple[int, int]:
    """Count labeled points on a labeled pixel of their class, and on any labeled pixel."""
    image = decode_image(str(path), path.read_bytes())
    if image.ndim != 2:
        raise ValueError(f"{path}: expected one channel of class ids, found {image.shape}")
    u, v, depth = matrix[:3, :3] @ points[:, :3].T.astype(np.float64) + matrix[:3, 3:]
    ahead = (depth > _NEAREST_M) & (ids != classes.VOID)
    column, row = (np.floor(of[ahead] / depth[ahead]).astype(np.int64) for of in (u, v))
    height, width = image.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen = image[row[inside], column[inside]]
    is_labeled = seen != classes.VOID
    hits = seen[is_labeled] == ids[ahead][inside][is_labeled]
    return int(hits.sum()), int(is_labeled.sum())


def _add(
    findings: list[Finding],
    level: Level,
    check: str,
    path: Path | None,
    message: str,
    frame: Frame | None = None,
) -> None:
    stem = "" if frame is None else frame.stem
    findings.append(Finding(level, check, "" if path is None else str(path), stem, message))


def _cell(value: int | float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return "–" if np.isnan(value) else f"{100 * value:.1f} %"
