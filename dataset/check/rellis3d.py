"""The check of RELLIS-3D and of WildOcc's labels on it, with the frames in parallel."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dataset.check.findings import Finding, Level
from dataset.check.rellis3d_frame import NAMES, FrameCheck, FrameTask, check_frame
from dataset.check.rellis3d_report import Counts, RellisReport
from dataset.options import spread
from dataset.rellis3d import agreement, files, labels, layout, splits
from dataset.rellis3d.agreement import Agreement, LabeledFrame
from dataset.rellis3d.layout import Frame
from dataset.rellis3d.sequences import Sequence as Drive
from dataset.rellis3d.sequences import all_frames, find_sequences
from dataset.splits import SPLITS
from utils.parallel import map_in_processes

LEAST_ON_CLASS = 0.65
"""Share of the labeled points that fall on image pixels of their class: 77 % in the published
example with the calibration of 2021, 60 % with that of 2020."""
LEAST_SEEN = 100
"""Fewer points say nothing of a calibration."""


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
    points = sum((check.points for check in found), np.zeros(len(NAMES), np.int64))
    return RellisReport(
        root=str(root),
        sequences=table,
        points={name: int(n) for name, n in zip(NAMES[1:], points[1:], strict=True) if n},
        voxels=dict(sorted(voxels.items())),
        image_sizes={f"{width}×{height}": n for (height, width), n in sizes.items()},
        splits=_splits(root, drives, findings),
        release=release,
        shares=shares,
        findings=(*findings, *(finding for check in found for finding in check.findings)),
    )


def _tasks(
    drive: Drive, occupancy: Mapping[Frame, Path], findings: list[Finding]
) -> list[FrameTask]:
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
            FrameTask(
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


def _reading(tasks: Sequence[FrameTask], findings: list[Finding]) -> tuple[str, dict[str, float]]:
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


def _add(findings: list[Finding], level: Level, check: str, path: Path, message: str) -> None:
    findings.append(Finding(level, check, str(path), "", message))
