"""Measure the speed and memory of a config's network, and compare with the floor.

Inputs are synthetic (``engine/benchmark/synthetic.py``) and on the device; no files are read. The
whole network and its stages are timed in separate runs, because timing stages adds overhead.
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

from dataset.sample import Batch, required
from engine.benchmark.end_to_end import time_end_to_end
from engine.benchmark.floor import WHOLE, Work, count_work, measure_rates
from engine.benchmark.synthetic import synthetic_batch
from engine.benchmark.timing import Clock, Timing, time_captured_stages, time_runs, time_stages
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
from model.unsocc import COMPILED_PARTS, UnsOcc
from model.voxelize import voxelize
from utils.config import Runtime, Schedule, read_section
from utils.distributed import Process

AMP_OF_PRECISION = {"fp32": "off", "bf16": "bf16", "fp16": "fp16"}
ALL_TERMS, WITHOUT_RENDERING = "all terms", "without rendering"
VOXELIZE = "voxelize"
PROFILED_RUNS = 5
TOP_KERNELS = 20

Report = dict[str, Any]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MeasureOptions:
    """What to measure, and how.

    Attributes:
        precisions: One or more of "fp32", "bf16" and "fp16".
        batch_sizes: Batch sizes of training; empty to skip training.
        iterations: Number of timed runs.
        warmup: Number of warmup runs.
        compiled: Parts of the network to compile with torch.compile; None for those of the config.
        compile_mode: Mode of torch.compile.
        captured: Whether inference replays CUDA graphs.
        end_to_end: Whether to time frames from files in memory to labels on the host.
        profile: Whether to list the slowest kernels.
        steps: Whether to time training steps on synthetic frames.
        files: Whether to time the loop of train.py on the config's data.

    Raises:
        ValueError: If a number is out of range or a precision is unknown.
    """

    precisions: tuple[str, ...]
    batch_sizes: tuple[int, ...] = ()
    iterations: int = 50
    warmup: int = 10
    compiled: tuple[str, ...] | None = None
    compile_mode: str = "default"
    captured: bool = False
    end_to_end: bool = False
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


def benchmark(cfg: Config, options: MeasureOptions, device: torch.device) -> Report:
    """Measure the network of a config.

    Returns:
        Plain values for a JSON file, with times in milliseconds; ``table.py`` formats them.

    Raises:
        ValueError: If the config is invalid, the device does not support a precision, or the
            network lacks a part to compile.
    """
    dtypes = {precision: _amp_dtype(precision, device) for precision in options.precisions}
    # As in the Runner.
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
    logger.info("measuring the rates of the device")
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
    report["end_to_end"] = {
        precision: _end_to_end(cfg, options, clock, precision)
        for precision in options.precisions
        if options.end_to_end
    }
    report["training"] = [
        _training(variant, options, clock, terms, precision, size)
        for terms, variant in term_variants(cfg).items()
        for precision in options.precisions
        for size in options.batch_sizes
        if options.steps
    ]
    report["training_files"] = []
    if options.files:
        report["training_files"] = time_loops(cfg, options, Process(0, 1, device))
    return report


def time_loops(cfg: Config, options: MeasureOptions, process: Process) -> list[Report]:
    """Time the loop of train.py for each precision and batch size, on all processes of the run."""
    return [
        _training_loop(cfg, options, process, precision, size)
        for precision in options.precisions
        for size in options.batch_sizes
    ]


def term_variants(cfg: Config) -> dict[str, Config]:
    """Return the config as it is, and without rendering if its training renders."""
    variants = {ALL_TERMS: cfg}
    if cfg.model.get("rendering") and cfg.modality != "lidar":
        without = cfg.copy()
        without.merge_from_dict({"model.rendering": None})
        variants[WITHOUT_RENDERING] = without
    return variants


def compile_parts(
    network: UnsOcc, options: MeasureOptions, runtime: Runtime, *, mode: str
) -> list[str]:
    """Compile the parts given by the options, or else by the config.

    Returns:
        Names of the compiled parts.

    Raises:
        ValueError: If the network has no such part.
    """
    parts = [name for name, _ in network.named_children()]
    unknown = sorted(set(options.compiled or ()) - set(parts))
    if unknown:
        raise ValueError(f"the network has no parts {unknown} to compile; expected some of {parts}")
    default = COMPILED_PARTS if runtime.compile else ()
    names = default if options.compiled is None else options.compiled
    if names:
        # Otherwise earlier networks count toward torch's limit of compiled versions per function.
        torch.compiler.reset()
    return network.compile_parts(mode, names)


def _inference(cfg: Config, options: MeasureOptions, clock: Clock) -> Report:
    """Count the work of one frame, and time it in each precision."""
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
    if options.captured:
        network.capture()
    report["inference"] = {
        precision: _time_inference(network, batch, precision, options, clock)
        for precision in options.precisions
    }
    return report


def _time_inference(
    network: UnsOcc, batch: Batch, precision: str, options: MeasureOptions, clock: Clock
) -> Report:
    """Time one frame, in total and by stage, and measure the peak memory."""
    logger.info("inference in %s", precision)
    runs = (options.iterations, options.warmup)

    def infer() -> None:
        # A new context per frame: otherwise it caches the cast weights between frames.
        with _autocast(precision, clock.device):
            network.infer(batch)

    with torch.inference_mode():
        whole = time_runs(infer, clock, *runs)
        peak_bytes = clock.peak_bytes()
        logger.info("inference in %s takes %.2f ms", precision, whole.median_ms)
        kernels = top_kernels(infer, clock) if options.profile else None
        if network.captured is not None:
            stages = time_captured_stages(infer, network.capture, network, clock, runs[0])
        else:
            stages = time_stages(infer, network, clock, *runs)
            if "lidar_encoder" in stages:
                encoder = network.lidar_encoder
                voxelization, encode = _time_lidar(encoder, batch, precision, options, clock)
                stages = {VOXELIZE: voxelization} | stages | {"lidar_encoder": encode}
    report: Report = {"stages": {name: asdict(timing) for name, timing in stages.items()}}
    report["stages"][WHOLE] = asdict(whole)
    return report | {"peak_bytes": peak_bytes, "kernels": kernels}


def _time_lidar(
    encoder: LidarEncoder, batch: Batch, precision: str, options: MeasureOptions, clock: Clock
) -> tuple[Timing, Timing]:
    """Time the two halves of the LiDAR encoder: voxelization, and the network."""
    points = required(batch, "points")
    voxels = voxelize(points, encoder.lidar_grid)

    def encode() -> None:
        with _autocast(precision, clock.device):
            encoder.encode(voxels, len(points))

    runs = (options.iterations, options.warmup)
    voxelization = time_runs(lambda: voxelize(points, encoder.lidar_grid), clock, *runs)
    return voxelization, time_runs(encode, clock, *runs)


def _end_to_end(cfg: Config, options: MeasureOptions, clock: Clock, precision: str) -> Report:
    """Time frames from files in memory to labels on the host."""
    logger.info("end to end in %s", precision)
    torch.compiler.reset()
    return time_end_to_end(
        cfg,
        clock,
        amp=AMP_OF_PRECISION[precision],
        compiled=options.captured or read_section(cfg, "runtime", Runtime).compile,
        iterations=options.iterations,
        warmup=options.warmup,
    )


def _training(
    cfg: Config, options: MeasureOptions, clock: Clock, terms: str, precision: str, size: int
) -> Report:
    """Measure time and memory of a training step: losses, backward pass and weight update."""
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
    cfg: Config, options: MeasureOptions, process: Process, precision: str, size: int
) -> Report:
    """Time the loop of train.py, with its data loader and files."""
    logger.info("training from files, %s, batch %d", precision, size)
    found = time_training_loop(
        cfg,
        process,
        amp=AMP_OF_PRECISION[precision],
        batch_size=size,
        iterations=options.iterations,
        warmup=options.warmup,
    )
    gc.collect()
    facts = {"precision": precision, "batch_size": size, "processes": process.world_size}
    return facts | found


def _time_training(
    cfg: Config, options: MeasureOptions, clock: Clock, precision: str, size: int
) -> Report:
    network = place(build_model(cfg), clock.device).train()
    # Not the mode of the options: outputs of a CUDA graph do not survive until the backward pass.
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
    """Profile the slowest kernels of a run (on a CPU, operators) by total time.

    Args:
        run: The function to profile, called ``PROFILED_RUNS`` times.
        clock: The clock of its device.

    Returns:
        Name, calls per run, time per run [ms] and share of the total, of ``TOP_KERNELS`` kernels.
    """
    gpu, activity = clock.on_gpu, torch.profiler.ProfilerActivity
    kind = DeviceType.CUDA if gpu else DeviceType.CPU
    watched = activity.CUDA if gpu else activity.CPU
    with torch.profiler.profile(activities=[watched], acc_events=True) as log:
        for _ in range(PROFILED_RUNS):
            run()
        clock.wait()
    # Skip annotations: they span kernels, which would count twice.
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
    """Return the sizes of a frame."""
    occupancy = required(batch, "occupancy")
    sizes: Report = {
        "grid": list(occupancy.shape[1:]),
        "labeled_voxels": int((occupancy > 0).sum()),
    }
    if batch.images is not None:
        sizes["image_size"] = list(batch.images.shape[-2:])
    if batch.points is not None:
        voxels = voxelize(batch.points, network.lidar_encoder.lidar_grid)
        sizes |= {"points": len(batch.points[0]), "lidar_voxels": int(voxels.number)}
    return sizes
