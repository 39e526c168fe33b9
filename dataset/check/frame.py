"""Checks of one frame: each file is read once and compared with the others."""

import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Integer, UInt8, UInt16

from dataset import formats, layout
from dataset.check.agreement import (
    depth_agreement,
    elevation_agreement,
    elevation_map_agreement,
    label_map_agreement,
    map_agreement,
    occupancy_agreement,
    road_ahead,
)
from dataset.check.calibration import check_calibration
from dataset.check.findings import FrameReport
from dataset.check.images import thumbnail, view_fits
from dataset.check.registration import (
    depth_registration,
    elevation_registration,
    voxel_registration,
)
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
    rows: Integer[np.ndarray, "N 4"] | None = None  # Without those of unobserved voxels.
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
    check_view(frame, report)
    check_occupancy(frame, report)
    check_depth(frame, report)
    check_elevation(frame, report)
    check_map(frame, report)
    check_texts(frame, report)
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
            continue
        if isinstance(found[field], np.ndarray):
            report.checksums[folder] = zlib.crc32(np.ascontiguousarray(found[field]).data)
    masks = root / layout.VISIBILITY / f"{report.stem}.npz"
    if "rows" in found and masks.is_file():
        found["rows"] = _observed(found["rows"], masks, report)
    return FrameContent(**found)


def _observed(
    rows: Integer[np.ndarray, "N 4"], masks: Path, report: FrameReport
) -> Integer[np.ndarray, "M 4"]:
    """Return the rows of voxels that were observed, according to the frame's masks."""
    try:
        with np.load(masks, allow_pickle=False) as archive:
            observed = archive["mask_lidar"]
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        report.error(_FORMAT, layout.VISIBILITY, f"expected masks in an .npz, found {error}")
        return rows
    if observed.shape != layout.LABEL_GRID.shape or observed.dtype != bool:
        found = f"{observed.dtype} of shape {observed.shape}"
        expected = f"mask_lidar as bool of shape {layout.LABEL_GRID.shape}"
        report.error(_FORMAT, layout.VISIBILITY, f"expected {expected}, found {found}")
        return rows
    return rows[observed[tuple(rows[:, :3].T)]]


def check_image(frame: FrameContent, report: FrameReport) -> None:
    """Warn of an image of a single color."""
    if frame.image is None:
        return
    report.image_size = (frame.image.shape[0], frame.image.shape[1])
    if is_blank(frame.image):
        report.warn("image", layout.IMAGES, "the image has a single color; is it blank?")
        return
    report.thumbnail = thumbnail(frame.image)


def check_cloud(frame: FrameContent, report: FrameReport) -> None:
    """Measure the number of points, their range and their intensity."""
    if frame.cloud is None:
        return
    report.measure("points", float(len(frame.cloud)))
    if len(frame.cloud):
        distance = np.linalg.norm(frame.cloud[:, :3].astype(np.float64), axis=1)
        report.measure("range_m", float(np.quantile(distance, 0.99)))
        report.measure("intensity", float(frame.cloud[:, 3].max()))


def check_view(frame: FrameContent, report: FrameReport) -> None:
    """Measure how well the points fit the image."""
    if report.thumbnail is None or frame.cloud is None or frame.calibration is None:
        return
    if layout.CALIBS not in report.blamed():
        assert frame.image is not None, "a thumbnail needs an image"
        report.view_fits = view_fits(frame.image, frame.cloud, frame.calibration)


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
    report.compare("road_ahead", road_ahead(frame.rows))
    if frame.local_map is not None:
        report.compare("label_near_map", label_map_agreement(frame.rows, frame.local_map))
    if frame.cloud is not None and len(frame.rows):
        report.compare("points_near_occupied", occupancy_agreement(frame.cloud, frame.rows))
        found = voxel_registration(frame.cloud, frame.rows)
        _compare_all(report, ("voxels_labeled", "label_gain"), found)


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
        report.compare("depth_agrees", share)
        found = depth_registration(frame.cloud, frame.calibration, frame.depth_m)
        _compare_all(report, ("depth_close", "depth_gain"), found)


def check_elevation(frame: FrameContent, report: FrameReport) -> None:
    """Measure the shares of labeled and wrapped cells, and compare heights with the points."""
    if frame.elevation is None:
        return
    wrapped = frame.elevation > layout.ELEVATION_WRAPPED
    report.measure("elevation_labeled", float(((frame.elevation > 0) & ~wrapped).mean()))
    report.measure("elevation_wrapped", float(wrapped.mean()))
    elevation_m = formats.elevation_from_units(frame.elevation)
    if frame.local_map is not None:
        found = elevation_map_agreement(elevation_m, frame.local_map)
        report.compare("elevation_near_map", found)
    if frame.cloud is not None:
        report.compare("elevation_agrees", elevation_agreement(frame.cloud, elevation_m))
        names = ("elevation_close", "elevation_offset_m", "elevation_gain")
        _compare_all(report, names, elevation_registration(frame.cloud, elevation_m))


def check_map(frame: FrameContent, report: FrameReport) -> None:
    """Measure the number of map points, and compare the local map with the point cloud."""
    if frame.local_map is None:
        return
    report.measure("map_points", float(len(frame.local_map)))
    if frame.cloud is not None:
        report.compare("points_near_map", map_agreement(frame.cloud, frame.local_map))


def check_texts(frame: FrameContent, report: FrameReport) -> None:
    """Warn of a blank caption; check the timestamp of the pose."""
    report.caption = frame.caption
    if frame.caption == "":
        report.warn("caption", layout.CAPTIONS, "the caption is blank")
    if frame.vehicle is None:
        return
    report.world_from_imu = frame.vehicle.world_from_imu
    report.velocity_mps = frame.vehicle.state.velocity_mps
    late_s = abs(frame.vehicle.stamp_s - _seconds(report.stem, frame.vehicle.stamp_s))
    if late_s > LATE_S:
        message = f"its timestamp is off by {late_s:.3f} s; is it the file of another frame?"
        report.error("stamp", layout.VEHICLE_INFOS, message)


def _compare_all(report: FrameReport, names: Sequence[str], values: Sequence[float] | None) -> None:
    """Store several measurements, unless there were too few points for them."""
    if values is not None:
        for name, value in zip(names, values, strict=True):
            report.compare(name, value)


def _seconds(stem: str, otherwise: float) -> float:
    """Return the timestamp of a stem, or ``otherwise`` if the stem is not a number."""
    try:
        return float(stem)
    except ValueError:
        return otherwise
