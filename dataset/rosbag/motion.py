"""Poses over time, interpolated, and the tree of transforms between frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64

from dataset.rosbag.bag import NANOSECONDS
from utils.quaternions import rotation_matrices

LARGEST_GAP_NS = NANOSECONDS
"""Poses farther apart than this are not interpolated between."""
_NEARLY_PARALLEL = 1 - 1e-9

Stamps = Int64[np.ndarray, " n"]
Matrices = Float64[np.ndarray, "n 4 4"]
Known = Bool[np.ndarray, " n"]


@dataclass(frozen=True)
class Trajectory:
    """Poses parent_from_child in time order.

    Attributes:
        stamps_ns: Their times, increasing.
        positions_m: Their translations.
        quaternions: Their rotations (x, y, z, w), unit length.
    """

    stamps_ns: Stamps
    positions_m: Float64[np.ndarray, "n 3"]
    quaternions: Float64[np.ndarray, "n 4"]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, Sequence[float]]], where: str) -> "Trajectory":
        """Sort poses; of those with the same stamp, the first counts.

        Args:
            rows: Stamp, and x, y, z, qx, qy, qz, qw.
            where: Their topic, for errors.

        Raises:
            ValueError: If a pose is not finite, or a quaternion is far from unit length.
        """
        stamps, first = np.unique(np.array([row[0] for row in rows], np.int64), return_index=True)
        values = np.array([row[1] for row in rows], np.float64).reshape(-1, 7)[first]
        lengths = np.linalg.norm(values[:, 3:], axis=1)
        bad = ~np.isfinite(values).all(axis=1) | ~(np.abs(lengths - 1) < 0.1)
        if bad.any():
            raise ValueError(
                f"{where}: expected finite poses with unit quaternions, found "
                f"{values[bad][0].tolist()} and {bad.sum() - 1} more like it"
            )
        return cls(stamps, values[:, :3], values[:, 3:] / lengths[:, None])

    def at(self, stamps_ns: Stamps) -> tuple[Matrices, Known]:
        """Interpolate: positions linearly, rotations spherically.

        Returns:
            The poses, and which are known: between two poses that are at most 1 s apart. Others
            are those of the nearest end.
        """
        last = len(self.stamps_ns) - 1
        after = np.clip(np.searchsorted(self.stamps_ns, stamps_ns), min(1, last), last)
        before = np.maximum(after - 1, 0)
        start, end = self.stamps_ns[before], self.stamps_ns[after]
        share = np.clip((stamps_ns - start) / np.maximum(end - start, 1), 0.0, 1.0)
        inside = (stamps_ns >= self.stamps_ns[0]) & (stamps_ns <= self.stamps_ns[-1])
        exact = (stamps_ns == start) | (stamps_ns == end)
        positions = self.positions_m[before] + share[:, None] * (
            self.positions_m[after] - self.positions_m[before]
        )
        quaternions = _slerp(self.quaternions[before], self.quaternions[after], share)
        return _matrices(positions, quaternions), inside & (exact | (end - start <= LARGEST_GAP_NS))


class TransformTree:
    """Frames and the transforms between them, static and over time.

    A transform that was published once is static: it was latched.

    Args:
        name: The bag, for errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._rows: dict[str, tuple[str, list[tuple[int, Sequence[float]]]]] = {}
        self._static: set[str] = set()
        self._trajectories: dict[str, Trajectory] = {}

    def add(self, message: Any, *, is_static: bool) -> None:
        """Add the transforms of a message."""
        for transform in message.transforms:
            child = frame_name(transform.child_frame_id)
            parent = frame_name(transform.header.frame_id)
            stamp = transform.header.stamp
            stamp_ns = stamp.sec * NANOSECONDS + stamp.nanosec
            row = (stamp_ns, pose_values(transform.transform))
            if child not in self._rows or self._rows[child][0] != parent or is_static:
                self._rows[child] = (parent, [])
            self._rows[child][1].append(row)
            if is_static:
                self._static.add(child)

    @property
    def frames(self) -> list[str]:
        """All frames, by name."""
        return sorted(self._rows.keys() | {parent for parent, _ in self._rows.values()})

    def at(self, dst: str, src: str, stamps_ns: Stamps) -> tuple[Matrices, Known]:
        """Return dst_from_src at each stamp, and which are known.

        Raises:
            ValueError: If the frames are not connected.
        """
        dst, src = frame_name(dst), frame_name(src)
        eye = np.broadcast_to(np.eye(4), (len(stamps_ns), 4, 4)).copy()
        if dst == src:
            return eye, np.ones(len(stamps_ns), bool)
        dst_chain, src_chain = self._to_root(dst), self._to_root(src)
        if dst_chain[-1] != src_chain[-1]:
            raise ValueError(
                f"{self._name}: expected a transform from the frame '{src}' to '{dst}', found "
                f"none; /tf and /tf_static have {', '.join(self.frames) or 'no frame'}. State it "
                "with --calib, or record /tf_static with the bag"
            )
        common = next(frame for frame in src_chain if frame in dst_chain)
        from_src, knows_src = self._up(src_chain, common, stamps_ns)
        from_dst, knows_dst = self._up(dst_chain, common, stamps_ns)
        return np.linalg.inv(from_dst) @ from_src, knows_src & knows_dst

    def _to_root(self, frame: str) -> list[str]:
        chain = [frame]
        while chain[-1] in self._rows:
            parent = self._rows[chain[-1]][0]
            if parent in chain:
                raise ValueError(
                    f"{self._name}: expected a tree of frames, found a circle of the transforms of "
                    f"{', '.join(chain)}. State the pose of the camera with --calib"
                )
            chain.append(parent)
        return chain

    def _up(self, chain: list[str], top: str, stamps_ns: Stamps) -> tuple[Matrices, Known]:
        found = np.broadcast_to(np.eye(4), (len(stamps_ns), 4, 4)).copy()
        known = np.ones(len(stamps_ns), bool)
        for child in chain[: chain.index(top)]:
            matrices, knows = self._edge(child, stamps_ns)
            found, known = matrices @ found, known & knows
        return found, known

    def _edge(self, child: str, stamps_ns: Stamps) -> tuple[Matrices, Known]:
        rows = self._rows[child][1]
        if child not in self._trajectories:
            self._trajectories[child] = Trajectory.of(rows, f"{self._name}, transform of '{child}'")
        matrices, known = self._trajectories[child].at(stamps_ns)
        is_static = child in self._static or len(rows) == 1
        return matrices, np.ones_like(known) if is_static else known


