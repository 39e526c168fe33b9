"""Export a trained network to one file, after a comparison with the network itself."""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from mmengine.config import Config

from engine.benchmark.timing import Clock, Timing, time_runs
from engine.build.build import amp_dtype, sensors_of
from engine.checkpoint.weights import TrainedWeights
from engine.export import files
from engine.export.frames import RawFrame, made_up_frames, recorded_frames
from engine.export.network import ExportedNetwork
from engine.export.parity import Parity, check, compare
from engine.export.signature import Signature, check_extras, describe
from engine.prediction.frames import PredictionFrames
from engine.prediction.predictor import GridPredictor, build_predictor
from model.captured import room_for
from model.lidar_encoder import LidarEncoder
from utils.whole_files import new_file

AMP_OF_PRECISION = {"fp32": "off", "bf16": "bf16", "fp16": "fp16"}
WARMUP_RUNS = 3
TIMED_RUNS = 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportOptions:
    """What to export.

    Attributes:
        format: One of ``files.FORMATS``.
        device: "cpu" or "cuda".
        precision: "fp32", "bf16" or "fp16".
        image_size: Height and width of recorded images; None: not stated.
        max_points: Rows of the point cloud; None: half as many again as frames of the check have.
        max_voxels: Room for occupied voxels at each resolution of the LiDAR encoder, finest first;
            empty: for as many as the points can occupy.
        extras: Outputs beside the occupancy.
        split: Split of the data set that frames of the check are from; None: made-up frames.
        frames: Number of frames of the check.
    """

    format: str = "pt2"
    device: str = "cpu"
    precision: str = "fp32"
    image_size: tuple[int, int] | None = None
    max_points: int | None = None
    max_voxels: tuple[int, ...] = ()
    extras: tuple[str, ...] = ()
    split: str | None = None
    frames: int = 4


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        parity: Comparison with the network.
        bytes: Size of the file.
        compile_s: Time to trace, and to compile or convert [s].
        load_s: Time to load the file [s].
        first_s: Time of the first frame after that [s].
        network: Time of a frame by the network itself, not compiled, in the same precision.
        exported: Time of a frame by the file.
    """

    parity: Parity
    bytes: int
    compile_s: float
    load_s: float
    first_s: float
    network: Timing
    exported: Timing


def export(cfg: Config, weights: TrainedWeights, path: Path, options: ExportOptions) -> Exported:
    """Export a network, compare the file with it, and only then keep the file.

    Args:
        cfg: The config.
        weights: The weights.
        path: File to write.
        options: What to export.

    Raises:
        ValueError: If the options do not go together, a part cannot be exported, or the file
            differs from the network.
    """
    files.check_format(options.format, device=options.device, precision=options.precision)
    check_extras(cfg, options.extras)
    reference = build_predictor(cfg, weights, device=options.device)
    frames = list(check_frames(cfg, reference, options))
    signature = sign(cfg, reference, frames, options)
    entries = describe(signature, cfg, weights, device=options.device, precision=options.precision)
    same_precision = GridPredictor(
        reference.network,
        reference.grid,
        reference.labels,
        reference.inputs,
        amp=amp_dtype(AMP_OF_PRECISION[options.precision], reference.device),
    )
    network = ExportedNetwork(same_precision, signature)
    network.to(reference.device)
    inputs = frames[0].inputs(signature, reference.device)
    write, load = {
        "pt2": (files.write_package, files.load_package),
        "onnx": (files.write_onnx, files.load_onnx),
    }[options.format]
    began = time.perf_counter()
    program = files.traced(network, inputs)
    logger.info("traced in %.0f s; writing %s", time.perf_counter() - began, path)
    clock = Clock(reference.device)
    with new_file(path, ending=path.suffix) as partial:
        write(program, partial, entries)
        written = time.perf_counter()
        run = load(partial)
        loaded = time.perf_counter()
        run(inputs)
        clock.wait()
        first = time.perf_counter()
        parity = compare(run, signature, reference, frames)
        check(parity, str(path), options.precision)
    batch = same_precision.load([frames[0].sample(reference.inputs)])
    runs = (clock, TIMED_RUNS, WARMUP_RUNS)
    return Exported(
        parity,
        path.stat().st_size,
        written - began,
        loaded - written,
        first - loaded,
        time_runs(lambda: same_precision.run(batch), *runs),
        time_runs(lambda: run(inputs), *runs),
    )


def check_frames(
    cfg: Config, predictor: GridPredictor, options: ExportOptions
) -> Iterable[RawFrame]:
    """Return the frames to compare on, with images of the stated size.

    Raises:
        FileNotFoundError: If the data set is missing.
        ValueError: If the network has a camera and no image size is stated, or the reverse.
    """
    has_camera = sensors_of(cfg) != "lidar"
    if has_camera != (options.image_size is not None):
        raise ValueError(
            "--image-size WIDTHxHEIGHT, the size of the recorded images, is missing: the network "
            "has a camera"
            if has_camera
            else "--image-size is for networks with a camera, and this one reads the LiDAR only: "
            "leave it out"
        )
    if options.split is None:
        return made_up_frames(cfg, options.image_size, options.frames)
    samples = PredictionFrames(cfg, options.split, limit=options.frames, with_extras=False)
    return recorded_frames(
        [samples[number] for number in range(len(samples))], predictor.inputs, options.image_size
    )


def sign(
    cfg: Config, predictor: GridPredictor, frames: Sequence[RawFrame], options: ExportOptions
) -> Signature:
    """Return the inputs and outputs of the file.

    Raises:
        ValueError: If frames have more points than ``max_points``, or ``max_voxels`` has another
            length than the LiDAR encoder has resolutions.
    """
    sensors, first = sensors_of(cfg), frames[0]
    cameras = 0 if first.images is None else len(first.images)
    if first.points is None:
        if options.max_points is not None or options.max_voxels:
            raise ValueError(
                "--max-points and --max-voxels are for networks with a LiDAR, and this one reads "
                "the camera only: leave them out"
            )
        return Signature(sensors, options.image_size, cameras, extras=options.extras)
    most = max(len(frame.points) for frame in frames if frame.points is not None)
    max_points = options.max_points or room_for(most)
    if most > max_points:
        raise ValueError(
            f"--max-points {max_points:,}: a frame of the check has {most:,} points; raise it, "
            "or leave it out"
        )
    encoder = predictor.network.lidar_encoder
    room = largest_room(encoder, max_points)
    if options.max_voxels and len(options.max_voxels) != len(room):
        raise ValueError(
            f"--max-voxels needs a number for each of the {len(room)} resolutions of the LiDAR "
            f"encoder, finest first, got {len(options.max_voxels)}"
        )
    logger.info(
        "room for %s voxels at the resolutions of the LiDAR encoder; the frames of the check "
        "occupy up to %s. Less room, by --max-voxels, makes the file faster",
        list(options.max_voxels or room),
        occupied_voxels(encoder, frames, predictor.device),
    )
    limited = tuple(map(min, options.max_voxels, room)) if options.max_voxels else room
    return Signature(
        sensors,
        options.image_size,
        cameras,
        max_points=max_points,
        point_columns=first.points.shape[1],
        room=limited,
        is_limited=limited != room,
        extras=options.extras,
    )


def largest_room(encoder: LidarEncoder, max_points: int) -> tuple[int, ...]:
    """Return how many voxels this number of points can occupy, at each resolution."""
    cells = [encoder.lidar_grid.coarsen(2**level) for level in range(len(encoder.stages))]
    return tuple(min(max_points, prod(grid.shape)) for grid in cells)


@torch.no_grad()
def occupied_voxels(
    encoder: LidarEncoder, frames: Sequence[RawFrame], device: torch.device
) -> list[int]:
    """Return the largest number of voxels that a frame occupies, at each resolution."""
    clouds = [torch.from_numpy(frame.points) for frame in frames if frame.points is not None]
    numbers = [encoder([cloud.to(device)]).num_voxels for cloud in clouds]
    most: list[int] = torch.stack(numbers).amax(0).tolist()
    return most
