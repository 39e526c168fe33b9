"""How fast the network of a config is, what it needs, and how far that is from the floor.

The inputs are made up (``engine/benchmark/synthetic.py``) and lie on the device; no file is read.
The whole is timed in runs of its own; the stages in runs that are interrupted between the parts.
"""

import gc
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch
from mmengine.config import Config
from torch import nn
from torch.autograd import DeviceType

from dataset.sample import Batch
from engine.benchmark.floor import WHOLE, Work, count_work, measure_rates
from engine.benchmark.synthetic import synthetic_batch
from engine.benchmark.training_loop import time_training_loop
from engine.build.build import (
    amp_dtype,
    build_model,
    build_optimizer,
    input_fields,
    place,
    sensors_of,
)
from model.lidar_encoder import LidarEncoder
from model.unsocc import DENSE_PARTS, UnsOcc, required
from model.voxelize import voxelize
from utils.config import Runtime, Schedule, read_section
from utils.timing import Clock, Timing, time_runs, time_stages

AMP_OF_PRECISION = {"fp32": "off", "bf16": "bf16", "fp16": "fp16"}
ALL_TERMS, WITHOUT_RENDERING = "all terms", "without rendering"
VOXELIZE = "voxelise"
PROFILED_RUNS = 5
TOP_KERNELS = 20

