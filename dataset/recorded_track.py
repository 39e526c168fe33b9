"""When and where the frames of a recording were taken: times, poses, scenes and key frames."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from dataset.inventory import time_order
from dataset.recorded_poses import POSES, read_poses
from utils.shortlist import shortlist

_GAP_S = 2.0
"""Frames further apart than this do not belong to the same scene."""
_FASTEST_MPS = 60.0
"""Neither do those that only a faster vehicle could connect."""
_JITTER_S = 0.01
"""Stamps of sensors jitter."""

logger = logging.getLogger(__name__)


class Track(NamedTuple):
    """The frames of a recording that have a pose, in time order.

    Attributes:
        stems: Stem of each frame.
        times_s: Time of each frame [s].
        world_from_cloud: Pose of each frame's cloud, in the LiDAR's own frame.
    """

    stems: tuple[str, ...]
    times_s: Float64[np.ndarray, " F"]
    world_from_cloud: Float64[np.ndarray, "F 4 4"]


def read_track(root: Path, stems: Collection[str]) -> Track:
    """Read the poses of the frames of a recording; frames without a pose are warned of.

    Args:
        root: Folder of the recording.
        stems: Its frames.

    Raises:
        FileNotFoundError: If there is no ``poses.txt``.
        ValueError: If it is invalid, in other units or has none of the frames, or a stem is not a
            time.
    """
    path = root / POSES
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} not found: expected the pose of each frame. Estimate them with "
            "tools/estimate_poses.py"
        )
    poses = read_poses(path)
    posed = sorted(poses.keys() & set(stems), key=time_order)
    if not posed:
        raise ValueError(
            f"{path}: expected poses of the frames, found none of their stems: the first column "
            "must be the name of a cloud"
        )
    times_s = times_of(root, posed)
    if len(posed) < len(stems):
        without = sorted(set(stems) - poses.keys(), key=time_order)
        logger.warning(
            "left out: %d of %d frames of '%s' without a pose (%s)", len(without), len(stems), root,
            shortlist(without, most=5),
        )  # fmt: skip
    track = Track(tuple(posed), times_s, np.stack([poses[stem] for stem in posed]))
    _check_speed(path, track)
    return track


def _check_speed(path: Path, track: Track) -> None:
    """Reject poses by which most frames are faster than any vehicle: they are in other units."""
    if len(track.stems) < 2:
        return
    moved_m = np.linalg.norm(np.diff(track.world_from_cloud[:, :3, 3], axis=0), axis=1)
    speed = float(np.median(moved_m / np.maximum(np.diff(track.times_s), _JITTER_S)))
    if speed > _FASTEST_MPS:
        raise ValueError(
            f"{path}: expected positions in meters and names in seconds, found a vehicle at "
            f"{speed:.0f} m/s: correct the unit"
        )


def times_of(root: Path, stems: Sequence[str]) -> Float64[np.ndarray, " F"]:
    """Return the time of each frame [s], which its stem states.

    Args:
        root: Folder of the recording, for messages.
        stems: The frames.

    Raises:
        ValueError: If a stem is not a time.
    """
    wrong = [stem for stem in stems if not _is_time(stem)]
    if wrong:
        raise ValueError(
            f"{root}: expected the time in seconds as name of each frame, found {shortlist(wrong)}"
        )
    return np.array([float(stem) for stem in stems], np.float64)


def scenes_of(
    times_s: Float64[np.ndarray, " F"], positions_m: Float64[np.ndarray, "F 3"] | None = None
) -> list[range]:
    """Return the frames of each scene: a gap in time begins a new one, and so does a jump.

    Args:
        times_s: Time of each frame [s], in order.
        positions_m: Position of each frame [m]; None: not known.
    """
    duration = np.diff(times_s)
    is_gap = duration > _GAP_S
    if positions_m is not None:
        distance = np.linalg.norm(np.diff(positions_m, axis=0), axis=1)
        is_gap |= distance > _FASTEST_MPS * np.maximum(duration, 0.05)
    ends = [*(np.flatnonzero(is_gap) + 1).tolist(), len(times_s)]
    return [range(*bounds) for bounds in zip([0, *ends[:-1]], ends, strict=True)]


def key_frames(times_s: Float64[np.ndarray, " F"], scene: range, every_s: float) -> list[int]:
    """Return the first frame of a scene, and each that is due after the key frame before."""
    keys = [scene.start]
    for frame in scene[1:]:
        if times_s[frame] - times_s[keys[-1]] > every_s - _JITTER_S:
            keys.append(frame)
    return keys


def _is_time(stem: str) -> bool:
    try:
        return bool(np.isfinite(float(stem)))
    except ValueError:
        return False
