"""Checks of the motion in each scene: poses, velocities and the meaning of ``Tr_velo_to_imu``."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float64

from dataset import layout
from dataset.check.findings import FrameReport
from dataset.inventory import time_order
from dataset.poses import same_transform
from dataset.splits import frames_by_scene

MAX_SPEED_MPS = 40.0
MAX_TURN_DEGPS = 90.0
"""Limits of a vehicle: anything faster is a wrong pose."""
EXTRINSIC, POSE = "extrinsic", "pose"
VELOCITY_TOLERANCE = (2.0, 0.3, 0.1)
"""Tolerance of a velocity [m/s], as a share of the speed, and of the positions [m]."""
MAX_GAP_S = 2.0
"""Over longer steps, the velocity may change too much to be compared."""
MIN_UPRIGHT = 0.5
"""Minimum cosine between the up directions of the LiDAR and of the world."""


def check_motion(reports: Mapping[str, FrameReport], scene_of: Mapping[str, str]) -> dict[str, str]:
    """Add an error to the report of each frame whose pose jumps.

    Args:
        reports: Reports by stem, to extend.
        scene_of: Scene of each frame; frames without a scene are not checked.

    Returns:
        The meaning of ``Tr_velo_to_imu`` in each scene that has it: "extrinsic" or "pose".
    """
    rules = {}
    timed = {stem: scene for stem, scene in scene_of.items() if np.isfinite(time_order(stem)[0])}
    for scene, stems in frames_by_scene(timed).items():
        frames = [reports[stem] for stem in stems if stem in reports]
        posed = [frame for frame in frames if frame.world_from_imu is not None]
        poses = [frame.world_from_imu for frame in posed if frame.world_from_imu is not None]
        _report_jumps(posed, poses, layout.VEHICLE_INFOS)
        _report_velocities(posed, poses)
        placed = [frame for frame in frames if frame.imu_or_world_from_lidar is not None]
        matrices = [
            frame.imu_or_world_from_lidar
            for frame in placed
            if frame.imu_or_world_from_lidar is not None
        ]
        if not placed:
            continue
        rules[scene] = find_rule(placed, np.stack(matrices))
        if rules[scene] == POSE:
            _report_jumps(placed, matrices, layout.CALIBS)
        _report_tilted(placed, rules[scene])
    return rules


def find_rule(frames: Sequence[FrameReport], matrices: Float64[np.ndarray, "n 4 4"]) -> str:
    """Return the meaning of ``Tr_velo_to_imu`` in a scene; warn of frames that deviate.

    If most frames have the same matrix, it is an extrinsic, and the others are wrong.
    """
    alike = [same_transform(matrices[i], matrices) for i in (0, len(frames) // 2, -1)]
    majority = max(alike, key=np.sum)
    if majority.sum() * 2 <= len(frames) and len(frames) > 1:
        return POSE
    for frame, is_alike in zip(frames, majority, strict=True):
        if not is_alike:
            message = "Tr_velo_to_imu differs from most frames of the scene"
            frame.warn("tr_velo_to_imu", layout.CALIBS, message)
    return EXTRINSIC


def jumps(
    times_s: Float64[np.ndarray, " n"], poses: Float64[np.ndarray, "n 4 4"]
) -> Bool[np.ndarray, " steps"]:
    """Return which steps between consecutive poses are too fast for a vehicle."""
    seconds = np.maximum(np.diff(times_s), 1e-3)
    meters = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    turned = np.einsum("nji,njk->nik", poses[:-1, :3, :3], poses[1:, :3, :3])
    cosine = np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1)
    degrees = np.degrees(np.arccos(cosine))
    return (meters > MAX_SPEED_MPS * seconds) | (degrees > MAX_TURN_DEGPS * seconds)


def frames_to_blame(is_jump: Bool[np.ndarray, " steps"]) -> list[int]:
    """Return the frames that explain the jumps between neighboring frames.

    A frame with a jump on both sides is to blame for both. For a single jump, it is the frame after
    the jump, or the first frame if the jump is the first step.
    """
    into, out = np.append(False, is_jump), np.append(is_jump, False)
    is_blamed = into & out
    for step in np.flatnonzero(is_jump):
        if not is_blamed[step] and not is_blamed[step + 1]:
            is_blamed[step + 1 if step else 0] = True
    return np.flatnonzero(is_blamed).tolist()


def _report_jumps(
    frames: Sequence[FrameReport], poses: Sequence[Float64[np.ndarray, "4 4"]], folder: str
) -> None:
    if len(frames) < 2:
        return
    times_s = np.array([float(frame.stem) for frame in frames])
    for index in frames_to_blame(jumps(times_s, np.stack(poses))):
        message = (
            f"the pose jumps: faster than {MAX_SPEED_MPS:g} m/s or {MAX_TURN_DEGPS:g} °/s between "
            "this frame and its neighbor in the scene"
        )
        frames[index].error("pose_jump", folder, message)


def velocity_errors_mps(
    times_s: Float64[np.ndarray, " n"],
    poses: Float64[np.ndarray, "n 4 4"],
    velocities_mps: Float64[np.ndarray, "n 3"],
) -> tuple[Float64[np.ndarray, " steps"], Float64[np.ndarray, " steps"]]:
    """Compare the steps between consecutive poses with the velocities at their ends.

    Returns:
        |Δp/Δt − v| of each step, v the mean velocity of both ends in the world, and its limit;
        infinite where the time between the frames is too long.
    """
    seconds = np.maximum(np.diff(times_s), 1e-3)
    moved = np.diff(poses[:, :3, 3], axis=0) / seconds[:, None]
    velocities = np.einsum("nij,nj->ni", poses[:, :3, :3], velocities_mps)
    error = np.linalg.norm(moved - (velocities[:-1] + velocities[1:]) / 2, axis=1)
    mps, share, meters = VELOCITY_TOLERANCE
    limit = np.maximum(mps, share * np.linalg.norm(moved, axis=1)) + meters / seconds
    return error, np.where(seconds > MAX_GAP_S, np.inf, limit)


def _report_velocities(
    frames: Sequence[FrameReport], poses: Sequence[Float64[np.ndarray, "4 4"]]
) -> None:
    """Warn of frames whose pose and velocity contradict each other; no speed at all is unknown."""
    velocities = np.array([frame.velocity_mps or (0.0,) * 3 for frame in frames])
    if len(frames) < 2 or not velocities.any():
        return
    times_s = np.array([float(frame.stem) for frame in frames])
    error, limit = velocity_errors_mps(times_s, np.stack(poses), velocities)
    is_wrong = error > limit
    for index in frames_to_blame(is_wrong):
        if layout.VEHICLE_INFOS in frames[index].blamed():
            continue
        step = max((s for s in (index - 1, index) if 0 <= s < len(error)), key=error.__getitem__)
        message = (
            f"the poses move {error[step]:.1f} m/s differently from the velocity, expected at most "
            f"{limit[step]:.1f} m/s. Check the order of the quaternion (qx qy qz qw), the axes, "
            "and that velocities are in m/s in the body frame"
        )
        frames[index].warn("velocity", layout.VEHICLE_INFOS, message)


def _report_tilted(frames: Sequence[FrameReport], rule: str) -> None:
    """Warn of frames whose LiDAR is not upright in the world."""
    folder = layout.CALIBS if rule == POSE else layout.VEHICLE_INFOS
    for frame in frames:
        matrix = frame.imu_or_world_from_lidar
        if rule == EXTRINSIC and matrix is not None and frame.world_from_imu is not None:
            matrix = frame.world_from_imu @ matrix
        elif rule == EXTRINSIC:
            continue
        if matrix is None or matrix[2, 2] >= MIN_UPRIGHT or folder in frame.blamed():
            continue
        degrees = np.degrees(np.arccos(np.clip(matrix[2, 2], -1, 1)))
        message = (
            f"the LiDAR is tilted by {degrees:.0f}° from the world's z axis, expected at most "
            f"{np.degrees(np.arccos(MIN_UPRIGHT)):.0f}°. Check the order of the quaternion "
            "(qx qy qz qw) and that z is up"
        )
        frame.warn("tilt", folder, message)
