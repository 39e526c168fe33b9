"""Reads ROS 1 and ROS 2 bags message by message; needs the package rosbags."""

import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NANOSECONDS = 10**9
ROLES = {
    "sensor_msgs/msg/PointCloud2": "clouds",
    "livox_ros_driver/msg/CustomMsg": "clouds",
    "livox_ros_driver2/msg/CustomMsg": "clouds",
    "sensor_msgs/msg/Image": "images",
    "sensor_msgs/msg/CompressedImage": "images",
    "sensor_msgs/msg/CameraInfo": "camera info",
    "tf2_msgs/msg/TFMessage": "transforms",
    "tf/msg/tfMessage": "transforms",
    "nav_msgs/msg/Odometry": "poses",
    "geometry_msgs/msg/PoseStamped": "poses",
    "geometry_msgs/msg/PoseWithCovarianceStamped": "poses",
    "geometry_msgs/msg/TransformStamped": "poses",
}
"""What a topic can be used for, by the type of its messages."""


@dataclass(frozen=True)
class Topic:
    """A topic of a bag.

    Attributes:
        name: Its name.
        kind: Type of its messages; "" if they have several.
        count: Number of messages.
    """

    name: str
    kind: str
    count: int

    @property
    def role(self) -> str:
        """What it can be used for; "" for nothing here."""
        return ROLES.get(self.kind, "")


@dataclass(frozen=True)
class Message:
    """A message that is not decoded yet.

    Attributes:
        topic: Name of its topic.
        kind: Its type.
        recorded_ns: When it was recorded.
        raw: Its bytes.
        header_ns: The stamp in its header; 0 if it is not set or the type has no header first.
    """

    topic: str
    kind: str
    recorded_ns: int
    raw: bytes
    header_ns: int

    @property
    def stamp_ns(self) -> int:
        """The stamp in its header; the time of the recording if that is not set."""
        return self.header_ns or self.recorded_ns


class Bag:
    """An open bag; get one from ``open_bag``.

    Attributes:
        name: The paths, for messages.
        topics: The topics by name.
    """

    def __init__(self, reader: Any, name: str) -> None:
        self._reader = reader
        self.name = name
        self.topics = {
            topic: Topic(topic, info.msgtype or "", info.msgcount)
            for topic, info in sorted(reader.topics.items())
        }

    def named(self, role: str) -> list[str]:
        """Return the topics with a role, by name."""
        return [topic.name for topic in self.topics.values() if topic.role == role]

    def require(self, topic: str, role: str, option: str) -> None:
        """Check that a topic can be used as an option asks.

        Raises:
            ValueError: If the bag does not have it, or its messages are of another kind.
        """
        found = self.topics.get(topic)
        if found is not None and found.role == role and found.count:
            return
        what = "no such topic" if found is None else f"{found.count} messages of '{found.kind}'"
        known = ", ".join(self.named(role)) or "none"
        raise ValueError(
            f"{self.name}: expected {role} in the topic '{topic}' of {option}, found {what}. "
            f"Topics with {role}: {known}"
        )

    def count(self, topics: Collection[str]) -> int:
        """Return the number of messages of some topics."""
        return sum(self.topics[topic].count for topic in topics)

    def messages(self, topics: Collection[str]) -> Iterator[Message]:
        """Iterate over the messages of some topics, in the order of the recording.

        Raises:
            ValueError: If the bag is damaged.
        """
        wanted = [each for each in self._reader.connections if each.topic in topics]
        if not wanted:
            return
        read_stamp = _ros2_stamp if self._reader.is2 else _ros1_stamp
        with _named_errors(self.name):
            for connection, recorded_ns, raw in self._reader.messages(connections=wanted):
                has_header = ROLES.get(connection.msgtype) != "transforms"
                header_ns = read_stamp(raw) if has_header else 0
                kind = connection.msgtype
                yield Message(connection.topic, kind, recorded_ns, bytes(raw), header_ns)

    def decode(self, message: Message) -> Any:
        """Return a message as an object with its fields as attributes.

        Raises:
            ValueError: If it is damaged, or the bag lacks the definition of its type.
        """
        with _named_errors(f"{self.name}, topic '{message.topic}'"):
            return self._reader.deserialize(message.raw, message.kind)


@contextmanager
def open_bag(paths: Sequence[Path]) -> Iterator[Bag]:
    """Open one recording: ROS 1 ``.bag`` files, a ROS 2 folder, or ``.mcap`` or ``.db3`` files.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If rosbags is not installed, or a file is damaged or no bag.
    """
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise ValueError(
            "reading a ROS bag needs the package rosbags, which is not installed: "
            "pip install rosbags -c constraints.txt"
        ) from error
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(f"bag {', '.join(missing)} not found")
    name = " ".join(str(path) for path in paths)
    if len({path.suffix == ".bag" for path in paths}) > 1:
        raise ValueError(f"{name}: expected bags of ROS 1 or of ROS 2, found both: convert each")
    for path in paths:
        if path.is_dir() and not (path / "metadata.yaml").is_file():
            raise ValueError(
                f"{path}: expected the folder of a ROS 2 bag, found no metadata.yaml: pass its "
                ".mcap or .db3 files, or run `ros2 bag reindex`"
            )
    with _named_errors(name):
        # The definitions in the bag come first; old .db3 files have none.
        reader = AnyReader(list(paths), default_typestore=get_typestore(Stores.ROS2_HUMBLE))
        reader.open()
    try:
        yield Bag(reader, name)
    finally:
        reader.close()


@contextmanager
def _named_errors(name: str) -> Iterator[None]:
    """Turn the errors of rosbags into one that names the bag.

    Raises:
        ValueError: Instead of them.
    """
    from rosbags.highlevel import AnyReaderError
    from rosbags.rosbag1 import ReaderError as Ros1Error
    from rosbags.rosbag2 import ReaderError as Ros2Error

    try:
        yield
    except (AnyReaderError, Ros1Error, Ros2Error, KeyError) as error:
        raise ValueError(
            f"{name}: expected a complete ROS bag, found: {error}. Copy it again, or repair it "
            "with `rosbag reindex`, `ros2 bag reindex` or `mcap recover`"
        ) from error


def _ros1_stamp(raw: bytes) -> int:
    seconds, nanoseconds = struct.unpack_from("<4xII", raw)
    return int(seconds) * NANOSECONDS + int(nanoseconds)


def _ros2_stamp(raw: bytes) -> int:
    order = "<" if raw[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{order}4xiI", raw)
    return int(seconds) * NANOSECONDS + int(nanoseconds)
