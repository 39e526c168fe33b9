"""Records one scene with nuScenes' rig: each sensor at its own time, from the car's pose then."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int64

from dataset.minesim.scene.drive import RATE_HZ, Drive
from dataset.minesim.scene.world import World
from dataset.minesim.sensors.camera import Photographer
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
"""What a random stream is for: each has its own, so that one draw more shifts no other."""


class RigRecorder:
    """The rig on its way through one scene.

    Args:
        world: The scene.
        options: Sizes of pictures, clouds and labels.
        times_us: Time of the LiDAR of each sample [µs]; the first is ``LEAD_S`` into the drive.
        seed: What all the sensors' noise is drawn from.
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
        self._photographer = Photographer(self._stage, self._cameras[0])
        self._directions, self._ring = turn(options.lidar_columns)
        places = np.stack([self.world_from_ego(int(time))[:3, 3] for time in times_us])
        self._surface = sample_surface(world, places, _reach_m(), options.surface_step_m)

    def world_from_ego(self, time_us: int) -> Float[np.ndarray, "4 4"]:
        """Pose of the car at a time."""
        seconds = LEAD_S + (time_us - int(self._times_us[0])) * 1e-6
        return pose_at(self._stage.world.drive, seconds)

    def record(self, writer: SceneWriter, on_sample: Callable[[], None]) -> Int64[np.ndarray, "C"]:
        """Write all recordings and labels.

        Args:
            writer: Where to.
            on_sample: Called after each sample.

        Returns:
            Voxels of each ``NUSCENES`` class in Occ3D's labels; free ones are not counted.
        """
        voxels = np.zeros(NUSCENES.num_classes, dtype=np.int64)
        for sample, time_us, is_key in sweep_times_us(self._times_us, self._options.sweeps):
            shot = Shot(sample, time_us, is_key, self.world_from_ego(time_us))
            self._scan(writer, shot)
            if is_key:
                views = [self._photograph(writer, shot, camera) for camera in self._cameras]
                labels = self._label(shot, views)
                writer.labels(sample, labels)
                volume = labels.volumes["occ3d"]
                voxels += np.bincount(volume[volume > 0], minlength=len(voxels))
                on_sample()
        return voxels

    def _scan(self, writer: SceneWriter, shot: Shot) -> None:
        rng = np.random.default_rng((*self._seed, _LIDAR, shot.time_us))
        pose = shot.world_from_ego @ ego_from_sensor(LIDAR)
        found = measure(self._stage, pose, self._directions, rng)
        ring = self._ring[found.pulse].astype(np.float32)
        writer.cloud(shot, np.column_stack([found.points, ring]))

    def _photograph(self, writer: SceneWriter, shot: Shot, camera: RigCamera) -> RigView:
        """Take one camera's picture, a little before the LiDAR's time."""
        number = CAMERAS.index(camera.channel)
        time_us = shot.time_us + MOUNTS[camera.channel].delay_us
        own = replace(shot, time_us=time_us, world_from_ego=self.world_from_ego(time_us))
        rng = np.random.default_rng((*self._seed, _CAMERA, number, time_us))
        picture = self._photographer.through(camera).take(own.world_from_ego, rng)
        writer.picture(camera, own, picture.image)
        pose = own.world_from_ego @ camera.vehicle_from_cam
        return RigView(camera, pose, picture.depth_m)

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
    """Pose of the vehicle at any time of its drive, between two of its poses.

    Raises:
        ValueError: If the drive does not last as long.
    """
    place = time_s * RATE_HZ
    last = len(drive.time_s) - 1
    if not 0.0 <= place <= last:
        raise ValueError(f"the drive lasts {last / RATE_HZ} s, asked for the pose at {time_s} s")
    tick = min(int(place), last - 1)
    share = place - tick
    before, after = drive.world_from_vehicle[tick : tick + 2]
    first, second = quaternion_xyzw(before[:3, :3]), quaternion_xyzw(after[:3, :3])
    second = second if first @ second >= 0 else -second
    x, y, z, w = (1.0 - share) * first + share * second  # pose_matrix brings it to length 1.
    position = (1.0 - share) * before[:3, 3] + share * after[:3, 3]
    return pose_matrix(np.array([*position, w, x, y, z]))


def _reach_m() -> float:
    """How far from the car, along either axis, a voxel of any grid can be [m]."""
    corners = [
        np.abs([source.grid.origin_m[:2], source.grid.end_m[:2]]).max(axis=0)
        for source in BENCHMARKS.values()
    ]
    return float(np.linalg.norm(corners, axis=1).max()) + 2.0  # The LiDAR is ahead of the car.