Report = dict[str, Any]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What is measured, and how.

    Attributes:
        precisions: Some of "fp32", "bf16" and "fp16".
        batch_sizes: Frames of a training step; none: training is not measured.
        iterations: Timed runs.
        warmup: Runs before.
        compiled: Parts of the network that torch.compile is applied to; None: as the config says.
        compile_mode: Its mode.
        profile: Whether the slowest kernels are listed.
        steps: Whether training's step is timed, on made-up frames.
        files: Whether training's own loop is timed, on the config's data.

    Raises:
        ValueError: If a number or a precision is out of its range.
    """

    precisions: tuple[str, ...]
    batch_sizes: tuple[int, ...] = ()
    iterations: int = 50
    warmup: int = 10
    compiled: tuple[str, ...] | None = None
    compile_mode: str = "default"
    profile: bool = False
    steps: bool = True
    files: bool = False

    def __post_init__(self) -> None:
        """Check the fields."""
        if not self.precisions or not set(self.precisions) <= set(AMP_OF_PRECISION):
            known, given = list(AMP_OF_PRECISION), list(self.precisions)
            raise ValueError(f"precisions must be one or more of {known}, got {given}")
        if min(self.iterations, self.warmup + 1, *self.batch_sizes) < 1:
            raise ValueError(
                "iterations and batch sizes must be at least 1 and warmup at least 0, got "
                f"{self.iterations}, {list(self.batch_sizes)} and {self.warmup}"
            )


def benchmark(cfg: Config, options: Options, device: torch.device) -> Report:
    """Measure the network of a config.

    Returns:
        Plain values for a JSON file; times in milliseconds. ``table.py`` beside this prints it.

    Raises:
        ValueError: If the config is at fault, the device lacks a precision, or the network lacks a
            part that is to be compiled.
    """
    dtypes = {precision: _amp_dtype(precision, device) for precision in options.precisions}
    # As the training's runner does.
    torch.backends.cudnn.benchmark = read_section(cfg, "runtime", Runtime).cudnn_benchmark
    clock = Clock(device)
    report: Report = {
        "device": torch.cuda.get_device_name(device) if clock.on_gpu else "CPU",
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "config": str(cfg.filename),
        "modality": cfg.modality,
        "options": asdict(options),
    }
    logger.info("the rates of the device")
    rates = {
        precision: measure_rates(clock, dtype or torch.float32)
        for precision, dtype in dtypes.items()
    }
    report |= _inference(cfg, options, clock)
    report["rates"] = {precision: asdict(rate) for precision, rate in rates.items()}
    report["floor_ms"] = {
        precision: {name: rate.floor_ms(Work(**work)) for name, work in report["work"].items()}
        for precision, rate in rates.items()
    }
    report["training"] = [
        _training(variant, options, clock, terms, precision, size)
        for terms, variant in term_variants(cfg).items()
        for precision in options.precisions
        for size in options.batch_sizes
        if options.steps
    ]
    report["training_files"] = [
        _training_loop(cfg, options, clock, precision, size)
        for precision in options.precisions
        for size in options.batch_sizes
        if options.files
    ]
    return report


def term_variants(cfg: Config) -> dict[str, Config]:
    """The config as it is, and without what is rendered in training, if anything is."""
    variants = {ALL_TERMS: cfg}
    if cfg.model.get("rendering") and cfg.modality != "lidar":
        without = cfg.copy()
        without.merge_from_dict({"model.rendering": None})
        variants[WITHOUT_RENDERING] = without
    return variants


def compile_parts(network: UnsOcc, options: Options, runtime: Runtime, *, mode: str) -> list[str]:
    """Compile what the options name, or else what the config compiles.

    Returns:
        Names of those parts.

    Raises:
        ValueError: If the network has no such part.
    """
    parts = [name for name, _ in network.named_children()]
    unknown = sorted(set(options.compiled or ()) - set(parts))
    if unknown:
        raise ValueError(f"the network has no parts {unknown} to compile; it has {parts}")
    of_config = DENSE_PARTS if runtime.compile else ()
    names = of_config if options.compiled is None else options.compiled
    if names:
        # Else earlier networks count towards torch's limit of compiled versions of a function.
        torch.compiler.reset()
    return network.compile_dense(mode, names)


def _inference(cfg: Config, options: Options, clock: Clock) -> Report:
    """Count the work of one frame, and time it in every precision."""
    network = place(build_model(cfg), clock.device).eval()
    batch = synthetic_batch(cfg, 1, device=clock.device)
    parameters = {name: _num_parameters(part) for name, part in network.named_children()}
    inputs = [getattr(batch, name) for name in input_fields(sensors_of(cfg))]
    work = count_work(network, lambda: network.infer(batch).logits, inputs)
    report: Report = {
        "inputs": _describe(cfg, batch, network),
        "parameters": parameters | {WHOLE: _num_parameters(network)},
        "work": {name: stage._asdict() for name, stage in work.items()},
    }
    runtime = read_section(cfg, "runtime", Runtime)
    report["compiled"] = compile_parts(network, options, runtime, mode=options.compile_mode)
    report["inference"] = {
        precision: _time_inference(network, batch, precision, options, clock)
        for precision in options.precisions
    }
    return report


def _time_inference(
    network: UnsOcc, batch: Batch, precision: str, options: Options, clock: Clock
) -> Report:
    """Times of one frame, of the whole and by stage, and the peak of memory."""
    logger.info("inference in %s", precision)
    runs = (options.iterations, options.warmup)

    def infer() -> None:
        # The context ends with each frame: it would keep the rounded weights for the next.
        with _autocast(precision, clock.device):
            network.infer(batch)

    with torch.inference_mode():
        whole = time_runs(infer, clock, *runs)
        peak_bytes = clock.peak_bytes()
        stages = time_stages(infer, network, clock, *runs)
        if "lidar_encoder" in stages:
            encoder = network.lidar_encoder
            sort, encode = _time_lidar(encoder, batch, precision, options, clock)
            stages = {VOXELIZE: sort} | stages | {"lidar_encoder": encode}
        kernels = top_kernels(infer, clock) if options.profile else None
    logger.info("inference in %s takes %.1f ms", precision, whole.median_ms)
    report: Report = {"stages": {name: asdict(timing) for name, timing in stages.items()}}
    report["stages"][WHOLE] = asdict(whole)
    return report | {"peak_bytes": peak_bytes, "kernels": kernels}


def _time_lidar(
    encoder: LidarEncoder, batch: Batch, precision: str, options: Options, clock: Clock
) -> tuple[Timing, Timing]:
    """Times of the two halves of the LiDAR encoder: sorting into voxels, and the network."""
    points = required(batch, "points")
    voxels = voxelize(points, encoder.lidar_grid)

    def encode() -> None:
        with _autocast(precision, clock.device):
            encoder.encode(voxels, len(points))

    runs = (options.iterations, options.warmup)
    sort = time_runs(lambda: voxelize(points, encoder.lidar_grid), clock, *runs)
    return sort, time_runs(encode, clock, *runs)


def _training(
    cfg: Config, options: Options, clock: Clock, terms: str, precision: str, size: int
) -> Report:
    """Time and memory of a training step: losses, backward pass and update of the weights."""
    logger.info("training step, %s, %s, batch %d", terms, precision, size)
    report: Report = {"terms": terms, "precision": precision, "batch_size": size}
    try:
        report |= _time_training(cfg, options, clock, precision, size)
        logger.info("%.1f frames a second", report["frames_per_s"])
    except torch.OutOfMemoryError:
        report["failure"] = "out of memory"
    except FloatingPointError:
        report["failure"] = "the loss is not finite"
    gc.collect()
    if clock.on_gpu:
        torch.cuda.empty_cache()
    return report


def _training_loop(
    cfg: Config, options: Options, clock: Clock, precision: str, size: int
) -> Report:
    """Time of training's own loop, with its files and its loader."""
    logger.info("training from files, %s, batch %d", precision, size)
    found = time_training_loop(
        cfg,
        clock,
        amp=AMP_OF_PRECISION[precision],
        batch_size=size,
        iterations=options.iterations,
        warmup=options.warmup,
    )
    gc.collect()
    return {"precision": precision, "batch_size": size} | found


