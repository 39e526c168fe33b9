"""Benchmark a network: time, memory, parameters, FLOPs and the lower bound on time.

    python tools/benchmark.py --py-config config/unscenes3d/unscenes3d_occ.py
    python tools/benchmark.py --py-config CONFIG --precision bf16 --train --batch-size 1 2 4 8
    python tools/benchmark.py --py-config CONFIG --precision bf16 --train-files --batch-size 4 8
    python tools/benchmark.py --py-config CONFIG --precision bf16 --compile --capture --end-to-end
    python tools/benchmark.py --py-config CONFIG1 CONFIG2 --precision bf16
    python tools/benchmark.py --py-config CONFIG --train --compare KEY=VALUE
    python tools/benchmark.py --py-config CONFIG --precision bf16 --train-files --processes 1 2 4

Needs no data set: frames are synthetic and on the device before timing starts. The device is the
GPU if torch sees one, otherwise the CPU; CUDA_VISIBLE_DEVICES= forces the CPU. Inference is timed
at batch size 1. --train adds full training steps and, if the config renders in training, the same
steps without rendering. --train-files adds the loop of train.py on the config's data, including
data loading, and its throughput relative to the training step. Several configs are measured one
after another and compared; --compare measures each config again with other values.

--processes measures how the loop of train.py scales: it starts the loop on each number of
processes, one process a GPU, and prints frames/s of all processes together. So does torchrun, for
its own number of processes and on several machines. Both need --train-files, and measure only that.

--capture replays inference as one CUDA graph, as predict.py --compile does on a GPU. --end-to-end
times a frame from image files and a cloud in memory to the labels on the host, by stage. Tables are
written to stdout.
"""

import argparse
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torch.distributed as dist
from mmengine.config import Config

from engine.benchmark.measure import AMP_OF_PRECISION, MeasureOptions, benchmark
from engine.benchmark.scaling import launch, measure_processes, scaling_table
from engine.benchmark.table import compare, describe
from engine.number_options import count, whole_number
from utils.config import MODALITIES, load_config, parse_options
from utils.console import run_script, start_logging
from utils.distributed import Process, process_group
from utils.outputs import output_file
from utils.whole_files import write_json

