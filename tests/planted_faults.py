"""Plants named faults in a copy of a data set in the UnScenes3D layout.

Each fault is a function that rewrites the files of one frame. It reads the clean data set and
writes the copy, so that the same fault can be planted in all frames.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dataset import layout

Edit = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Frames:
    """A clean data set and its copy.

    Attributes:
        clean: Root of the clean data set, which is only read.
        copy: Root of the copy, which is changed.
        scenes: Stems of each scene, in time order; labeled frames only.
    """

    clean: Path
    copy: Path
    scenes: Sequence[Sequence[str]]

    @property
    def stems(self) -> list[str]:
        """All stems."""
        return [stem for scene in self.scenes for stem in scene]

    def neighbor(self, stem: str) -> str:
        """The next frame of the same scene, or the previous one at the end."""
        scene = next(scene for scene in self.scenes if stem in scene)
        index = list(scene).index(stem)
        return scene[index + 1] if index + 1 < len(scene) else scene[index - 1]

    def elsewhere(self, stem: str) -> str:
        """A frame of the next scene."""
        number, scene = next((n, s) for n, s in enumerate(self.scenes) if stem in s)
        other = self.scenes[(number + 1) % len(self.scenes)]
        return other[list(scene).index(stem) % len(other)]

    def source(self, folder: str, stem: str) -> Path:
        """Clean file of a frame."""
        return self.clean / layout.relative_path(folder, stem)

    def target(self, folder: str, stem: str) -> Path:
        """File of a frame in the copy."""
        return self.copy / layout.relative_path(folder, stem)


@dataclass(frozen=True)
class Fault:
    """A named fault.

    Attributes:
        kind: What is wrong, such as "labels mirrored".
        name: Kind and severity.
        folders: Folders that a finding may name.
        plant: Rewrites the files of one frame.
        everywhere: Whether it is planted in all frames.
    """

    kind: str
    name: str
    folders: tuple[str, ...]
    plant: Callable[[Frames, str], None]
    everywhere: bool = False


def edit_rows(change: Edit) -> Callable[[Frames, str], None]:
    """Change the rows of an occupancy label; rows that leave the grid are dropped."""

    def plant(frames: Frames, stem: str) -> None:
        rows = change(np.load(frames.source(layout.OCCUPANCY, stem)).astype(np.int64))
        inside = ((rows[:, :3] >= 0) & (rows[:, :3] < layout.LABEL_GRID.shape)).all(axis=1)
        np.save(frames.target(layout.OCCUPANCY, stem), rows[inside])

    return plant


def edit_points(folder: str, columns: int, change: Edit) -> Callable[[Frames, str], None]:
    """Change the points of a cloud or a local map; the result is written as it is."""

    def plant(frames: Frames, stem: str) -> None:
        points = np.fromfile(frames.source(folder, stem), "<f4").reshape(-1, columns)
        np.ascontiguousarray(change(points)).tofile(frames.target(folder, stem))

    return plant


def edit_cloud(change: Edit) -> Callable[[Frames, str], None]:
    """Change a cloud."""
    return edit_points(layout.CLOUDS, 4, lambda points: change(points).astype("<f4"))


def edit_pixels(folder: str, change: Edit) -> Callable[[Frames, str], None]:
    """Change the pixels of an image, a depth or an elevation label."""

    def plant(frames: Frames, stem: str) -> None:
        pixels = cv2.imread(str(frames.source(folder, stem)), cv2.IMREAD_UNCHANGED)
        changed = np.ascontiguousarray(change(pixels))
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if folder == layout.IMAGES else []
        cv2.imwrite(str(frames.target(folder, stem)), changed, quality)

    return plant


def edit_matrix(key: str, change: Edit) -> Callable[[Frames, str], None]:
    """Change one matrix of a calibration."""

    def plant(frames: Frames, stem: str) -> None:
        lines = []
        for line in frames.source(layout.CALIBS, stem).read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(":")
            if name == key:
                matrix = change(np.array(text.split(), float).reshape(3, -1))
                text = " ".join(f"{value:.12e}" for value in matrix.flat)
            lines.append(f"{name}: {text}")
        frames.target(layout.CALIBS, stem).write_text("\n".join(lines), encoding="utf-8")

    return plant


def edit_vehicle(change: Callable[[np.ndarray, np.ndarray], None]) -> Callable[[Frames, str], None]:
    """Change pose (x y z qx qy qz qw) and motion (vx vy vz ax ay az) in place."""

    def plant(frames: Frames, stem: str) -> None:
        pose, motion = _vehicle(frames, stem)
        change(pose, motion)
        _write_vehicle(frames, stem, pose, motion)

    return plant


def edit_bytes(folder: str, change: Callable[[bytes], bytes]) -> Callable[[Frames, str], None]:
    """Change the bytes of a file."""

    def plant(frames: Frames, stem: str) -> None:
        frames.target(folder, stem).write_bytes(change(frames.source(folder, stem).read_bytes()))

    return plant


def remove(folder: str) -> Callable[[Frames, str], None]:
    """Remove a file."""
    return lambda frames, stem: frames.target(folder, stem).unlink()


def of_neighbor(folder: str) -> Callable[[Frames, str], None]:
    """Replace a file by that of the next frame."""
    return lambda frames, stem: _copy(frames, folder, frames.neighbor(stem), stem)


def of_elsewhere(folder: str) -> Callable[[Frames, str], None]:
    """Replace a file by that of a frame of another scene."""
    return lambda frames, stem: _copy(frames, folder, frames.elsewhere(stem), stem)


def swap(folder: str) -> Callable[[Frames, str], None]:
    """Swap the files of a frame and the next one."""

    def plant(frames: Frames, stem: str) -> None:
        other = frames.neighbor(stem)
        _copy(frames, folder, other, stem)
        _copy(frames, folder, stem, other)

    return plant


def swap_poses(frames: Frames, stem: str) -> None:
    """Swap the poses of a frame and the next one; the timestamps stay."""
    other = frames.neighbor(stem)
    (pose, motion), (next_pose, next_motion) = _vehicle(frames, stem), _vehicle(frames, other)
    _write_vehicle(frames, stem, next_pose, motion)
    _write_vehicle(frames, other, pose, next_motion)


def rotation(axis: str, degrees: float) -> np.ndarray:
    """Rotation (3, 3) about an axis of the LiDAR or the camera."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrices = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return np.array(matrices[axis])


