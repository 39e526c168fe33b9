"""Poses of the LiDAR, under either reading of ``Tr_velo_to_imu``.

The release uses that matrix in two ways: as the fixed transform from LiDAR to IMU, and as the
LiDAR's pose in the world. The first does not turn during a drive and the second does, which tells
one from the other; a config may also say.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64
from mmengine.logging import MMLogger

from dataset import layout
from dataset.formats import read_calibration, read_vehicle_info

POSE_RULES = ("auto", "extrinsic", "pose")

_FRAMES_READ = 8  # Frames a drive, spread over it, that are compared to find its rule.
_SAME_ROTATION = 1e-4  # Largest difference of a matrix entry; printed digits, not motion.


def same_rotation(
    matrix: Float64[np.ndarray, "4 4"], matrices: Float64[np.ndarray, "n 4 4"]
) -> Bool[np.ndarray, " n"]:
    """Which matrices have the rotation of another, but for the digits that are printed."""
    difference = np.abs(matrices[:, :3, :3] - matrix[:3, :3])
    return difference.max(axis=(1, 2)) < _SAME_ROTATION


class LidarPoses:
    """Gives world_from_lidar of any frame.

    Args:
        data_root: The data set.
        rule: "extrinsic": Tr_velo_to_imu is imu_from_lidar, and the pose is that of
            ``vehicle_infos``; "pose": it is world_from_lidar itself; "auto": found scene by scene.
        frames_of_scene: Stems of each drive's frames in the order of time.

    Raises:
        ValueError: If the rule is unknown.
    """

    def __init__(
        self, data_root: str | Path, rule: str, frames_of_scene: Mapping[str, Sequence[str]]
    ) -> None:
        if rule not in POSE_RULES:
            raise ValueError(f"unknown pose_rule '{rule}'; there are {POSE_RULES}")
        self._root = Path(data_root)
        if rule != "auto":
            self.rule_of_scene = dict.fromkeys(frames_of_scene, rule)
            return
        self.rule_of_scene = {
            scene: self._find_rule(stems) for scene, stems in frames_of_scene.items()
        }
        counts = dict(Counter(self.rule_of_scene.values()))
        MMLogger.get_current_instance().info(
            f"Tr_velo_to_imu of '{self._root}' read as, in scenes: {counts} (extrinsic: LiDAR to "
            "IMU; pose: LiDAR to world); pose_rule forces one"
        )

    def world_from_lidar(self, stem: str, scene: str) -> Float64[np.ndarray, "4 4"]:
        """Pose of the LiDAR at a frame; float64, for world coordinates may be millions of metres.

        Raises:
            ValueError: If a file of the frame is not as its format says.
        """
        matrix = self._matrix(stem)
        if self.rule_of_scene[scene] == "pose":
            return matrix
        path = self._root / layout.relative_path(layout.VEHICLE_INFOS, stem)
        return read_vehicle_info(path).world_from_imu @ matrix

    def _find_rule(self, stems: Sequence[str]) -> str:
        picked = np.unique(np.linspace(0, len(stems) - 1, _FRAMES_READ).round().astype(int))
        matrices = np.stack([self._matrix(stems[i]) for i in picked])
        return "extrinsic" if same_rotation(matrices[0], matrices).all() else "pose"

    def _matrix(self, stem: str) -> Float64[np.ndarray, "4 4"]:
        path = self._root / layout.relative_path(layout.CALIBS, stem)
        matrix = read_calibration(path).imu_or_world_from_lidar
        if matrix is None:
            raise ValueError(
                f"{path} (frame {stem}): expected a line 'Tr_velo_to_imu: 12 numbers', found none. "
                "Poses and accumulated sweeps need it; add it, or do without them"
            )
        return matrix
