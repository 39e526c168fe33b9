"""One recording of a data set: its complete frames, their poses and scenes, and their files."""

import logging
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64

from dataset.arrays import Images, InputOptions, input_points
from dataset.inventory import time_order
from dataset.reading import SUPERVISING
from dataset.recorded_clouds import in_box
from dataset.recorded_track import key_frames, read_track, scenes_of, times_of
from dataset.recording import Recording
from dataset.recordings.folders import CALIBRATION, CLOUDS, IMAGES
from utils.shortlist import shortlist

FIELDS = (
    "images",
    "points",
    "pixel_from_lidar",
    "depth_m",
    "world_from_lidar",
    "neighbors",
    "lidar_rays",
    "video",
    "masks",
    "voxel_classes",
)
"""Fields of a Sample that a recording provides."""
_OF_CLOUD = {"points", "depth_m", "neighbors", "lidar_rays", "voxel_classes"}
_OF_IMAGE = {"images", "video"}
_OF_CAMERA = {*_OF_IMAGE, "pixel_from_lidar", "depth_m", "neighbors", "masks"}
_POSED = {"world_from_lidar", "neighbors", *SUPERVISING}

logger = logging.getLogger(__name__)


class RecordedDrive:
    """A recording, in the frame of the network.

    Clouds are opened if there are any, for the height of the LiDAR: the frame must not depend on
    the fields.

    Args:
        name: Name of the recording.
        root: Folder with ``calib.json``, ``clouds/`` and ``images/``, and ``poses.txt``.
        options: How recordings are preprocessed for the network.
        fields: Fields of a Sample to read.
        is_posed: Whether the frames need poses, whatever the fields.
        allow_missing: Whether a frame may lack its images or its cloud.

    Attributes:
        root: As given.
        name: As given.
        stems: Frames with all files of the fields, in time order.
        times_s: Time of each of these frames [s].
        scenes: Frames of each scene, as indices.
        image_sizes: Height and width of the recorded images of each camera.
        projections: From the network's frame into the recorded images, by camera.
        lidar_position_m: Position of the LiDAR in the network's frame.

    Raises:
        FileNotFoundError: If a folder or file is missing, or no frame is complete.
        ValueError: If a file is invalid.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        options: InputOptions,
        fields: Set[str],
        *,
        is_posed: bool = False,
        allow_missing: bool = False,
    ) -> None:
        self.name, self.root = name, root
        self._max_range_m = options.max_range_m
        images = self._folder(IMAGES, fields & _OF_CAMERA, "point clouds", "lidar")
        clouds = self._folder(CLOUDS, fields & _OF_CLOUD, "images", "video")
        if clouds is None and (root / CLOUDS).is_dir():
            clouds = root / CLOUDS
        self._recording = Recording(
            options,
            images=images,
            clouds=clouds,
            calibration=root / CALIBRATION,
            allow_missing=True,
        )
        self.image_sizes = self._recording.image_sizes
        self.projections = self._recording.rig.pixel_from_lidar
        network_from_lidar = self._recording.rig.network_from_lidar
        self.lidar_position_m = network_from_lidar[:3, 3]
        self.stems = self._complete(fields, allow_missing=allow_missing)
        self._world_from_lidar: Mapping[str, Float64[np.ndarray, "4 4"]] = {}
        positions_m = None
        if is_posed or fields & _POSED:
            track = read_track(root, self.stems)
            poses = track.world_from_cloud @ np.linalg.inv(network_from_lidar)
            self.stems, positions_m = list(track.stems), poses[:, :3, 3]
            self._world_from_lidar = dict(zip(track.stems, poses, strict=True))
        self.times_s = times_of(root, self.stems)
        self.scenes = scenes_of(self.times_s, positions_m)

    def keys(self, every_s: float) -> list[int]:
        """Return the key frames, as indices: the first of each scene, and each that is due."""
        return [
            frame for scene in self.scenes for frame in key_frames(self.times_s, scene, every_s)
        ]

    def scene_of(self, frame: int) -> str:
        """Return the name of the scene of a frame: that of the recording if it has only one."""
        if len(self.scenes) == 1:
            return self.name
        number = next(place for place, scene in enumerate(self.scenes) if frame in scene)
        return f"{self.name}/{number}"

    def world_from_lidar(self, stem: str) -> Float64[np.ndarray, "4 4"]:
        """Return the pose of the network's frame."""
        return self._world_from_lidar[stem]

    def read_cloud(self, stem: str) -> Float32[np.ndarray, "P 4"] | None:
        """Read the points of a frame as the network reads them; None if it has no cloud."""
        points = self._recording.read_cloud(stem)
        return None if points is None else input_points(stem, points, self._max_range_m)

    def read_surroundings(
        self, stem: str, vehicle_m: Sequence[float]
    ) -> tuple[Float64[np.ndarray, "P 3"], Bool[np.ndarray, " P"]]:
        """Read the positions of all points of a frame, in the file's order.

        Args:
            stem: The frame, which has a cloud.
            vehicle_m: Box of the vehicle.

        Returns:
            The positions, and which are within the range and not on your own vehicle.
        """
        recorded = self._recording.read_cloud(stem)
        assert recorded is not None, "a complete frame has a cloud"
        points = input_points(stem, recorded, np.inf)
        is_outside = (points[:, 0] < self._max_range_m) & ~in_box(points, vehicle_m)
        return points[:, :3].astype(np.float64), is_outside

    def open_images(self, stem: str) -> Images | None:
        """Read the recorded image of each camera; None if there is none."""
        return self._recording.open_images(stem)

    def has(self, stem: str, field: str) -> bool:
        """Return whether a frame has the files of a field of a Sample."""
        lacks_cloud = field in _OF_CLOUD and not self._recording.has_cloud(stem)
        lacks_image = field in _OF_IMAGE and not self._recording.has_images(stem)
        lacks_camera = field in _OF_CAMERA and not self.projections
        lacks_pose = field in _POSED and stem not in self._world_from_lidar
        return field in FIELDS and not (lacks_cloud or lacks_image or lacks_camera or lacks_pose)

    def _folder(self, name: str, fields: Set[str], other: str, supervision: str) -> Path | None:
        """Return a folder of the recording, if a field needs it."""
        if not fields:
            return None
        if not (self.root / name).is_dir():
            raise FileNotFoundError(
                f"{self.root / name} not found: expected it for {', '.join(sorted(fields))}. To "
                f"train from {other} alone, set modality="
                f"{'lidar' if supervision == 'lidar' else 'camera'} and "
                f"model.loss.supervision={supervision}"
            )
        return self.root / name

    def _complete(self, fields: Set[str], *, allow_missing: bool) -> list[str]:
        """Return the frames with the files of some fields, and warn of the others."""
        stems = self._recording.stems
        lacking: dict[str, list[str]] = {}
        if fields & _OF_CLOUD:
            lacking["a cloud"] = [s for s in stems if not self._recording.has_cloud(s)]
        if fields & _OF_IMAGE:
            lacking["an image"] = [s for s in stems if not self._recording.has_images(s)]
        if allow_missing and {"images", "points"} <= fields:
            lacking = {}  # Each frame has one of them.
        left_out = {stem for missing in lacking.values() for stem in missing}
        complete = sorted((stem for stem in stems if stem not in left_out), key=time_order)
        for what, missing in lacking.items():
            if not missing:
                continue
            found = f"{len(missing)} of {len(stems)} frames of '{self.root}' without {what}"
            if not complete:
                raise FileNotFoundError(
                    f"{found} ({shortlist(missing, most=5)}), and none is complete: the files of a "
                    "frame must have the same name up to the suffix"
                )
            logger.warning("left out: %s (%s)", found, shortlist(missing, most=5))
        return complete