COMPILE_MODES = ("default", "max-autotune-no-cudagraphs")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; ``words`` are its words as given."""
    words = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--py-config", required=True, nargs="+", metavar="FILE",
        help="config file, Python code that runs; several are compared")  # fmt: skip
    add("--modality", choices=MODALITIES, help="sensors (default: from the config)")
    add("--precision", nargs="+", choices=list(AMP_OF_PRECISION),
        help="precisions to measure (default: all three on a GPU, fp32 on a CPU)")  # fmt: skip
    add("--iterations", type=count, default=50, metavar="N", help="timed runs (default: 50)")
    add(
        "--warmup",
        type=whole_number(0),
        default=10,
        metavar="N",
        help="runs before timing (default: 10)",
    )
    add("--train", action="store_true", help="measure training steps, too")
    add("--train-files", action="store_true", help="measure the loop of train.py on the config's "
        "data, too")  # fmt: skip
    add("--processes", type=count, nargs="+", metavar="N",
        help="measure the loop of train.py on N processes of this machine, and compare several N; "
        "the batch size is that of one process")  # fmt: skip
    add("--batch-size", type=count, nargs="+", metavar="N",
        help="frames per training step; several are measured in turn (default: 1)")  # fmt: skip
    add("--compile", nargs="*", metavar="PART",
        help="compile these parts of the network with torch.compile; without PART: those that "
        "runtime.compile=True compiles")  # fmt: skip
    add(
        "--compile-mode",
        choices=COMPILE_MODES,
        default="default",
        help="torch.compile mode (default: default)",
    )
    add("--capture", action="store_true", help="replay inference as one CUDA graph")
    add("--end-to-end", action="store_true", help="time recorded frames from files in memory to "
        "labels on the host, too")  # fmt: skip
    add("--profile", action="store_true", help="list the slowest kernels of each measurement")
    add("--json", type=output_file, metavar="FILE", help="write all measurements to FILE")
    add("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE",
        help="override values of the config")  # fmt: skip
    add("--compare", nargs="+", default=[], metavar="KEY=VALUE",
        help="measure each config again with these values, too")  # fmt: skip
    parser.set_defaults(words=words)
    return parser.parse_args(words)


def options_of(args: argparse.Namespace, device: torch.device) -> MeasureOptions:
    """Build the options from the command line.

    Raises:
        ValueError: If a number is out of range, or options do not go together.
    """
    trains = args.train or args.train_files
    if args.processes and not (args.train_files and len(args.py_config) == 1 and not args.compare):
        raise ValueError(
            "--processes measures the loop of train.py for one config: add --train-files, and "
            "leave out --compare"
        )
    if args.batch_size and not trains:
        raise ValueError(
            "--batch-size needs --train or --train-files: inference is timed at batch size 1"
        )
    if args.capture and device.type != "cuda":
        raise ValueError("--capture records a CUDA graph, which needs a GPU: leave the option out")
    usual = list(AMP_OF_PRECISION) if device.type == "cuda" else ["fp32"]
    return MeasureOptions(
        precisions=tuple(args.precision or usual),
        batch_sizes=tuple(args.batch_size or [1]) if trains else (),
        iterations=args.iterations,
        warmup=args.warmup,
        compiled=tuple(args.compile) if args.compile else None,
        compile_mode=args.compile_mode,
        captured=args.capture,
        end_to_end=args.end_to_end,
        profile=args.profile,
        steps=args.train,
        files=args.train_files,
    )


def named(cfg: Config, others: Mapping[str, Any]) -> dict[str, str]:
    """Return the name of a measured config: its file, and the values of --compare."""
    return {"config": " ".join([str(cfg.filename), *(f"{k}={v}" for k, v in others.items())])}


def main(args: argparse.Namespace) -> None:
    """Measure, print the tables and write the JSON file."""
    with process_group() as process:
        start_logging(process.rank)
        run(args, process)


def run(args: argparse.Namespace, process: Process) -> None:
    """Measure on this process of the run; the first one prints and writes."""
    device = process.device
    values = parse_options(args.cfg_options)
    if args.modality is not None:
        values["modality"] = args.modality
    if args.compile is not None:
        values["runtime.compile"] = True
    options = options_of(args, device)
    variants = [{}, parse_options(args.compare)] if args.compare else [{}]
    configs = [
        (load_config(path, values | others), others)
        for path in args.py_config
        for others in variants
    ]
    if dist.is_initialized():
        if args.processes or not args.train_files or len(configs) > 1:
            raise ValueError(
                "torchrun measures the loop of train.py for one config on its own number of "
                "processes: use --train-files without --processes and --compare"
            )
        report = measure_processes(configs[0][0], options, process)
        if process.rank == 0:
            publish([report], scaling_table(report), args.json)
    elif args.processes:
        words = without_options(args.words, ("--processes", "--json"))
        report = launch(Path(__file__).resolve(), words, args.processes)
        publish([report], scaling_table(report), args.json)
    else:
        reports = [benchmark(cfg, options, device) | named(cfg, others) for cfg, others in configs]
        tables = [describe(report) for report in reports]
        tables += [compare(reports)] if len(reports) > 1 else []
        publish(reports, "\n\n".join(tables), args.json)


def without_options(words: Sequence[str], names: Collection[str]) -> list[str]:
    """Return the words of a command line without these options and their values."""
    kept, is_dropped = [], False
    for word in words:
        if word.startswith("--"):
            is_dropped = word.partition("=")[0] in names
        if not is_dropped:
            kept.append(word)
    return kept


def publish(reports: Sequence[Mapping[str, Any]], tables: str, file: Path | None) -> None:
    """Write the reports to a file, if there is one, and print the tables."""
    if file is not None:
        write_json(reports[0] if len(reports) == 1 else {"configs": reports}, file)
        tables += f"\n\nWritten to {file}."
    print(tables)


if __name__ == "__main__":
    arguments = parse_arguments()
    run_script(lambda: main(arguments), parallel=True)
