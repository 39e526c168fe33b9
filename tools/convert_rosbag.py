r"""Convert a ROS bag to a recording that predict.py reads.

    python tools/convert_rosbag.py drive.bag
    python tools/convert_rosbag.py drive.bag --out recording --clouds /lidar/points \
        --images /camera/image_raw --poses /odometry

Reads ROS 1 .bag files, ROS 2 folders, .mcap and .db3 files. Without topics, it lists those of the
bag. Images are undistorted, and matched with clouds by the stamps in their headers. Run the same
command again to resume. If the bag has no poses, tools/estimate_poses.py estimates them.
docs/custom_data.md describes options and output.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.rosbag.bag import Bag, open_bag
from dataset.rosbag.convert import convert
from dataset.rosbag.survey import ConversionOptions
from engine.number_options import number
from utils.console import run_script, start_logging
from utils.outputs import output_folder

GENERIC_WORDS = ("compressed", "image", "image_raw", "image_color", "image_rect")
"""Ends of topics that do not tell cameras apart."""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "bags", type=Path, nargs="+", metavar="BAG", help="the files or the folder of one recording"
    )
    add("--out", type=output_folder, metavar="DIR", help="folder of the recording")
    _add_topic_options(parser)
    add(
        "--calib",
        type=Path,
        metavar="FILE",
        help="calib.json in place of transforms and camera matrices of the bag",
    )
    add(
        "--tolerance",
        type=number(0.0),
        metavar="S",
        help="largest time between a cloud and its image [s] (default: half the LiDAR's period)",
    )
    add(
        "--image-max",
        type=number(1.0),
        metavar="N",
        help="white level of 16-bit images, such as 4095",
    )
    add(
        "--lidar-height",
        type=number(0.01),
        metavar="M",
        help="height of the LiDAR above the ground [m] (default: not stated)",
    )
    add("--deskew", action="store_true", help="correct each cloud for the motion of the vehicle")
    add(
        "--point-times",
        action="store_true",
        help="write the time of each point, for tools/estimate_poses.py to correct the motion",
    )
    parsed = parser.parse_args(arguments)
    _check(parser, parsed)
    return parsed


def _add_topic_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--clouds", metavar="TOPIC", help="PointCloud2, or Livox's CustomMsg")
    add(
        "--images",
        nargs="+",
        default=[],
        metavar="[NAME=]TOPIC",
        help="Image or CompressedImage of each camera (default: LiDAR only)",
    )
    add(
        "--camera-info",
        nargs="+",
        default=[],
        metavar="[NAME=]TOPIC",
        help="CameraInfo of each camera (default: camera_info next to its images)",
    )
    add(
        "--poses",
        metavar="TOPIC",
        help="Odometry, PoseStamped or similar; or tf:FRAME for the pose in that frame "
        "(default: no poses.txt)",
    )
    add(
        "--pose-frame",
        metavar="FRAME",
        help="frame whose poses are recorded (default: child_frame_id of the odometry)",
    )


def camera_topics(texts: Sequence[str]) -> dict[str, str]:
    """Return topics by the name of their camera, which is NAME or taken from the topic.

    Raises:
        ValueError: If two cameras have the same name.
    """
    topics: dict[str, str] = {}
    for text in texts:
        name, separator, topic = text.partition("=")
        if not separator:
            topic = text
            words = [word for word in topic.split("/") if word and word not in GENERIC_WORDS]
            name = "_".join(words) or "camera"
        if name in topics or not name or "/" in name:
            raise ValueError(
                f"{text}: expected a new name without '/' for each camera, found '{name}': write "
                "NAME=TOPIC"
            )
        topics[name] = topic
    return topics


def main(arguments: argparse.Namespace) -> None:
    """List the topics, or convert.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If the bag, a topic or a calibration cannot be used.
    """
    with open_bag(arguments.bags) as bag:
        if arguments.clouds is None:
            print(topic_table(bag))
            return
        frames = convert(bag, arguments.bags, arguments.out, _options(arguments))
    print(f"{frames} frames in {arguments.out}")


def topic_table(bag: Bag) -> str:
    """Return a line for each topic: what it can be used for, messages, type and name."""
    lines = [f"{'use':<12} {'messages':>9}  {'type':<40} topic"]
    lines += [
        f"{topic.role or '-':<12} {topic.count:>9,}  {topic.kind:<40} {topic.name}"
        for topic in bag.topics.values()
    ]
    return "\n".join([*lines, "", "To convert, name --out, --clouds and, with a camera, --images."])


def _check(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> None:
    """Refuse options that need others."""
    if parsed.clouds is None and (parsed.images or parsed.poses or parsed.out):
        parser.error("--out, --images and --poses need --clouds: without topics, they are listed")
    if parsed.clouds is not None and parsed.out is None:
        parser.error("--clouds needs --out, the folder of the recording")
    if parsed.deskew and parsed.poses is None:
        parser.error("--deskew needs --poses, which give the motion")
    if parsed.deskew and parsed.point_times:
        parser.error("--point-times with --deskew: then all points have the time of the cloud")
    if parsed.calib is not None and parsed.calib.suffix != ".json":
        parser.error(f"--calib needs a .json file, found {parsed.calib}")


def _options(arguments: argparse.Namespace) -> ConversionOptions:
    images = camera_topics(arguments.images)
    infos = arguments.camera_info
    if len(images) == len(infos) == 1 and "=" not in infos[0]:
        camera_info = {next(iter(images)): infos[0]}
    else:
        camera_info = camera_topics(infos)
    unknown = sorted(camera_info.keys() - images.keys())
    if unknown:
        raise ValueError(
            f"--camera-info: expected the cameras {sorted(images)}, found {unknown}: write "
            "NAME=TOPIC"
        )
    return ConversionOptions(
        clouds=arguments.clouds,
        images=images,
        camera_info=camera_info,
        poses=arguments.poses,
        pose_frame=arguments.pose_frame,
        calibration=arguments.calib,
        tolerance_s=arguments.tolerance,
        image_max=arguments.image_max,
        lidar_height_m=arguments.lidar_height,
        deskew=arguments.deskew,
        point_times=arguments.point_times,
    )


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
