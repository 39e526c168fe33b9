"""LiDAR poses, under either meaning of ``Tr_velo_to_imu``.

The release uses that matrix in two ways: as the fixed transform from LiDAR to IMU, and as the
LiDAR's pose in the world. During a drive, the former is constant and the latter changes, which
tells them apart. A config can also force one.
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

_FRAMES_READ = 8  # Number of evenly spaced frames per drive that decide its rule.
_SAME_ROTATION = 1e-4  # Maximum difference of a matrix entry; covers rounding, not motion.
_SAME_PLACE_M = 0.1  # On a straight drive, only the position of a pose changes.


def same_transform(
    matrix: Float64[np.ndarray, "4 4"], matrices: Float64[np.ndarray, "n 4 4"]
) -> Bool[np.ndarray, " n"]:
    """Return which matrices have the same rotation and translation as another, up to rounding."""
    difference = np.abs(matrices - matrix)
    is_turned = difference[:, :3, :3].max(axis=(1, 2)) >= _SAME_ROTATION
    return ~is_turned & (difference[:, :3, 3].max(axis=1) < _SAME_PLACE_M)


class LidarPoses:
    """Computes world_from_lidar of any frame.

    Args:
        data_root: The data set.
        rule: "extrinsic": Tr_velo_to_imu is imu_from_lidar, and the pose comes from
            ``vehicle_infos``; "pose": it is world_from_lidar itself; "auto": detected per scene.
        frames_of_scene: Stems of each drive's frames in time order.

    Raises:
        ValueError: If the rule is unknown.
    """

    def __init__(
        self, data_root: str | Path, rule: str, frames_of_scene: Mapping[str, Sequence[str]]
    ) -> None:
        if rule not in POSE_RULES:
            raise ValueError(f"unknown pose_rule '{rule}'; known: {POSE_RULES}")
        self._root = Path(data_root)
        if rule != "auto":
            self.rule_of_scene = dict.fromkeys(frames_of_scene, rule)
            return
        self.rule_of_scene = {
            scene: self._find_rule(stems) for scene, stems in frames_of_scene.items()
        }
        counts = dict(Counter(self.rule_of_scene.values()))
        MMLogger.get_current_instance().info(
            f"meaning of Tr_velo_to_imu in '{self._root}', by number of scenes: {counts} "
            "(extrinsic: LiDAR to IMU; pose: LiDAR to world); pose_rule forces one"
        )

    def world_from_lidar(self, stem: str, scene: str) -> Float64[np.ndarray, "4 4"]:
        """Return the LiDAR pose of a frame; float64, as world coordinates can reach 1e6 meters.

        Raises:
            ValueError: If a file of the frame is invalid.
        """
        matrix = self._matrix(stem)
        if self.rule_of_scene[scene] == "pose":
            return matrix
        path = self._root / layout.relative_path(layout.VEHICLE_INFOS, stem)
        return read_vehicle_info(path).world_from_imu @ matrix

    def _find_rule(self, stems: Sequence[str]) -> str:
        picked = np.unique(np.linspace(0, len(stems) - 1, _FRAMES_READ).round().astype(int))
        matrices = np.stack([self._matrix(stems[i]) for i in picked])
        return "extrinsic" if same_transform(matrices[0], matrices).all() else "pose"

    def _matrix(self, stem: str) -> Float64[np.ndarray, "4 4"]:
        path = self._root / layout.relative_path(layout.CALIBS, stem)
        matrix = read_calibration(path).imu_or_world_from_lidar
        if matrix is None:
            raise ValueError(
                f"{path} (frame {stem}): expected a line 'Tr_velo_to_imu: 12 numbers', found none. "
                "Poses and accumulated sweeps need it; add the line, or turn them off"
            )
        return matrix
