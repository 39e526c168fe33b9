"""Records one scene with the nuScenes rig: each sensor at its own time and ego pose."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int64

from dataset.minesim.scene.drive import RATE_HZ, Drive
from dataset.minesim.scene.world import World
from dataset.minesim.sensors.camera import CameraRenderer
from dataset.minesim.sensors.lidar import measure
from dataset.minesim.sensors.raycast import Caster
from dataset.minesim.sensors.stage import Stage, make_stage
from dataset.minesim.write.nuscenes.labels import (
    RigView,
    occupancy,
    sample_surface,
    seen_by_cameras,
    seen_by_lidar,
    targets,
)
from dataset.minesim.write.nuscenes.plan import LEAD_S, NuScenesOptions, sweep_times_us
from dataset.minesim.write.nuscenes.rig import MOUNTS, RigCamera, ego_car, ego_from_sensor, turn
from dataset.minesim.write.nuscenes.writer import KeyFrameLabels, SceneWriter, Shot
from dataset.nuscenes.index import CAMERAS, LIDAR, pose_matrix
from dataset.nuscenes.labels import BENCHMARKS
from utils.labels import NUSCENES
from utils.quaternions import quaternion_xyzw

_LIDAR, _CAMERA = range(2)
"""Purpose of each random stream: separate streams keep one from shifting another."""


class RigRecorder:
    """Records the sensors of the rig in one scene.

    Args:
        world: The scene.
        options: Sizes of images, point clouds and labels.
        times_us: LiDAR time of each sample [µs]; the first is ``LEAD_S`` into the drive.
        seed: Random seed of the sensor noise.
    """

    def __init__(
        self,
        world: World,
        options: NuScenesOptions,
        times_us: Int64[np.ndarray, "S"],
        seed: tuple[int, ...],
    ) -> None:
        self._stage: Stage = replace(make_stage(world), ego_shadow=Caster(*ego_car()))
        self._options = options
        self._times_us = times_us
        self._seed = seed
        self._cameras = [RigCamera(channel, *options.image_size) for channel in CAMERAS]
        self._renderer = CameraRenderer(self._stage, self._cameras[0])
        self._directions, self._ring = turn(options.lidar_columns)
        places = np.stack([self.world_from_ego(int(time))[:3, 3] for time in times_us])
        self._surface = sample_surface(world, places, _reach_m(), options.surface_step_m)

    def world_from_ego(self, time_us: int) -> Float[np.ndarray, "4 4"]:
        """Return the pose of the car at a time."""
        seconds = LEAD_S + (time_us - int(self._times_us[0])) * 1e-6
        return pose_at(self._stage.world.drive, seconds)

    def record(self, writer: SceneWriter, on_sample: Callable[[], None]) -> Int64[np.ndarray, "C"]:
        """Write all recordings and labels.

        Args:
            writer: Writer of the scene.
            on_sample: Called after each sample.

        Returns:
            Number of voxels of each ``NUSCENES`` class in the Occ3D labels, not counting free ones.
        """
        voxels = np.zeros(NUSCENES.num_classes, dtype=np.int64)
        for sample, time_us, is_key in sweep_times_us(self._times_us, self._options.sweeps):
            shot = Shot(sample, time_us, is_key, self.world_from_ego(time_us))
            self._scan(writer, shot)
            if is_key:
                views = [self._record_image(writer, shot, camera) for camera in self._cameras]
                labels = self._label(shot, views)
                writer.write_labels(sample, labels)
                volume = labels.volumes["occ3d"]
                voxels += np.bincount(volume[volume > 0], minlength=len(voxels))
                on_sample()
        return voxels

    def _scan(self, writer: SceneWriter, shot: Shot) -> None:
        rng = np.random.default_rng((*self._seed, _LIDAR, shot.time_us))
        pose = shot.world_from_ego @ ego_from_sensor(LIDAR)
        found = measure(self._stage, pose, self._directions, rng)
        ring = self._ring[found.pulse].astype(np.float32)
        writer.write_points(shot, np.column_stack([found.points, ring]))

    def _record_image(self, writer: SceneWriter, shot: Shot, camera: RigCamera) -> RigView:
        """Record a camera image, slightly before the LiDAR's time."""
        number = CAMERAS.index(camera.channel)
        time_us = shot.time_us + MOUNTS[camera.channel].delay_us
        own = replace(shot, time_us=time_us, world_from_ego=self.world_from_ego(time_us))
        rng = np.random.default_rng((*self._seed, _CAMERA, number, time_us))
        seen = self._renderer.with_camera(camera).take(own.world_from_ego, rng)
        writer.write_image(camera, own, seen.image)
        pose = own.world_from_ego @ camera.vehicle_from_cam
        return RigView(camera, pose, seen.depth_m)

    def _label(self, shot: Shot, views: list[RigView]) -> KeyFrameLabels:
        world_from_lidar = shot.world_from_ego @ ego_from_sensor(LIDAR)
        frames = {"ego": shot.world_from_ego, "lidar": world_from_lidar}
        volumes = {
            name: occupancy(self._surface, frames[source.frame], source.grid)
            for name, source in BENCHMARKS.items()
        }
        grid, caster = BENCHMARKS["occ3d"].grid, self._stage.caster
        points, is_surface = targets(self._surface, shot.world_from_ego, grid)
        by_cameras = seen_by_cameras(caster, views, points, is_surface)
        by_lidar = seen_by_lidar(caster, world_from_lidar, points, is_surface)
        return KeyFrameLabels(volumes, by_cameras.reshape(grid.shape), by_lidar.reshape(grid.shape))


def pose_at(drive: Drive, time_s: float) -> Float[np.ndarray, "4 4"]:
    """Interpolate the pose of the vehicle at any time of its drive.

    Raises:
        ValueError: If the time is outside the drive.
    """
    place = time_s * RATE_HZ
    last = len(drive.time_s) - 1
    if not 0.0 <= place <= last:
        raise ValueError(f"time_s must be between 0 and {last / RATE_HZ} s, got {time_s} s")
    tick = min(int(place), last - 1)
    share = place - tick
    before, after = drive.world_from_vehicle[tick : tick + 2]
    first, second = quaternion_xyzw(before[:3, :3]), quaternion_xyzw(after[:3, :3])
    second = second if first @ second >= 0 else -second
    x, y, z, w = (1.0 - share) * first + share * second  # pose_matrix normalizes it.
    position = (1.0 - share) * before[:3, 3] + share * after[:3, 3]
    return pose_matrix(np.array([*position, w, x, y, z]))


def _reach_m() -> float:
    """Return the largest distance of a voxel from the car along either axis, over all grids [m]."""
    corners = [
        np.abs([source.grid.origin_m[:2], source.grid.end_m[:2]]).max(axis=0)
        for source in BENCHMARKS.values()
    ]
    return float(np.linalg.norm(corners, axis=1).max()) + 2.0  # The LiDAR is ahead of the car.
