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


def _reinterpreted(dtype: str, columns: int) -> Callable[[Frames, str], None]:
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


def _transpose(p2: np.ndarray) -> np.ndarray:
    return np.column_stack([p2[:, :3].T, p2[:, 3]])


_IMAGE_OR_CALIB = (layout.IMAGES, layout.CALIBS)
_DEPTH_OR_CALIB = (layout.DEPTHS, layout.CALIBS)


def _single() -> list[Fault]:  # noqa: PLR0915
    """Faults of one frame."""
    faults: list[Fault] = []

    def add(kind: str, severity: str, folder: str, plant: Callable[[Frames, str], None]) -> None:
        faults.append(Fault(kind, f"{kind}, {severity}" if severity else kind, (folder,), plant))

    occ = layout.OCCUPANCY
    add("labels mirrored", "y", occ, edit_rows(lambda r: _flip(r, 1)))
    add("labels mirrored", "x", occ, edit_rows(lambda r: _flip(r, 0)))
    for step in (-2, -1, 1, 2):
        add("labels off in z", f"{step:+}", occ, edit_rows(lambda r, s=step: r + [0, 0, s, 0]))
    for step in (-5, -3, -2, 2, 3, 5):
        add("labels off in x", f"{step:+}", occ, edit_rows(lambda r, s=step: r + [s, 0, 0, 0]))
    for step in (-3, 2, 3, 5):
        add("labels off in y", f"{step:+}", occ, edit_rows(lambda r, s=step: r + [0, s, 0, 0]))
    add("labels of another scene", "", occ, of_elsewhere(occ))
    add("labels of the next frame", "", occ, of_neighbor(occ))
    add("labels of the next frame", "swapped", occ, swap(occ))
    add("classes permuted", "10 and 11", occ, edit_rows(_classes({10: 11, 11: 10})))
    add("classes permuted", "reversed", occ, edit_rows(_classes({i: 12 - i for i in range(1, 12)})))
    add(
        "classes permuted",
        "one up",
        occ,
        edit_rows(_classes({i: i % 11 + 1 for i in range(1, 12)})),
    )
    add("classes permuted", "one down", occ, edit_rows(_classes({i: i - 1 for i in range(1, 12)})))
    add("labels with x and y swapped", "", occ, edit_rows(lambda r: r[:, [1, 0, 2, 3]]))
    add("labels cut in half", "", occ, edit_rows(lambda r: r[: len(r) // 2]))

    for degrees in (2, 3, 5):
        add("cloud turned", f"yaw {degrees}°", layout.CLOUDS, turn_cloud("z", degrees))
    for degrees in (-2, 2, 5):
        add("cloud turned", f"pitch {degrees}°", layout.CLOUDS, turn_cloud("y", degrees))
    for degrees in (2, 5):
        add("cloud turned", f"roll {degrees}°", layout.CLOUDS, turn_cloud("x", degrees))
    clouds = layout.CLOUDS
    add("cloud cut in half", "rows", clouds, edit_cloud(lambda p: p[: len(p) // 2]))
    add("cloud cut in half", "left side", clouds, edit_cloud(lambda p: p[p[:, 1] > 0]))
    add("cloud of the next frame", "", clouds, of_neighbor(clouds))
    add("cloud of the next frame", "swapped", clouds, swap(clouds))
    add("cloud of another scene", "", clouds, of_elsewhere(clouds))
    add("cloud mirrored", "", clouds, edit_cloud(lambda p: p * [1, -1, 1, 1]))
    add("cloud raised", "0.5 m", clouds, edit_cloud(lambda p: p + [0, 0, 0.5, 0]))
    add("cloud in other units", "mm", clouds, edit_cloud(lambda p: p * [1000, 1000, 1000, 1]))
    add("intensity in another unit", "0 to 1", clouds, _intensity(lambda i: i / 255))
    add("intensity in another unit", "16 bit", clouds, _intensity(lambda i: i * 256))
    add("intensity in another unit", "none", clouds, _intensity(lambda i: 0 * i))
    for dtype, columns in (("<f4", 5), ("<f4", 6), ("<f4", 8), ("<f8", 4), ("<f2", 4)):
        add("cloud in another layout", f"{columns} columns of {dtype}", clouds,
            _reinterpreted(dtype, columns))  # fmt: skip
    add("empty cloud", "", clouds, edit_cloud(lambda p: p[:1]))

    images = layout.IMAGES
    add("image of another scene", "", images, of_elsewhere(images))
    add("image of the next frame", "", images, of_neighbor(images))
    add("image flipped", "left to right", images, edit_pixels(images, lambda p: p[:, ::-1]))
    add("image upside down", "flipped", images, edit_pixels(images, lambda p: p[::-1]))
    add("image upside down", "turned", images, edit_pixels(images, lambda p: p[::-1, ::-1]))
    add("image in BGR", "", images, edit_pixels(images, lambda p: p[..., ::-1]))
    add("image halved", "", images, edit_pixels(images, lambda p: p[::2, ::2]))
    add("image black", "", images, edit_pixels(images, np.zeros_like))

    for degrees in (1, 2, 5, 10):
        add("camera turned", f"yaw {degrees}°", layout.CALIBS, turn_camera("y", degrees))
        add("camera turned", f"pitch {degrees}°", layout.CALIBS, turn_camera("x", degrees))
        add("camera turned", f"roll {degrees}°", layout.CALIBS, turn_camera("z", degrees))
    calibs = layout.CALIBS
    add(
        "camera moved",
        "0.5 m",
        calibs,
        edit_matrix("Tr_velo_to_cam", lambda m: m + np.eye(3, 4, 3) * 0.5),
    )
    add("camera inverted", "", calibs, edit_matrix("Tr_velo_to_cam", _invert))
    add("intrinsics wrong", "0", calibs, edit_matrix("P2", lambda m: 0 * m))
    add("intrinsics wrong", "transposed", calibs, edit_matrix("P2", _transpose))
    add(
        "intrinsics wrong",
        "focal length × 1.2",
        calibs,
        edit_matrix(
            "P2",
            lambda m: (
                np.diag([1.2, 1.2, 1]) @ m
                - [[0, 0, 0.2 * m[0, 2], 0], [0, 0, 0.2 * m[1, 2], 0], [0] * 4]
            ),
        ),
    )
    add(
        "intrinsics wrong",
        "of another size",
        calibs,
        edit_matrix("P2", lambda m: np.diag([2, 2, 1]) @ m),
    )

    poses = layout.VEHICLE_INFOS
    add("pose as wxyz", "", poses, edit_vehicle(_to_wxyz))
    add("velocity in km/h", "", poses, edit_vehicle(_to_kmh))
    add("pose swapped", "", poses, swap_poses)
    add("pose mirrored", "", poses, edit_vehicle(_mirror_pose))
    for meters in (2, 5, 50):
        add("pose off", f"{meters} m", poses, edit_vehicle(_move(1, meters)))
    add("pose of the next frame", "", poses, of_neighbor(poses))

    depths = layout.DEPTHS
    add("depth flipped", "left to right", depths, edit_pixels(depths, lambda p: p[:, ::-1]))
    add("depth flipped", "upside down", depths, edit_pixels(depths, lambda p: p[::-1]))
    for columns in (10, 20, 40):
        add(
            "depth shifted",
            f"{columns} px",
            depths,
            edit_pixels(depths, lambda p, c=columns: _roll_pixels(p, c)),
        )
    add("depth of the next frame", "", depths, of_neighbor(depths))
    add("depth of another scene", "", depths, of_elsewhere(depths))
    add("depth in other units", "half", depths, edit_pixels(depths, lambda p: _scale(p, 0.5)))
    add(
        "depth in other units",
        "5 % too far",
        depths,
        edit_pixels(depths, lambda p: _scale(p, 1.05)),
    )
    add("depth empty", "", depths, edit_pixels(depths, np.zeros_like))

    elevation = layout.ELEVATION
    add(
        "elevation flipped",
        "left to right",
        elevation,
        edit_pixels(elevation, lambda p: p[:, ::-1]),
    )
    add("elevation flipped", "far to near", elevation, edit_pixels(elevation, lambda p: p[::-1]))
    for meters in (-0.3, 0.3, 1.0):
        add(
            "elevation off",
            f"{meters:+} m",
            elevation,
            edit_pixels(elevation, lambda p, m=meters: _shift_height(p, m)),
        )
    add("elevation of another scene", "", elevation, of_elsewhere(elevation))
    add("elevation of the next frame", "", elevation, of_neighbor(elevation))

    maps = layout.LOCAL_MAPS
    add("local map of another scene", "", maps, of_elsewhere(maps))
    add("local map of the next frame", "", maps, of_neighbor(maps))
    add(
        "local map mirrored",
        "",
        maps,
        edit_points(maps, 3, lambda p: p * np.array([1, -1, 1], "f4")),
    )
    add(
        "local map raised",
        "2.65 m",
        maps,
        edit_points(maps, 3, lambda p: p + np.array([0, 0, 2.65], "f4")),
    )
    add("local map cut in half", "", maps, edit_points(maps, 3, lambda p: p[: len(p) // 2]))

    captions = layout.CAPTIONS
    add("caption of another scene", "", captions, of_elsewhere(captions))
    add("caption blank", "", captions, edit_bytes(captions, lambda _: b" \n"))

    add("file cut", "image", images, edit_bytes(images, lambda b: b[: len(b) // 2]))
    add("file cut", "depth", depths, edit_bytes(depths, lambda b: b[: len(b) // 2]))
    add("file cut", "labels", occ, edit_bytes(occ, lambda b: b[: len(b) // 2 + 1]))
    add("file cut", "cloud", clouds, edit_bytes(clouds, lambda b: b[:-3]))
    add("file empty", "pose", poses, edit_bytes(poses, lambda _: b""))
    for folder in (clouds, images, calibs, depths, maps):
        add("file missing", folder, folder, remove(folder))
    return faults


def _everywhere() -> list[Fault]:
    """Faults that are the same in all frames."""
    chosen = {
        "labels mirrored, y": (layout.OCCUPANCY,),
        "labels off in z, +1": (layout.OCCUPANCY,),
        "classes permuted, one up": (layout.OCCUPANCY,),
        "classes permuted, 10 and 11": (layout.OCCUPANCY,),
        "cloud turned, yaw 3°": (layout.CLOUDS,),
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
    single = {fault.name: fault for fault in _single()}
    return [
        Fault(single[name].kind, f"{name}, all frames", folders, single[name].plant, True)
        for name, folders in chosen.items()
    ]


FAULTS = {fault.name: fault for fault in (*_single(), *_everywhere())}
"""All faults by name."""


def plant(fault: Fault, frames: Frames, stem: str) -> None:
    """Plant a fault in one frame, or in all."""
    for target in frames.stems if fault.everywhere else [stem]:
        fault.plant(frames, target)
