"""Tell whether two machines made the same data set, although floating-point results differ.

Each drive has a fingerprint: hashes of its decoded labels and inputs, and a few sums of them. Equal
hashes mean equal values. Another processor or another version of a library may round differently,
which moves a few points and voxels: then hashes differ and the sums agree within ``TOLERANCE``.
Different scenes differ far more.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np

from dataset import layout
from dataset.formats import (
    read_calibration,
    read_cloud,
    read_depth_units,
    read_image,
    read_occupancy_rows,
    read_vehicle_info,
)
from dataset.inventory import path_of, require_folders
from dataset.scene_files import Scene
from dataset.splits import load_scenes
from utils.labels import UNSCENES3D
from utils.parallel import map_in_processes
from utils.shortlist import shortlist
from utils.whole_files import write_whole

TOLERANCE = 0.005
"""Relative difference of a sum between two machines."""
GRAY_TOLERANCE = 0.5
"""Difference of the mean gray level, of 255."""
FEW_VOXELS = 20
"""Difference of the voxels of a class that is small, whatever their number."""

_FOLDERS = (
    *(layout.CALIBS, layout.IMAGES, layout.CLOUDS, layout.OCCUPANCY, layout.DEPTHS),
    layout.VEHICLE_INFOS,
)
_CLASSES = ("background", *UNSCENES3D.class_names[1:])


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of a drive.

    Attributes:
        stems: Hash of the names of the labeled frames.
        labels: Hash of their occupancy labels.
        inputs: Hash of their decoded images, points, depths and poses.
        points: LiDAR points.
        gray: Mean gray level of the images.
        depth_pixels: Pixels with a depth label.
        depth_m: Mean of these labels [m].
        voxels: Labeled voxels of each class, background first.
    """

    stems: str
    labels: str
    inputs: str
    points: int
    gray: float
    depth_pixels: int
    depth_m: float
    voxels: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """How the drives of a data set compare with the expected ones.

    Attributes:
        drives: Drives that are the same, up to rounding.
        same_labels: Those of them with equal labels.
        identical: Those of them with equal labels and inputs.
        different: What differs, by drive; also drives that are missing or not expected.
    """

    drives: int
    same_labels: int
    identical: int
    different: dict[str, str]


def fingerprint_drives(
    root: Path,
    scenes: Mapping[str, Scene],
    *,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Fingerprint]:
    """Compute the fingerprint of each drive.

    Args:
        root: The data set.
        scenes: Its drives, as ``load_scenes`` returns them.
        workers: Number of processes; None for one per core.
        progress: Whether to show a progress bar.

    Raises:
        FileNotFoundError: If a file of a labeled frame is missing.
        ValueError: If a file is invalid.
    """
    require_folders(root, _FOLDERS)
    stems = [scene.samples for scene in scenes.values()]
    found = map_in_processes(
        partial(fingerprint_frames, root), stems, title="verify", workers=workers, progress=progress
    )
    return dict(zip(scenes, found, strict=True))


def fingerprint_frames(root: Path, stems: Sequence[str]) -> Fingerprint:
    """Compute the fingerprint of the frames of a drive."""
    labels, inputs = hashlib.sha256(), hashlib.sha256()
    points = pixels = depth_pixels = 0
    gray = depth_m = 0.0
    voxels = np.zeros(UNSCENES3D.num_classes, np.int64)
    for stem in stems:
        image = read_image(path_of(root, layout.IMAGES, stem))
        cloud, depth, rows = (
            read(root / layout.relative_path(folder, stem))
            for folder, read in (
                (layout.CLOUDS, read_cloud),
                (layout.DEPTHS, read_depth_units),
                (layout.OCCUPANCY, read_occupancy_rows),
            )
        )
        _hash(labels, rows)
        _hash(inputs, image, cloud, depth, *_poses(root, stem))
        points += len(cloud)
        pixels += image.size
        gray += float(image.sum(dtype=np.float64))
        depth_pixels += int(np.count_nonzero(depth))
        depth_m += float(depth.sum(dtype=np.float64)) / layout.DEPTH_UNITS_PER_M
        voxels += np.bincount(rows[:, 3], minlength=len(voxels))
    return Fingerprint(
        stems=hashlib.sha256("\n".join(stems).encode()).hexdigest()[:8],
        labels=labels.hexdigest()[:12],
        inputs=inputs.hexdigest()[:12],
        points=points,
        gray=round(gray / max(1, pixels), 2),
        depth_pixels=depth_pixels,
        depth_m=round(depth_m / max(1, depth_pixels), 3),
        voxels=tuple(voxels.tolist()),
    )


def compare(found: Mapping[str, Fingerprint], expected: Mapping[str, Fingerprint]) -> Comparison:
    """Compare the drives of a data set with the expected ones."""
    different = {name: "is missing" for name in expected if name not in found}
    different |= {name: "is not expected" for name in found if name not in expected}
    same = []
    for name in found.keys() & expected.keys():
        reason = next(_differences(found[name], expected[name]), None)
        if reason is None:
            same.append((found[name], expected[name]))
        else:
            different[name] = reason
    return Comparison(
        drives=len(same),
        same_labels=sum(here.labels == there.labels for here, there in same),
        identical=sum(here == there for here, there in same),
        different=dict(sorted(different.items())),
    )


