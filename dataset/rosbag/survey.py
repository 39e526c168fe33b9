"""The first pass over a bag: stamps, calibrations, transforms and poses; no pixels, no points."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dataset.rosbag.bag import Bag, Message
from dataset.rosbag.motion import Trajectory, TransformTree, pose_values
from utils.progress import with_progress

TF_PREFIX = "tf:"
"""Before the name of a frame: the poses are the transforms from the LiDAR to that frame."""

logger = logging.getLogger(__name__)

Stamps = Int64[np.ndarray, "_"]
PoseSource = Callable[
    [Int64[np.ndarray, " n"]],
    tuple[Float64[np.ndarray, "n 4 4"], Bool[np.ndarray, " n"]],
]
"""Returns world_from_lidar at each stamp, and which are known."""


@dataclass(frozen=True)
class ConversionOptions:
    """What to convert, and how.

    Attributes:
        clouds: Topic of the clouds.
        images: Topic of the images of each camera, by its name.
        camera_info: Topic of the calibration of each camera; cameras that are not in it use the
            one next to their images.
        poses: Topic of poses or odometry, or ``tf:FRAME``; None: no poses.
        pose_frame: Frame that moves with the poses; None: as the odometry says, or the LiDAR's.
        calibration: File in the layout of docs/custom_data.md, in place of transforms and of the
            camera matrix; None: both come from the bag.
        tolerance_s: Largest time between a cloud and its images; None: half the clouds' period.
        image_max: White level of images with more than 8 bits.
        lidar_height_m: Height of the LiDAR above the ground; None: not stated.
        deskew: Whether to take the vehicle's motion out of each cloud.
        point_times: Whether to write the time of each point into the clouds.
    """

    clouds: str
    images: Mapping[str, str] = field(default_factory=dict)
    camera_info: Mapping[str, str] = field(default_factory=dict)
    poses: str | None = None
    pose_frame: str | None = None
    calibration: Path | None = None
    tolerance_s: float | None = None
    image_max: float | None = None
    lidar_height_m: float | None = None
    deskew: bool = False
    point_times: bool = False

    @property
    def reads_times(self) -> bool:
        """Whether the times of points are needed."""
        return self.deskew or self.point_times


@dataclass
class Survey:
    """What the first pass found.

    Attributes:
        tree: All transforms.
        stamps_ns: Stamps of the clouds and images, by topic, in the order of the recording.
        unstamped: Number of messages without a stamp in the header, by topic.
        frames: Frame of the clouds and images, by topic.
        infos: CameraInfo by topic.
        pose_rows: Stamps and poses of the topic of poses.
        pose_child: Frame that these poses say they move; "" if they do not say.
    """

    tree: TransformTree
    stamps_ns: dict[str, list[int]] = field(default_factory=dict)
    unstamped: dict[str, int] = field(default_factory=dict)
    frames: dict[str, str] = field(default_factory=dict)
    infos: dict[str, Any] = field(default_factory=dict)
    pose_rows: list[tuple[int, tuple[float, ...]]] = field(default_factory=list)
    pose_child: str = ""

    def unique_ns(self, topic: str) -> Stamps:
        """Return the different stamps of a topic, increasing."""
        return np.unique(np.array(self.stamps_ns.get(topic, []), np.int64))


def info_topic(bag: Bag, options: ConversionOptions, camera: str) -> str | None:
    """Return the topic of a camera's calibration; None if it has none.

    Raises:
        ValueError: If the stated topic has no calibration.
    """
    if camera in options.camera_info:
        topic = options.camera_info[camera]
        bag.require(topic, "camera info", "--camera-info")
        return topic
    base = options.images[camera].removesuffix("/compressed")
    beside = base.rpartition("/")[0] + "/camera_info"
    found = bag.named("camera info")
    if beside in found:
        return beside
    return found[0] if len(found) == len(options.images) == 1 else None


def survey(bag: Bag, options: ConversionOptions) -> Survey:
    """Read the stamps of all messages, and the small messages as a whole.

    Raises:
        ValueError: If a topic is missing or of another kind, or the bag is damaged.
    """
    bag.require(options.clouds, "clouds", "--clouds")
    for topic in options.images.values():
        bag.require(topic, "images", "--images")
    timed = {options.clouds, *options.images.values()}
    found_infos = [info_topic(bag, options, camera) for camera in options.images]
    infos = {topic for topic in found_infos if topic is not None}
    poses = set()
    if options.poses is not None and not options.poses.startswith(TF_PREFIX):
        bag.require(options.poses, "poses", "--poses")
        poses = {options.poses}
    topics = timed | infos | poses | set(bag.named("transforms"))
    found = Survey(TransformTree(bag.name))
    for message in with_progress(bag.messages(topics), "survey", bag.count(topics)):
        if message.topic in timed:
            _add_stamp(found, bag, message)
        elif message.topic in infos:
            if message.topic not in found.infos:
                found.infos[message.topic] = bag.decode(message)
        elif message.topic in poses:
            _add_pose(found, bag.decode(message), message.stamp_ns)
        else:
            is_static = message.topic.endswith("tf_static")
            found.tree.add(bag.decode(message), is_static=is_static)
    for topic, count in found.unstamped.items():
        logger.warning(
            "'%s': %d of %d headers have no stamp: the times of the recording are used, which are "
            "later than those of the measurement",
            topic,
            count,
            len(found.stamps_ns[topic]),
        )
    return found


def pose_source(found: Survey, options: ConversionOptions) -> PoseSource | None:
    """Return the poses of the LiDAR; None without ``options.poses``.

    Raises:
        ValueError: If the poses are invalid, or their frame is not connected to the LiDAR's.
    """
    if options.poses is None:
        return None
    lidar, tree = found.frames[options.clouds], found.tree
    if options.poses.startswith(TF_PREFIX):
        world = options.poses.removeprefix(TF_PREFIX)
        return lambda stamps: tree.at(world, lidar, stamps)
    trajectory = Trajectory.of(found.pose_rows, f"'{options.poses}'")
    body = options.pose_frame or found.pose_child
    if not body:
        logger.warning(
            "'%s' does not say which frame moves: its poses are taken for those of the LiDAR; "
            "state the frame with --pose-frame",
            options.poses,
        )
        return trajectory.at

    def at(stamps: Stamps) -> tuple[Float64[np.ndarray, "n 4 4"], Bool[np.ndarray, " n"]]:
        world_from_body, is_posed = trajectory.at(stamps)
        body_from_lidar, is_mounted = tree.at(body, lidar, stamps)
        return world_from_body @ body_from_lidar, is_posed & is_mounted

    return at


def _add_stamp(found: Survey, bag: Bag, message: Message) -> None:
    found.stamps_ns.setdefault(message.topic, []).append(message.stamp_ns)
    if not message.header_ns:
        found.unstamped[message.topic] = found.unstamped.get(message.topic, 0) + 1
    if message.topic not in found.frames:
        found.frames[message.topic] = bag.decode(message).header.frame_id


def _add_pose(found: Survey, message: Any, stamp_ns: int) -> None:
    found.pose_child = getattr(message, "child_frame_id", "")
    pose = message.transform if hasattr(message, "transform") else message.pose
    # The pose of Odometry and PoseWithCovarianceStamped is beside its covariance.
    found.pose_rows.append((stamp_ns, pose_values(pose.pose if hasattr(pose, "pose") else pose)))
