"""How the vehicle moved through each scene: no jumps, and one reading of ``Tr_velo_to_imu``."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float64

from dataset import layout
from dataset.check.findings import FrameReport
from dataset.inventory import time_order
from dataset.poses import same_rotation
from dataset.splits import frames_by_scene

MAX_SPEED_MPS = 40.0
MAX_TURN_DEGPS = 90.0
"""Faster than this is no vehicle but a wrong pose."""
EXTRINSIC, POSE = "extrinsic", "pose"


def check_motion(reports: Mapping[str, FrameReport], scene_of: Mapping[str, str]) -> dict[str, str]:
    """Note jumps of the poses in the reports of their frames.

    Args:
        reports: By stem; grow by what is found.
        scene_of: The drive of each frame; frames of none are left out.

    Returns:
        How ``Tr_velo_to_imu`` is to be read in each scene that has it: "extrinsic" or "pose".
    """
    rules = {}
    timed = {stem: scene for stem, scene in scene_of.items() if np.isfinite(time_order(stem)[0])}
    for scene, stems in frames_by_scene(timed).items():
        frames = [reports[stem] for stem in stems if stem in reports]
        posed = [frame for frame in frames if frame.world_from_imu is not None]
        poses = [frame.world_from_imu for frame in posed if frame.world_from_imu is not None]
        _note_jumps(posed, poses, layout.VEHICLE_INFOS)
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
            _note_jumps(placed, matrices, layout.CALIBS)
    return rules


def find_rule(frames: Sequence[FrameReport], matrices: Float64[np.ndarray, "n 4 4"]) -> str:
    """The reading of ``Tr_velo_to_imu`` in a scene; warns of frames that break it.

    Where most frames turn alike the matrix is an extrinsic, and the others are wrong.
    """
    alike = [same_rotation(matrices[i], matrices) for i in (0, len(frames) // 2, -1)]
    commonest = max(alike, key=np.sum)
    if commonest.sum() * 2 <= len(frames) and len(frames) > 1:
        return POSE
    for frame, is_alike in zip(frames, commonest, strict=True):
        if not is_alike:
            message = "Tr_velo_to_imu turns otherwise than in most frames of the scene"
            frame.warn("tr_velo_to_imu", layout.CALIBS, message)
    return EXTRINSIC


def jumps(
    times_s: Float64[np.ndarray, " n"], poses: Float64[np.ndarray, "n 4 4"]
) -> Bool[np.ndarray, " steps"]:
    """Which steps from one pose to the next no vehicle could make."""
    seconds = np.maximum(np.diff(times_s), 1e-3)
    metres = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    turned = np.einsum("nji,njk->nik", poses[:-1, :3, :3], poses[1:, :3, :3])
    cosine = np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1)
    degrees = np.degrees(np.arccos(cosine))
    return (metres > MAX_SPEED_MPS * seconds) | (degrees > MAX_TURN_DEGPS * seconds)


def frames_to_blame(is_jump: Bool[np.ndarray, " steps"]) -> list[int]:
    """The frames that explain the jumps between neighbours.

    A frame with a jump on either side is to blame for both; of a single jump, the frame after it,
    and at the beginning the first.
    """
    into, out = np.append(False, is_jump), np.append(is_jump, False)
    is_blamed = into & out
    for step in np.flatnonzero(is_jump):
        if not is_blamed[step] and not is_blamed[step + 1]:
            is_blamed[step + 1 if step else 0] = True
    return np.flatnonzero(is_blamed).tolist()


def _note_jumps(
    frames: Sequence[FrameReport], poses: Sequence[Float64[np.ndarray, "4 4"]], folder: str
) -> None:
    if len(frames) < 2:
        return
    times_s = np.array([float(frame.stem) for frame in frames])
    for index in frames_to_blame(jumps(times_s, np.stack(poses))):
        message = (
            f"the pose jumps: faster than {MAX_SPEED_MPS:g} m/s or {MAX_TURN_DEGPS:g} °/s between "
            "this frame and its neighbour in the scene"
        )
        frames[index].error("pose_jump", folder, message)