@dataclass(frozen=True)
class Verified:
    """A data set that is the expected one.

    Attributes:
        title: Name and version of the data.
        hash: Hash of the file of expected fingerprints.
        comparison: How the drives compare with it.
    """

    title: str
    hash: str
    comparison: Comparison

    def describe(self) -> str:
        """Say how the data set compares with the expected one."""
        found = self.comparison
        return (
            f"{self.title}: all {found.drives} drives are the same up to rounding; "
            f"{found.same_labels} have equal labels, {found.identical} of them equal inputs, too"
        )

    def to_json(self) -> dict[str, str | int]:
        """Return plain values."""
        counts = {key: value for key, value in asdict(self.comparison).items() if value != {}}
        return {"title": self.title, "hash": self.hash} | counts


def verify(root: Path, file: Path, *, workers: int | None = None) -> Verified:
    """Compare a data set with fingerprints.

    Args:
        root: The data set.
        file: The expected fingerprints.
        workers: Number of processes; None for one per core.

    Raises:
        FileNotFoundError: If a file of the data set, or the fingerprints, are missing.
        ValueError: If the data set differs from what is expected.
    """
    expected, title = read_fingerprints(file)
    scenes = load_scenes(root)
    if not scenes:
        raise FileNotFoundError(
            f"{root} has no {layout.IMAGESETS}/{layout.SCENE_INFO}, which lists its drives: make "
            f"the data set ({title}) first"
        )
    result = compare(fingerprint_drives(root, scenes, workers=workers), expected)
    if result.different:
        examples = shortlist([f"{name} {why}" for name, why in result.different.items()])
        raise ValueError(
            f"{root} is not the data of {file} ({title}): {len(result.different)} of "
            f"{len(expected)} drives differ: {examples}. Make it again with the same version"
        )
    return Verified(title, hashlib.sha256(file.read_bytes()).hexdigest()[:16], result)


def write_fingerprints(found: Mapping[str, Fingerprint], title: str, path: Path) -> None:
    """Write fingerprints as a table: a comment with a title, the columns, one drive per row."""
    text = io.StringIO()
    text.write(f"# {title}\n")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_columns())
    for name, one in found.items():
        *values, voxels = astuple(one)
        rows.writerow([name, *values, *voxels])
    write_whole(path, text.getvalue())


def read_fingerprints(path: Path) -> tuple[dict[str, Fingerprint], str]:
    """Read the fingerprints of a file, and its title.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"fingerprints {path} not found; tools/verify_dataset.py --write "
            "writes them")  # fmt: skip
    title, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    columns, *rows = list(csv.reader(lines)) or [[]]
    if not title.startswith("# ") or columns != _columns():
        raise ValueError(
            f"{path}: expected a title and the columns {','.join(_columns()[:4])},…, found "
            f"'{title[:40]}' and {columns[:4]}; write it with tools/verify_dataset.py --write"
        )
    try:
        found = {row[0]: _from_row(row[1:]) for row in rows}
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path} is damaged: {error}; copy it again") from error
    return found, title.removeprefix("# ")


def _columns() -> list[str]:
    return ["scene", *(field.name for field in fields(Fingerprint)[:-1]), *_CLASSES]


def _from_row(values: Sequence[str]) -> Fingerprint:
    stems, labels, inputs, points, gray, depth_pixels, depth_m, *voxels = values
    counts = tuple(map(int, voxels))
    if len(counts) != len(_CLASSES):
        raise ValueError(f"expected {len(_CLASSES)} classes, found {len(counts)}")
    sums = (int(points), float(gray), int(depth_pixels), float(depth_m))
    return Fingerprint(stems, labels, inputs, *sums, counts)


def _hash(digest: "hashlib._Hash", *arrays: np.ndarray) -> None:
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)


def _differences(found: Fingerprint, expected: Fingerprint) -> Iterator[str]:
    """Describe what differs by more than rounding, the most telling first."""
    if found.stems != expected.stems:
        yield "has other frames"
    for name, here, there in zip(_CLASSES, found.voxels, expected.voxels, strict=True):
        if abs(here - there) > max(FEW_VOXELS, TOLERANCE * there):
            yield f"has {here} voxels of {name} instead of {there}"
    if abs(found.gray - expected.gray) > GRAY_TOLERANCE:
        yield f"has a mean gray level of {found.gray} instead of {expected.gray}"
    for name in ("points", "depth_pixels", "depth_m"):
        here, there = getattr(found, name), getattr(expected, name)
        if abs(here - there) > TOLERANCE * there:
            yield f"has {name}={here} instead of {there}"


def _poses(root: Path, stem: str) -> Iterator[np.ndarray]:
    calibration = read_calibration(root / layout.relative_path(layout.CALIBS, stem))
    yield calibration.pixel_from_lidar
    yield read_vehicle_info(root / layout.relative_path(layout.VEHICLE_INFOS, stem)).world_from_imu
