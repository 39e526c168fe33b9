"""ROS bags of a few small messages, written with rosbags."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

START_NS = 1_718_000_000_000_000_000
PERIOD_NS = 100_000_000
CAM_FROM_LIDAR = np.array([[0, -1, 0, 0.1], [0, 0, -1, -0.3], [1, 0, 0, -0.2], [0, 0, 0, 1.0]])
K = np.array([[50.0, 0, 48], [0, 50.0, 30], [0, 0, 1]])
PLUMB_BOB = (-0.2, 0.05, 0.001, -0.001, 0.0)
LIVOX = """
std_msgs/Header header
uint64 timebase
uint32 point_num
uint8 lidar_id
uint8[3] rsvd
livox_ros_driver2/CustomPoint[] points
"""
LIVOX_POINT = """
uint32 offset_time
float32 x
float32 y
float32 z
uint8 reflectivity
uint8 tag
uint8 line
"""
_TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


class Entry(NamedTuple):
    """A message to write: topic, message, and when it is recorded."""

    topic: str
    message: Any
    recorded_ns: int


class Messages:
    """Builds messages of ROS 1 or ROS 2."""

    def __init__(self, *, ros1: bool = False) -> None:
        self.ros1 = ros1
        self.store: Typestore = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)
        if ros1:
            text = "geometry_msgs/TransformStamped[] transforms"
            self.store.register(get_types_from_msg(text, "tf2_msgs/msg/TFMessage"))

    def make(self, kind: str, *values: Any, **fields: Any) -> Any:
        """A message by the name of its type, such as ``std_msgs/Header``."""
        return self.store.types[kind.replace("/", "/msg/")](*values, **fields)

    def header(self, stamp_ns: int, frame: str) -> Any:
        stamp = self.make("builtin_interfaces/Time", stamp_ns // 10**9, stamp_ns % 10**9)
        seq = {"seq": 0} if self.ros1 else {}
        return self.make("std_msgs/Header", **seq, stamp=stamp, frame_id=frame)

    def cloud(
        self, stamp_ns: int, points: np.ndarray, *, frame: str = "lidar", row_padding: int = 0
    ) -> Any:
        """A PointCloud2 of a structured array, (P,) or (height, width)."""
        table = np.atleast_2d(points)
        fields = [
            self.make(
                "sensor_msgs/PointField",
                name=name,
                offset=points.dtype.fields[name][1],
                datatype=_TYPES[points.dtype[name].str[1:]],
                count=1,
            )
            for name in points.dtype.names
        ]
        height, width = table.shape
        step = points.dtype.itemsize
        rows = np.ascontiguousarray(table).view(np.uint8).reshape(height, width * step)
        return self.make(
            "sensor_msgs/PointCloud2",
            header=self.header(stamp_ns, frame),
            height=height,
            width=width,
            fields=fields,
            is_bigendian=points.dtype["x"].str[0] == ">",
            point_step=step,
            row_step=width * step + row_padding,
            data=np.pad(rows, ((0, 0), (0, row_padding))).reshape(-1),
            is_dense=True,
        )

    def image(self, stamp_ns: int, pixels: np.ndarray, encoding: str, *, padding: int = 0) -> Any:
        height, width = pixels.shape[:2]
        rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
        return self.make(
            "sensor_msgs/Image",
            header=self.header(stamp_ns, "camera"),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=int(pixels.dtype.str[0] == ">"),
            step=rows.shape[1] + padding,
            data=np.pad(rows, ((0, 0), (0, padding))).reshape(-1),
        )

    def compressed(self, stamp_ns: int, data: bytes, *, form: str = "jpeg") -> Any:
        return self.make(
            "sensor_msgs/CompressedImage",
            header=self.header(stamp_ns, "camera"),
            format=form,
            data=np.frombuffer(data, np.uint8),
        )

    def info(
        self,
        *,
        model: str = "plumb_bob",
        coefficients: tuple[float, ...] = (),
        size: tuple[int, int] = (96, 60),
    ) -> Any:
        values = {
            "d": np.array(coefficients, np.float64),
            "k": K.reshape(-1),
            "r": np.eye(3).reshape(-1),
            "p": np.hstack([K * [[0.8], [0.8], [1]], np.zeros((3, 1))]).reshape(-1),
        }
        if self.ros1:
            values = {name.upper(): value for name, value in values.items()}
        return self.make(
            "sensor_msgs/CameraInfo",
            header=self.header(START_NS, "camera"),
            height=size[1],
            width=size[0],
            distortion_model=model,
            binning_x=0,
            binning_y=0,
            roi=self.make("sensor_msgs/RegionOfInterest", 0, 0, 0, 0, False),
            **values,
        )

    def transforms(self, *rows: tuple[str, str, np.ndarray, tuple[float, ...], int]) -> Any:
        """Parent, child, translation, quaternion (x, y, z, w) and stamp of each transform."""
        return self.make(
            "tf2_msgs/TFMessage",
            [
                self.make(
                    "geometry_msgs/TransformStamped",
                    header=self.header(stamp_ns, parent),
                    child_frame_id=child,
                    transform=self.make(
                        "geometry_msgs/Transform",
                        self.make("geometry_msgs/Vector3", *map(float, place)),
                        self.make("geometry_msgs/Quaternion", *map(float, turn)),
                    ),
                )
                for parent, child, place, turn, stamp_ns in rows
            ],
        )

    def odometry(
        self, stamp_ns: int, place: tuple[float, ...], turn: tuple[float, ...], child: str
    ) -> Any:
        vector = self.make("geometry_msgs/Vector3", 0.0, 0.0, 0.0)
        pose = self.make(
            "geometry_msgs/Pose",
            self.make("geometry_msgs/Point", *map(float, place)),
            self.make("geometry_msgs/Quaternion", *map(float, turn)),
        )
        covariance = np.zeros(36)
        return self.make(
            "nav_msgs/Odometry",
            header=self.header(stamp_ns, "odom"),
            child_frame_id=child,
            pose=self.make("geometry_msgs/PoseWithCovariance", pose, covariance),
            twist=self.make(
                "geometry_msgs/TwistWithCovariance",
                self.make("geometry_msgs/Twist", vector, vector),
                covariance,
            ),
        )

    def livox(self, stamp_ns: int, rows: list[tuple[int, float, float, float, int]]) -> Any:
        """A CustomMsg of offset_time [ns], x, y, z, reflectivity; registers its definition."""
        kind = "livox_ros_driver2/msg/CustomMsg"
        if kind not in self.store.types:
            types = get_types_from_msg(LIVOX, kind)
            types |= get_types_from_msg(LIVOX_POINT, "livox_ros_driver2/msg/CustomPoint")
            self.store.register(types)
        points = [self.make("livox_ros_driver2/CustomPoint", *row, 0, 0) for row in rows]
        return self.make(
            "livox_ros_driver2/CustomMsg",
            header=self.header(stamp_ns, "lidar"),
            timebase=stamp_ns,
            point_num=len(points),
            lidar_id=0,
            rsvd=np.zeros(3, np.uint8),
            points=points,
        )


def write_bag(path: Path, messages: Messages, entries: list[Entry], *, mcap: bool = True) -> Path:
    """Write a ROS 1 file or a ROS 2 folder, and return its path."""
    store = messages.store
    serialize = store.serialize_ros1 if messages.ros1 else store.serialize_cdr
    plugin = StoragePlugin.MCAP if mcap else StoragePlugin.SQLITE3
    writer: Any = (
        Writer1(path) if messages.ros1 else Writer2(path, version=9, storage_plugin=plugin)
    )
    with writer:
        connections: dict[str, Any] = {}
        for topic, message, recorded_ns in sorted(entries, key=lambda entry: entry.recorded_ns):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], recorded_ns, bytes(serialize(message, kind)))
    return path


def structured(
    points: np.ndarray, *, intensity: str = "intensity", kind: str = "<f4", **extra: Any
) -> np.ndarray:
    """Rows of x, y, z, intensity as a structured array with padding and further fields."""
    order = kind[0] if kind[0] in "<>" else "<"
    names = ["x", "y", "z", intensity, *extra]
    formats = [f"{order}f4"] * 3 + [kind] + [array.dtype.str for array in extra.values()]
    sizes = [np.dtype(text).itemsize for text in formats]
    offsets = np.cumsum([0, *sizes[:-1]])
    offsets[3:] += 4
    dtype = np.dtype(
        {
            "names": names,
            "formats": formats,
            "offsets": offsets.tolist(),
            "itemsize": int(offsets[-1]) + sizes[-1] + 3,
        }
    )
    rows = np.zeros(len(points), dtype)
    for index, name in enumerate(names[:4]):
        rows[name] = points[:, index]
    for name, array in extra.items():
        rows[name] = array
    return rows


def drive(
    messages: Messages,
    *,
    frames: int = 3,
    image_offset_ns: int = 20_000_000,
    coefficients: tuple[float, ...] = PLUMB_BOB,
) -> list[Entry]:
    """Clouds, images, calibration, transforms and odometry of a vehicle at 10 m/s along x.

    The camera is mounted on "base", 0.5 m above the LiDAR's mount; the LiDAR's pose is that of the
    odometry, 1 m ahead of "base".
    """
    rng = np.random.default_rng(0)
    spread = rng.uniform([4, -8, -1.5, 0], [40, 8, 2, 200], (600, 4))
    lidar_from_base = np.eye(4)
    lidar_from_base[0, 3] = -1.0
    # The rotation of CAM_FROM_LIDAR, inverted: base_from_cam.
    base_from_cam = np.linalg.inv(CAM_FROM_LIDAR @ lidar_from_base)
    optical = (-0.5, 0.5, -0.5, 0.5)
    base_from_lidar = ("base", "lidar", (1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), START_NS)
    camera = ("base", "camera", base_from_cam[:3, 3], optical, START_NS)
    entries = [
        Entry("/tf_static", messages.transforms(base_from_lidar, camera), START_NS),
        Entry("/front/camera_info", messages.info(coefficients=coefficients), START_NS),
    ]
    for index in range(frames):
        stamp_ns = START_NS + index * PERIOD_NS
        cloud = messages.cloud(stamp_ns, structured(spread))
        pixels = np.full((60, 96, 3), 40 * (index + 1), np.uint8)
        image = messages.image(stamp_ns + image_offset_ns, pixels, "bgr8")
        entries.append(Entry("/points", cloud, stamp_ns + 5_000_000))
        entries.append(Entry("/front/image_raw", image, stamp_ns + image_offset_ns + 3_000_000))
    for index in range(-1, 2 * frames + 1):
        stamp_ns = START_NS + index * PERIOD_NS // 2
        place = (10 * index * PERIOD_NS / 2e9, 0.0, 0.0)
        pose = messages.odometry(stamp_ns, place, (0.0, 0.0, 0.0, 1.0), "base")
        entries.append(Entry("/odometry", pose, stamp_ns))
    return entries