def turn_cloud(axis: str, degrees: float) -> Callable[[Frames, str], None]:
    """Rotate a cloud."""
    turn = rotation(axis, degrees)
    return edit_cloud(lambda p: np.column_stack([p[:, :3] @ turn.T, p[:, 3:]]))


def turn_camera(axis: str, degrees: float) -> Callable[[Frames, str], None]:
    """Rotate the camera about an axis of its own: x right, y down, z forward."""
    return edit_matrix("Tr_velo_to_cam", lambda m: rotation(axis, degrees) @ m)


def _copy(frames: Frames, folder: str, source: str, target: str) -> None:
    frames.target(folder, target).write_bytes(frames.source(folder, source).read_bytes())


def _vehicle(frames: Frames, stem: str) -> tuple[np.ndarray, np.ndarray]:
    text = frames.source(layout.VEHICLE_INFOS, stem).read_text(encoding="utf-8")
    pose, motion = (np.array(line.split()[1:], float) for line in text.splitlines())
    return pose, motion


def _write_vehicle(frames: Frames, stem: str, pose: np.ndarray, motion: np.ndarray) -> None:
    lines = (" ".join([stem, *(f"{value:.12e}" for value in row)]) for row in (pose, motion))
    frames.target(layout.VEHICLE_INFOS, stem).write_text("\n".join(lines), encoding="utf-8")


def _classes(mapping: dict[int, int]) -> Edit:
    table = np.arange(12)
    for old, new in mapping.items():
        table[old] = new
    return lambda rows: np.column_stack([rows[:, :3], table[rows[:, 3]]])


def _flip(rows: np.ndarray, axis: int) -> np.ndarray:
    flipped = rows.copy()
    flipped[:, axis] = layout.LABEL_GRID.shape[axis] - 1 - rows[:, axis]
    return flipped


def _intensity(change: Edit) -> Callable[[Frames, str], None]:
    return edit_cloud(lambda p: np.column_stack([p[:, :3], change(p[:, 3])]))


