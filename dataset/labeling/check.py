"""Checks the labels of recordings against clouds that are held out, and a truth if there is one."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataset import layout
from dataset.class_mapping import ClassMapping
from dataset.formats import (
    depth_from_units,
    elevation_from_units,
    occupancy_from_rows,
    open_image,
    read_depth_m,
    read_elevation_m,
    read_occupancy_rows,
)
from dataset.labeling.clip_map import ClipMap, build_clip_map
from dataset.labeling.drive import Clip, Drive, cut_clips
from dataset.labeling.frame_labels import View, label_frame
from dataset.labeling.options import LabelOptions
from dataset.labeling.scoring import (
    HeldOutScore,
    TruthScore,
    score_held_out,
    score_images,
    score_truth,
)
from dataset.labeling.sweeps import Sweep, SweepReader

TRUTH = "truth"
"""Folder of a recording with true labels, as ``make_minesim.py --layout recording`` writes it."""


@dataclass
class CheckResult:
    """Scores of one or several recordings.

    Attributes:
        held_out: Against clouds that did not make the labels.
        truth: Against the truth.
        of_truth: The truth itself against the clouds of its frames: what no label can surpass.
        seconds: CPU time of labels that use all clouds [s].
        clouds: Clouds that they were made from.
        frames: Frames that were labeled.
    """

    held_out: HeldOutScore = field(default_factory=HeldOutScore)
    truth: TruthScore = field(default_factory=TruthScore)
    of_truth: HeldOutScore = field(default_factory=HeldOutScore)
    seconds: float = 0.0
    clouds: int = 0
    frames: int = 0


def check_labels(
    drive: Drive, mapping: ClassMapping | None, options: LabelOptions, *, hold_out: int
) -> CheckResult:
    """Make labels of a drive and score them.

    Args:
        drive: The drive.
        mapping: Classes of its sources.
        options: How labels are made.
        hold_out: Every cloud with this period is held out, away from the labeled frames.

    Raises:
        ValueError: If a file is invalid.
    """
    result = CheckResult()
    reader = SweepReader(drive, options, mapping)
    for clip in cut_clips(drive, options):
        _check_held_out(result, reader, clip, options, hold_out)
        if (drive.root / TRUTH).is_dir():
            _check_truth(result, reader, clip, options)
    return result


def _check_held_out(
    result: CheckResult, reader: SweepReader, clip: Clip, options: LabelOptions, hold_out: int
) -> None:
    held = [frame for frame in clip.frames if frame % hold_out == hold_out // 2]
    used = [frame for frame in clip.context if frame % hold_out != hold_out // 2]
    if not held or not used:
        return
    clip_map = build_clip_map(reader, used, options)
    nothing = Sweep(np.zeros((0, 4), np.float32), np.zeros(0, np.uint8), np.zeros(0, bool))
    for frame in held:
        labels = label_frame(clip_map, nothing, reader.drive.world_from_lidar[frame], None)
        points = reader.read(frame).points[:, :3]
        result.held_out += score_held_out(labels.occupancy, points)


def _check_truth(
    result: CheckResult, reader: SweepReader, clip: Clip, options: LabelOptions
) -> None:
    start = time.process_time()
    clip_map = build_clip_map(reader, clip.context, options)
    result.clouds += len(clip.context)
    result.seconds += time.process_time() - start
    folder = reader.drive.root / TRUTH
    for frame in clip.frames:
        stem = reader.drive.stems[frame]
        if (folder / layout.relative_path(layout.OCCUPANCY, stem)).is_file():
            _check_frame(result, reader, clip_map, frame, folder)


def _check_frame(
    result: CheckResult, reader: SweepReader, clip_map: ClipMap, frame: int, folder: Path
) -> None:
    drive, stem = reader.drive, reader.drive.stems[frame]
    view = None
    if drive.pixel_from_lidar is not None:
        view = View(drive.pixel_from_lidar, open_image(drive.images[stem]).size)
    start = time.process_time()
    sweep = reader.read(frame)
    labels = label_frame(clip_map, sweep, drive.world_from_lidar[frame], view)
    result.seconds += time.process_time() - start
    result.frames += 1
    rows = read_occupancy_rows(folder / layout.relative_path(layout.OCCUPANCY, stem))
    truth = occupancy_from_rows(rows)
    result.truth += score_truth(labels.occupancy, truth)
    result.of_truth += score_held_out(truth, sweep.points[:, :3])
    elevation = read_elevation_m(folder / layout.relative_path(layout.ELEVATION, stem))
    depth = None
    if labels.depth is not None:
        true_depth = read_depth_m(folder / layout.relative_path(layout.DEPTHS, stem))
        depth = depth_from_units(labels.depth), true_depth
    result.truth += score_images((elevation_from_units(labels.elevation), elevation), depth)


def table(result: CheckResult) -> str:
    """Format the scores, a line each."""
    lines = []
    held, truth = result.held_out, result.truth
    if held.ended:
        lines += [
            _line("observed voxels of the grid", held.observed, held.voxels),
            _line("held-out points in occupied or unobserved voxels",
                  held.in_occupied + held.in_unobserved, held.ended),
            _line("held-out points in occupied voxels", held.in_occupied, held.ended),
            _line("held-out rays through occupied voxels", held.passed_through, held.followed),
            _line("  of these, more than half a voxel deep", held.passed_deep, held.followed),
        ]  # fmt: skip
    if truth.both:
        occupied = truth.both + truth.only_label
        lines += [
            _line("IoU with the truth, observed voxels", truth.both, occupied + truth.only_truth),
            _line("classes that agree with the truth", truth.same_class, truth.both),
            _line("occupied voxels far from any of the truth", truth.stray, occupied),
            _line(
                "points in occupied voxels of the truth",
                result.of_truth.in_occupied,
                result.of_truth.ended,
            ),
            _line(
                "rays through occupied voxels of the truth",
                result.of_truth.passed_through,
                result.of_truth.followed,
            ),
            _line(
                "  of these, more than half a voxel deep",
                result.of_truth.passed_deep,
                result.of_truth.followed,
            ),
        ]
    if truth.cells:
        lines.append(f"{'elevation error [cm]':<52}{100 * truth.elevation_m / truth.cells:>9.2f}")
    if truth.pixels:
        lines.append(_line("depth error", truth.depth_share, truth.pixels))
    if result.frames:
        per_frame = result.seconds / result.clouds
        lines.append(f"{'CPU time per cloud, all labels included [s]':<52}{per_frame:>9.3f}")
    return "\n".join(lines)


def _line(name: str, part: int | float, whole: int) -> str:
    return f"{name:<52}{100 * part / whole:>7.2f} %"