def _time_training(
    cfg: Config, options: Options, clock: Clock, precision: str, size: int
) -> Report:
    network = place(build_model(cfg), clock.device).train()
    # Not in the options' mode: a graph's outputs do not outlive it, and a backward pass needs them.
    compile_parts(network, options, read_section(cfg, "runtime", Runtime), mode="default")
    schedule = replace(read_section(cfg, "schedule", Schedule), amp=AMP_OF_PRECISION[precision])
    optimizer = build_optimizer(network, schedule, clock.device)
    batch = synthetic_batch(cfg, size, device=clock.device)

    def step() -> None:
        network.train_step(batch, optimizer)

    timing = time_runs(step, clock, options.iterations, options.warmup)
    return {
        "step": asdict(timing),
        "frames_per_s": 1e3 * size / timing.median_ms,
        "peak_bytes": clock.peak_bytes(),
        "kernels": top_kernels(step, clock) if options.profile else None,
    }


def top_kernels(run: Callable[[], Any], clock: Clock) -> list[Report]:
    """The slowest kernels of a run (on a CPU, operators), by their time together.

    Args:
        run: What is profiled, ``PROFILED_RUNS`` times.
        clock: The clock of its device.

    Returns:
        Name, calls a run, time a run [ms] and share of the time of all, of ``TOP_KERNELS`` kernels.
    """
    gpu, activity = clock.on_gpu, torch.profiler.ProfilerActivity
    kind = DeviceType.CUDA if gpu else DeviceType.CPU
    with torch.profiler.profile(activities=[activity.CUDA if gpu else activity.CPU]) as log:
        for _ in range(PROFILED_RUNS):
            run()
        clock.wait()
    # Annotations are spans over kernels, which would count twice.
    events = [
        event
        for event in log.key_averages()
        if event.device_type == kind and not event.is_user_annotation
    ]

    def time_ms(event: Any) -> float:
        total_us = event.self_device_time_total if gpu else event.self_cpu_time_total
        return 1e-3 * total_us / PROFILED_RUNS

    whole_ms = sum(map(time_ms, events))
    return [
        {
            "kernel": event.key,
            "calls": event.count / PROFILED_RUNS,
            "ms": time_ms(event),
            "share": time_ms(event) / whole_ms,
        }
        for event in sorted(events, key=time_ms, reverse=True)[:TOP_KERNELS]
    ]


def _autocast(precision: str, device: torch.device) -> torch.autocast:
    dtype = _amp_dtype(precision, device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def _amp_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    return amp_dtype(AMP_OF_PRECISION[precision], device)


def _num_parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _describe(cfg: Config, batch: Batch, network: UnsOcc) -> Report:
    """What a frame holds."""
    occupancy = required(batch, "occupancy")
    sizes: Report = {
        "grid": list(occupancy.shape[1:]),
        "labelled_voxels": int((occupancy > 0).sum()),
    }
    if batch.images is not None:
        sizes["image_size"] = list(batch.images.shape[-2:])
    if batch.points is not None:
        voxels = voxelize(batch.points, network.lidar_encoder.lidar_grid)
        sizes |= {"points": len(batch.points[0]), "lidar_voxels": len(voxels.coordinates)}
    return sizes