def rewritten(dtype: str, columns: int) -> Callable[[Frames, str], None]:
    """Write a cloud in another type or with more columns, cut to whole rows of 16 bytes."""

    def change(points: np.ndarray) -> np.ndarray:
        points = points[: len(points) // 8 * 8]
        extra = [np.arange(len(points)) % 64, np.linspace(0, 0.1, len(points))] * 2
        return np.column_stack([points, *extra[: columns - 4]]).astype(dtype)

    return edit_points(layout.CLOUDS, 4, change)


def _roll_pixels(pixels: np.ndarray, columns: int) -> np.ndarray:
    shifted = np.zeros_like(pixels)
    shifted[:, columns:] = pixels[:, :-columns]
    return shifted


def _shift_height(pixels: np.ndarray, meters: float) -> np.ndarray:
    valid = (pixels > 0) & (pixels <= layout.ELEVATION_WRAPPED)
    moved = np.clip(pixels - meters * layout.ELEVATION_UNITS_PER_M, 1, 65_535)
    return np.where(valid, moved, pixels).astype(np.uint16)


def _scale(pixels: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(pixels * factor, 0, 65_535).astype(np.uint16)


def _move(axis: int, meters: float) -> Callable[[np.ndarray, np.ndarray], None]:
    def change(pose: np.ndarray, _: np.ndarray) -> None:
        pose[axis] += meters

    return change


def _to_wxyz(pose: np.ndarray, _: np.ndarray) -> None:
    pose[3:] = pose[[6, 3, 4, 5]]


def _to_kmh(_: np.ndarray, motion: np.ndarray) -> None:
    motion[:3] *= 3.6


def _mirror_pose(pose: np.ndarray, _: np.ndarray) -> None:
    pose[[1, 3, 5]] *= -1


def _invert(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.inv(np.vstack([matrix, [0, 0, 0, 1]]))[:3]


_DOUBLE = np.diag([2.0, 2.0, 1.0])


def _zoom(p2: np.ndarray) -> np.ndarray:
    zoomed = p2.copy()
    zoomed[[0, 1], [0, 1]] *= 1.2
    return zoomed


def _transpose(p2: np.ndarray) -> np.ndarray:
    return np.column_stack([p2[:, :3].T, p2[:, 3]])


_IMAGE_OR_CALIB = (layout.IMAGES, layout.CALIBS)
_DEPTH_OR_CALIB = (layout.DEPTHS, layout.CALIBS)

Entry = tuple[str, str, Callable[[Frames, str], None]]
"""Kind, severity, and what plants it."""


def _label_faults() -> list[Entry]:
    def moved(axis: int, steps: int) -> Entry:
        step = steps * np.eye(4, dtype=np.int64)[axis]
        return f"labels off in {'xyz'[axis]}", f"{steps:+}", edit_rows(lambda rows: rows + step)

    def permuted(severity: str, mapping: dict[int, int]) -> Entry:
        return "classes permuted", severity, edit_rows(_classes(mapping))

    folder = layout.OCCUPANCY
    return [
        ("labels mirrored", "y", edit_rows(lambda rows: _flip(rows, 1))),
        ("labels mirrored", "x", edit_rows(lambda rows: _flip(rows, 0))),
        *(moved(2, steps) for steps in (-2, -1, 1, 2)),
        *(moved(0, steps) for steps in (-5, -3, -2, 2, 3, 5)),
        *(moved(1, steps) for steps in (-3, 2, 3, 5)),
        ("labels of another scene", "", of_elsewhere(folder)),
        ("labels of the next frame", "", of_neighbor(folder)),
        ("labels of the next frame", "swapped", swap(folder)),
        permuted("10 and 11", {10: 11, 11: 10}),
        permuted("reversed", {i: 12 - i for i in range(1, 12)}),
        permuted("one up", {i: i % 11 + 1 for i in range(1, 12)}),
        permuted("one down", {i: i - 1 for i in range(1, 12)}),
        ("labels with x and y swapped", "", edit_rows(lambda rows: rows[:, [1, 0, 2, 3]])),
        ("labels cut in half", "", edit_rows(lambda rows: rows[: len(rows) // 2])),
        ("file cut", "labels", edit_bytes(folder, lambda data: data[: len(data) // 2 + 1])),
    ]


def _cloud_faults() -> list[Entry]:
    folder = layout.CLOUDS
    turns = [("z", 2), ("z", 3), ("z", 5), ("y", -2), ("y", 2), ("y", 5), ("x", 2), ("x", 5)]
    layouts = [("<f4", 5), ("<f4", 6), ("<f4", 8), ("<f8", 4), ("<f2", 4)]
    return [
        *(("cloud turned", f"{axis} {deg}°", turn_cloud(axis, deg)) for axis, deg in turns),
        ("cloud cut in half", "rows", edit_cloud(lambda points: points[: len(points) // 2])),
        ("cloud cut in half", "left side", edit_cloud(lambda points: points[points[:, 1] > 0])),
        ("cloud of the next frame", "", of_neighbor(folder)),
        ("cloud of the next frame", "swapped", swap(folder)),
        ("cloud of another scene", "", of_elsewhere(folder)),
        ("cloud mirrored", "", edit_cloud(lambda points: points * [1, -1, 1, 1])),
        ("cloud raised", "0.5 m", edit_cloud(lambda points: points + 0.5 * np.eye(4)[2])),
        ("cloud in other units", "mm", edit_cloud(lambda points: points * [1e3, 1e3, 1e3, 1])),
        ("intensity in another unit", "0 to 1", _intensity(lambda values: values / 255)),
        ("intensity in another unit", "16 bit", _intensity(lambda values: values * 256)),
        ("intensity in another unit", "none", _intensity(lambda values: 0 * values)),
        *(
            ("cloud in another layout", f"{columns} columns of {dtype}", rewritten(dtype, columns))
            for dtype, columns in layouts
        ),
        ("empty cloud", "", edit_cloud(lambda points: points[:1])),
        ("file cut", "cloud", edit_bytes(folder, lambda data: data[:-3])),
        ("file missing", "cloud", remove(folder)),
    ]


def _image_faults() -> list[Entry]:
    folder = layout.IMAGES
    return [
        ("image of another scene", "", of_elsewhere(folder)),
        ("image of the next frame", "", of_neighbor(folder)),
        ("image flipped", "left to right", edit_pixels(folder, lambda image: image[:, ::-1])),
        ("image upside down", "flipped", edit_pixels(folder, lambda image: image[::-1])),
        ("image upside down", "turned", edit_pixels(folder, lambda image: image[::-1, ::-1])),
        ("image in BGR", "", edit_pixels(folder, lambda image: image[..., ::-1])),
        ("image halved", "", edit_pixels(folder, lambda image: image[::2, ::2])),
        ("image black", "", edit_pixels(folder, np.zeros_like)),
        ("file cut", "image", edit_bytes(folder, lambda data: data[: len(data) // 2])),
        ("file missing", "image", remove(folder)),
    ]


def _calibration_faults() -> list[Entry]:
    def moved(matrix: np.ndarray) -> np.ndarray:
        return matrix + 0.5 * np.eye(3, 4, 3)

    return [
        *(
            ("camera turned", f"{name} {degrees}°", turn_camera(axis, degrees))
            for name, axis in (("yaw", "y"), ("pitch", "x"), ("roll", "z"))
            for degrees in (1, 2, 5, 10)
        ),
        ("camera moved", "0.5 m", edit_matrix("Tr_velo_to_cam", moved)),
        ("camera inverted", "", edit_matrix("Tr_velo_to_cam", _invert)),
        ("intrinsics wrong", "0", edit_matrix("P2", lambda p2: 0 * p2)),
        ("intrinsics wrong", "transposed", edit_matrix("P2", _transpose)),
        ("intrinsics wrong", "focal length × 1.2", edit_matrix("P2", _zoom)),
        ("intrinsics wrong", "of another size", edit_matrix("P2", lambda p2: _DOUBLE @ p2)),
        ("file missing", "calibration", remove(layout.CALIBS)),
    ]


def _pose_faults() -> list[Entry]:
    folder = layout.VEHICLE_INFOS
    return [
        ("pose as wxyz", "", edit_vehicle(_to_wxyz)),
        ("velocity in km/h", "", edit_vehicle(_to_kmh)),
        ("pose swapped", "", swap_poses),
        ("pose mirrored", "", edit_vehicle(_mirror_pose)),
        *(("pose off", f"{meters} m", edit_vehicle(_move(1, meters))) for meters in (2, 5, 50)),
        ("pose of the next frame", "", of_neighbor(folder)),
        ("file empty", "pose", edit_bytes(folder, lambda _: b"")),
    ]


def _depth_faults() -> list[Entry]:
    folder = layout.DEPTHS

    def shifted(columns: int) -> Entry:
        plant = edit_pixels(folder, lambda depth: _roll_pixels(depth, columns))
        return "depth shifted", f"{columns} px", plant

    return [
        ("depth flipped", "left to right", edit_pixels(folder, lambda depth: depth[:, ::-1])),
        ("depth flipped", "upside down", edit_pixels(folder, lambda depth: depth[::-1])),
        *(shifted(columns) for columns in (10, 20, 40)),
        ("depth of the next frame", "", of_neighbor(folder)),
        ("depth of another scene", "", of_elsewhere(folder)),
        ("depth in other units", "half", edit_pixels(folder, lambda depth: _scale(depth, 0.5))),
        ("depth in other units", "5 % too far", edit_pixels(folder, lambda d: _scale(d, 1.05))),
        ("depth empty", "", edit_pixels(folder, np.zeros_like)),
        ("file cut", "depth", edit_bytes(folder, lambda data: data[: len(data) // 2])),
        ("file missing", "depth", remove(folder)),
    ]


def _other_faults() -> list[Entry]:
    elevation, maps, captions = layout.ELEVATION, layout.LOCAL_MAPS, layout.CAPTIONS

    def raised(meters: float) -> Entry:
        plant = edit_pixels(elevation, lambda heights: _shift_height(heights, meters))
        return "elevation off", f"{meters:+} m", plant

    mirror, up = np.array([1, -1, 1], "<f4"), np.array([0, 0, 2.65], "<f4")
    return [
        ("elevation flipped", "left to right", edit_pixels(elevation, lambda e: e[:, ::-1])),
        ("elevation flipped", "far to near", edit_pixels(elevation, lambda e: e[::-1])),
        *(raised(meters) for meters in (-0.3, 0.3, 1.0)),
        ("elevation of another scene", "", of_elsewhere(elevation)),
        ("elevation of the next frame", "", of_neighbor(elevation)),
        ("local map of another scene", "", of_elsewhere(maps)),
        ("local map of the next frame", "", of_neighbor(maps)),
        ("local map mirrored", "", edit_points(maps, 3, lambda points: points * mirror)),
        ("local map raised", "2.65 m", edit_points(maps, 3, lambda points: points + up)),
        ("local map cut in half", "", edit_points(maps, 3, lambda p: p[: len(p) // 2])),
        ("file missing", "local map", remove(maps)),
        ("caption of another scene", "", of_elsewhere(captions)),
        ("caption blank", "", edit_bytes(captions, lambda _: b" \n")),
    ]


_EVERYWHERE = {
    "labels mirrored, y": (layout.OCCUPANCY,),
    "labels off in z, +1": (layout.OCCUPANCY,),
    "classes permuted, one up": (layout.OCCUPANCY,),
    "classes permuted, 10 and 11": (layout.OCCUPANCY,),
    "cloud turned, z 3°": (layout.CLOUDS,),
    "intensity in another unit, 0 to 1": (layout.CLOUDS,),
    "image flipped, left to right": _IMAGE_OR_CALIB,
    "image upside down, turned": _IMAGE_OR_CALIB,
    "image in BGR": (layout.IMAGES,),
    "camera turned, yaw 2°": _DEPTH_OR_CALIB,
    "camera turned, pitch 5°": _DEPTH_OR_CALIB,
    "pose as wxyz": (layout.VEHICLE_INFOS,),
    "velocity in km/h": (layout.VEHICLE_INFOS,),
    "depth flipped, left to right": _DEPTH_OR_CALIB,
    "elevation flipped, left to right": (layout.ELEVATION,),
    "elevation off, +0.3 m": (layout.ELEVATION,),
}
"""Faults that are also planted in all frames, and the folders that a finding may name."""


def _all_faults() -> dict[str, Fault]:
    folders = {
        layout.OCCUPANCY: _label_faults(),
        layout.CLOUDS: _cloud_faults(),
        layout.IMAGES: _image_faults(),
        layout.CALIBS: _calibration_faults(),
        layout.VEHICLE_INFOS: _pose_faults(),
        layout.DEPTHS: _depth_faults(),
    }
    others = _other_faults()
    starts = {
        "elevation": layout.ELEVATION,
        "caption": layout.CAPTIONS,
        "local map": layout.LOCAL_MAPS,
        "file missing": layout.LOCAL_MAPS,
    }
    entries = [(folder, entry) for folder, found in folders.items() for entry in found]
    entries += [
        (next(starts[s] for s in starts if entry[0].startswith(s)), entry) for entry in others
    ]
    faults = {}
    for folder, (kind, severity, planter) in entries:
        name = f"{kind}, {severity}" if severity else kind
        faults[name] = Fault(kind, name, (folder,), planter)
    for name, allowed in _EVERYWHERE.items():
        fault = faults[name]
        everywhere = Fault(fault.kind, f"{name}, all frames", allowed, fault.plant, True)
        faults[everywhere.name] = everywhere
    return faults


FAULTS = _all_faults()
"""All faults by name."""


def plant(fault: Fault, frames: Frames, stem: str) -> None:
    """Plant a fault in one frame, or in all."""
    for target in frames.stems if fault.everywhere else [stem]:
        fault.plant(frames, target)
