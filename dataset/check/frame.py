"""Checks of one frame: each file is read once and compared with the others."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Integer, UInt8, UInt16

from dataset import formats, layout
from dataset.check.agreement import (
    depth_agreement,
    elevation_agreement,
    map_agreement,
    occupancy_agreement,
)
from dataset.check.calibration import check_calibration
from dataset.check.findings import FrameReport
from dataset.inventory import path_of
from dataset.lost_sensors import is_blank
from utils.labels import UNSCENES3D

LATE_S = 0.1
"""A timestamp farther than this from that of the frame belongs to another frame [s]."""
_FORMAT = "format"


@dataclass(frozen=True)
class FrameContent:
    """Content of the files of one frame; None for missing and unreadable files."""

    image: UInt8[np.ndarray, "H W 3"] | None = None
    cloud: Float32[np.ndarray, "P 4"] | None = None
    calibration: dict[str, Float64[np.ndarray, "4 4"]] | None = None
    rows: Integer[np.ndarray, "N 4"] | None = None
    depth_m: Float32[np.ndarray, "h w"] | None = None
    elevation: UInt16[np.ndarray, "rows cols"] | None = None
    local_map: Float32[np.ndarray, "M 3"] | None = None
    vehicle: formats.VehicleInfo | None = None
    caption: str | None = None


_READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    layout.IMAGES: ("image", formats.read_image),
    layout.CLOUDS: ("cloud", formats.read_cloud),
    layout.CALIBS: ("calibration", formats.read_calibration_matrices),
    layout.OCCUPANCY: ("rows", formats.read_occupancy_rows),
    layout.DEPTHS: ("depth_m", formats.read_depth_m),
    layout.ELEVATION: ("elevation", formats.read_elevation_units),
    layout.LOCAL_MAPS: ("local_map", formats.read_local_map),
    layout.VEHICLE_INFOS: ("vehicle", formats.read_vehicle_info),
    layout.CAPTIONS: ("caption", formats.read_caption),
}
"""Field of ``FrameContent`` and reader of each folder."""


def check_frame(root: Path, stem: str, folders: Iterable[str]) -> FrameReport:
    """Read and check the files of one frame.

    Args:
        root: Folder of the data set.
        stem: Stem of the frame.
        folders: Folders with a file of the frame.
    """
    report = FrameReport(stem)
    frame = read_frame(root, folders, report)
    check_image(frame, report)
    check_cloud(frame, report)
    check_calibration(frame.calibration, frame.cloud, report)
    check_occupancy(frame, report)
    check_depth(frame, report)
    check_elevation(frame, report)
    check_texts(frame, report)
    if frame.cloud is not None and frame.local_map is not None:
        _measure(report, "points_near_map", map_agreement(frame.cloud, frame.local_map))
    return report


def read_frame(root: Path, folders: Iterable[str], report: FrameReport) -> FrameContent:
    """Read the files; each file that violates its format adds an error."""
    found = {}
    for folder in folders:
        field, reader = _READERS[folder]
        path = path_of(root, folder, report.stem)
        try:
            found[field] = reader(path)
        except (ValueError, OSError) as error:
            message = str(error).removeprefix(f"{path} (frame {report.stem}): ")
            report.error(_FORMAT, folder, message)
    return FrameContent(**found)


def check_image(frame: FrameContent, report: FrameReport) -> None:
    """Warn of an image of a single color."""
    if frame.image is None:
        return
    report.image_size = (frame.image.shape[0], frame.image.shape[1])
    if is_blank(frame.image):
        report.warn("image", layout.IMAGES, "the image has a single color; is it blank?")


def check_cloud(frame: FrameContent, report: FrameReport) -> None:
    """Measure the number of points and their range."""
    if frame.cloud is None:
        return
    report.measure("points", float(len(frame.cloud)))
    if len(frame.cloud):
        distance = np.linalg.norm(frame.cloud[:, :3], axis=1)
        report.measure("range_m", float(np.quantile(distance, 0.99)))


def check_occupancy(frame: FrameContent, report: FrameReport) -> None:
    """Count the classes, warn of duplicate voxels, and compare the voxels with the points."""
    if frame.rows is None:
        return
    report.voxels = np.bincount(frame.rows[:, 3], minlength=UNSCENES3D.num_classes)
    report.measure("voxels", float(len(frame.rows)))
    numbers = np.ravel_multi_index(tuple(frame.rows[:, :3].T), layout.LABEL_GRID.shape)
    duplicates = len(numbers) - len(np.unique(numbers))
    if duplicates:
        message = f"{duplicates} of {len(numbers)} rows repeat a voxel; the last row counts"
        report.warn("voxels_twice", layout.OCCUPANCY, message)
    if frame.cloud is not None and len(frame.rows):
        _measure(report, "points_near_occupied", occupancy_agreement(frame.cloud, frame.rows))


def check_depth(frame: FrameContent, report: FrameReport) -> None:
    """Check the size, measure the share of labeled pixels, and compare depths with the points."""
    if frame.depth_m is None:
        return
    if report.image_size not in (None, frame.depth_m.shape):
        rows, columns = frame.depth_m.shape
        message = f"{columns}×{rows} pixels, which is not the size of the image"
        report.error("depth_size", layout.DEPTHS, message)
        return
    labeled = frame.depth_m[frame.depth_m > 0]
    report.measure("depth_labeled", labeled.size / frame.depth_m.size)
    if frame.cloud is not None and frame.calibration is not None:
        share = depth_agreement(frame.cloud, frame.calibration, frame.depth_m)
        _measure(report, "depth_agrees", share)


def check_elevation(frame: FrameContent, report: FrameReport) -> None:
    """Measure the shares of labeled and wrapped cells, and compare heights with the points."""
    if frame.elevation is None:
        return
    wrapped = frame.elevation > layout.ELEVATION_WRAPPED
    report.measure("elevation_labeled", float(((frame.elevation > 0) & ~wrapped).mean()))
    report.measure("elevation_wrapped", float(wrapped.mean()))
    if frame.cloud is not None:
        elevation_m = formats.elevation_from_units(frame.elevation)
        _measure(report, "elevation_agrees", elevation_agreement(frame.cloud, elevation_m))


def check_texts(frame: FrameContent, report: FrameReport) -> None:
    """Warn of a blank caption; check the timestamp of the pose."""
    if frame.caption == "":
        report.warn("caption", layout.CAPTIONS, "the caption is blank")
    if frame.vehicle is None:
        return
    report.world_from_imu = frame.vehicle.world_from_imu
    late_s = abs(frame.vehicle.stamp_s - _seconds(report.stem, frame.vehicle.stamp_s))
    if late_s > LATE_S:
        message = f"its timestamp is off by {late_s:.3f} s; is it the file of another frame?"
        report.error("stamp", layout.VEHICLE_INFOS, message)


def _measure(report: FrameReport, name: str, share: float | None) -> None:
    """Store a share, unless there were too few points to measure it."""
    if share is not None:
        report.measure(name, share)


def _seconds(stem: str, otherwise: float) -> float:
    """Return the timestamp of a stem, or ``otherwise`` if the stem is not a number."""
    try:
        return float(stem)
    except ValueError:
        return otherwise
