"""Records one scene: drives through its world and writes the files of every frame."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int64

from dataset.map_labels import elevation_image, occupancy_rows
from dataset.minesim.sensors.camera import CameraFrame, CameraRenderer
from dataset.minesim.sensors.lidar import Scan, scan
from dataset.minesim.sensors.rig import Rig
from dataset.minesim.sensors.stage import Stage
from dataset.minesim.write.captions import caption
from dataset.minesim.write.labels import ClipMap, accumulate, depth_image, local_map
from dataset.minesim.write.schedule import Frame
from dataset.minesim.write.variation import sensor_sentence
from dataset.minesim.write.writer import Labels, VehicleRecording, write_labels, write_recording
from utils.labels import UNSCENES3D

_LIDAR, _CAMERA, _MAP = range(3)
"""Purpose of each random stream: separate streams keep one from shifting another."""


@dataclass(frozen=True)
class Recorded:
    """Summary of a recorded scene.

    Attributes:
        samples: Stems of the labeled frames.
        sweeps: Stems of the unlabeled frames between them.
        voxels: Number of labeled voxels of each class over all frames, background first.
    """

    samples: tuple[str, ...]
    sweeps: tuple[str, ...]
    voxels: Int64[np.ndarray, "C"]


class Recorder:
    """Records the sensors of the ego vehicle in one scene.

    Args:
        stage: The scene.
        rig: The camera and the LiDAR.
        seed: Random seed of the sensor noise.
        map_voxel_m: Voxel size of the accumulated map, which keeps one point per voxel [m].
    """

    def __init__(
        self, stage: Stage, rig: Rig, seed: tuple[int, ...], *, map_voxel_m: float = 0.1
    ) -> None:
        self._stage = stage
        self._rig = rig
        self._seed = seed
        self._renderer = CameraRenderer(stage, rig.camera)
        map_rng = np.random.default_rng((*seed, _MAP))
        self._clip: ClipMap = accumulate(stage, map_rng, voxel_m=map_voxel_m)

    def record(self, frame: Frame) -> tuple[VehicleRecording, Labels | None]:
        """Record one frame, with labels if it is a sample."""
        drive = self._stage.world.drive
        pose = drive.world_from_vehicle[frame.tick]
        seen = self._renderer.take(pose, self._rng(_CAMERA, frame))
        cloud = scan(
            self._stage,
            pose @ self._rig.vehicle_from_lidar,
            float(drive.time_s[frame.tick]),
            self._rng(_LIDAR, frame),
            model=self._rig.lidar,
        )
        recording = VehicleRecording(
            seen.image,
            cloud.points,
            pose,
            drive.velocity_mps[frame.tick],
            drive.acceleration_mps2[frame.tick],
        )
        return recording, self._labels(pose, seen, cloud) if frame.is_sample else None

    def _labels(
        self, world_from_vehicle: Float[np.ndarray, "4 4"], seen: CameraFrame, cloud: Scan
    ) -> Labels:
        """Make the labels of one frame as for the recorded data."""
        rig = self._rig
        points, label = local_map(self._clip, world_from_vehicle @ rig.vehicle_from_lidar)
        scene = caption(self._stage.world, world_from_vehicle, seen.depth_m, rig.camera)
        own: Float32[np.ndarray, "N 3"] = cloud.points[~cloud.is_dust, :3]
        return Labels(
            occupancy=occupancy_rows(points, label),
            depth=depth_image(np.concatenate([points, own]), seen.depth_m, rig),
            elevation=elevation_image(points),
            local_map=points,
            caption=scene + sensor_sentence(rig),
        )

    def _rng(self, purpose: int, frame: Frame) -> np.random.Generator:
        return np.random.default_rng((*self._seed, purpose, frame.tick))


def write_scene(
    recorder: Recorder,
    frames: tuple[Frame, ...],
    folder: Path,
    rig: Rig,
    on_frame: Callable[[], None],
) -> Recorded:
    """Record frames and write their files below a folder.

    Args:
        recorder: The sensors.
        frames: The frames to record.
        folder: Root of the data set, or a temporary folder with the same tree.
        rig: The camera and the LiDAR.
        on_frame: Called after each frame.
    """
    voxels = np.zeros(UNSCENES3D.num_classes, dtype=np.int64)
    for frame in frames:
        recording, labels = recorder.record(frame)
        write_recording(folder, frame.stem, recording, rig)
        if labels is not None:
            write_labels(folder, frame.stem, labels)
            voxels += np.bincount(labels.occupancy[:, 3], minlength=len(voxels))
        on_frame()
    return Recorded(
        samples=tuple(frame.stem for frame in frames if frame.is_sample),
        sweeps=tuple(frame.stem for frame in frames if not frame.is_sample),
        voxels=voxels,
    )
