"""Measure how fast a network is and what it needs: time, memory, parameters, FLOPs, and the floor.

    python tools/benchmark.py --py-config config/unscenes3d/unscenes3d_occ.py
    python tools/benchmark.py --py-config CONFIG --precision bf16 --train --batch-size 1 2 4 8
    python tools/benchmark.py --py-config CONFIG --precision bf16 --train-files --batch-size 4 8
    python tools/benchmark.py --py-config ONE ANOTHER --precision bf16

Frames are made up, so no data set is needed, and lie on the device before anything is timed: on the
GPU if torch sees one (CUDA_VISIBLE_DEVICES= leaves it out), else on the CPU. Inference is timed
one frame at a time; --train adds whole training steps, with all terms of the loss and, where the
config renders in training, without what is rendered. --train-files adds train.py's own loop on the
config's data, with its loader, and says which share of the step's rate it reaches. Several configs
are measured one after the other and compared. Tables go to standard output.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from engine.benchmark.measure import AMP_OF_PRECISION, Options, benchmark
from engine.benchmark.table import compare, describe
from utils.config import MODALITIES, load_config, parse_options
from utils.console import run_script, start_logging
from utils.outputs import output_file
from utils.whole_files import write_json

COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--py-config", required=True, nargs="+", metavar="FILE", help="config file; several: "
        "compare them")  # fmt: skip
    add("--modality", choices=MODALITIES, help="sensors; default: the config's")
    add("--precision", nargs="+", choices=list(AMP_OF_PRECISION),
        help="default: all three on a GPU, fp32 on a CPU")  # fmt: skip
    add("--iterations", type=int, default=50, metavar="N", help="timed runs [50]")
    add("--warmup", type=int, default=10, metavar="N", help="runs before [10]")
    add("--train", action="store_true", help="measure training steps too")
    add("--train-files", action="store_true", help="also the loop of train.py on the data of the "
        "config")  # fmt: skip
    add("--batch-size", type=int, nargs="+", metavar="N",
        help="frames of a training step; several are measured one after the other [1]")  # fmt: skip
    add("--compile", nargs="*", metavar="PART",
        help="torch.compile these parts of the network; alone: runtime.compile=True")  # fmt: skip
    add("--compile-mode", choices=COMPILE_MODES, default="default",
        help="reduce-overhead: with CUDA graphs")  # fmt: skip
    add("--profile", action="store_true", help="list the slowest kernels of everything measured")
    add("--json", type=output_file, metavar="FILE", help="write all that was measured")
    add("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="values of the config")
    return parser.parse_args(argv)


def options_of(args: argparse.Namespace, device: torch.device) -> Options:
    """What the command line asks for.

    Raises:
        ValueError: If a number is out of its range, or options do not go together.
    """
    trains = args.train or args.train_files
    if args.batch_size and not trains:
        raise ValueError("--batch-size is that of --train: inference is timed frame by frame")
    usual = list(AMP_OF_PRECISION) if device.type == "cuda" else ["fp32"]
    return Options(
        precisions=tuple(args.precision or usual),
        batch_sizes=tuple(args.batch_size or [1]) if trains else (),
        iterations=args.iterations,
        warmup=args.warmup,
        compiled=tuple(args.compile) if args.compile else None,
        compile_mode=args.compile_mode,
        profile=args.profile,
        steps=args.train,
        files=args.train_files,
    )


def main(args: argparse.Namespace) -> None:
    """Measure, print the tables, write the JSON file."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    values = parse_options(args.cfg_options)
    if args.modality is not None:
        values["modality"] = args.modality
    if args.compile is not None:
        values["runtime.compile"] = True
    options = options_of(args, device)
    configs = [load_config(path, values) for path in args.py_config]
    reports = [benchmark(cfg, options, device) for cfg in configs]
    if args.json is not None:
        write_json(reports[0] if len(reports) == 1 else {"configs": reports}, args.json)
    print("\n\n".join(describe(report) for report in reports))
    if len(reports) > 1:
        print(f"\n{compare(reports)}")
    if args.json is not None:
        print(f"\nWritten to {args.json}.")


if __name__ == "__main__":
    start_logging()
    arguments = parse_arguments()
    run_script(lambda: main(arguments))