def frame_name(name: str) -> str:
    """Return a frame without the leading slash of old ROS 1 bags."""
    return name.lstrip("/")


def pose_values(pose: Any) -> tuple[float, ...]:
    """Return x, y, z, qx, qy, qz, qw of a Pose or Transform of ROS."""
    place = pose.position if hasattr(pose, "position") else pose.translation
    turn = pose.orientation if hasattr(pose, "orientation") else pose.rotation
    return place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w


def deskewed(
    points: Float[np.ndarray, "P C"],
    times_ns: Int64[np.ndarray, " P"],
    stamp_pose: Float64[np.ndarray, "4 4"],
    unique_ns: Stamps,
    poses: Matrices,
) -> Float[np.ndarray, "P C"]:
    """Move points to where the LiDAR at the stamp of the cloud would have measured them.

    Args:
        points: x, y, z in the frame of the LiDAR at the time of each point; more columns stay.
        times_ns: Time of each point.
        stamp_pose: world_from_lidar at the stamp of the cloud.
        unique_ns: The different times, increasing.
        poses: world_from_lidar at each of them.
    """
    relative = (np.linalg.inv(stamp_pose) @ poses)[np.searchsorted(unique_ns, times_ns)]
    moved = points.copy()
    turned = np.einsum("pij,pj->pi", relative[:, :3, :3], points[:, :3].astype(np.float64))
    moved[:, :3] = turned + relative[:, :3, 3]
    return moved


def _slerp(
    start: Float64[np.ndarray, "n 4"],
    end: Float64[np.ndarray, "n 4"],
    share: Float64[np.ndarray, " n"],
) -> Float64[np.ndarray, "n 4"]:
    cosine = (start * end).sum(axis=1)
    end = np.where(cosine[:, None] < 0, -end, end)  # The shorter of both ways.
    cosine = np.minimum(np.abs(cosine), 1.0)
    angle = np.arccos(cosine)
    sine = np.where(cosine > _NEARLY_PARALLEL, 1.0, np.sin(angle))
    is_near = cosine > _NEARLY_PARALLEL
    left = np.where(is_near, 1 - share, np.sin((1 - share) * angle) / sine)
    right = np.where(is_near, share, np.sin(share * angle) / sine)
    return left[:, None] * start + right[:, None] * end


def _matrices(
    positions_m: Float64[np.ndarray, "n 3"], quaternions: Float64[np.ndarray, "n 4"]
) -> Matrices:
    found = np.broadcast_to(np.eye(4), (len(positions_m), 4, 4)).copy()
    wxyz = torch.from_numpy(quaternions[:, [3, 0, 1, 2]])
    found[:, :3, :3] = rotation_matrices(wxyz).numpy()
    found[:, :3, 3] = positions_m
    return found
