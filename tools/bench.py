"""Train and score the variants of MineSim-Bench, and record each run as a JSON file.

    python tools/bench.py                                  every variant once, with seed 42
    python tools/bench.py full lidar --seeds 42 1 2        some variants, three times

A run trains (train.py), scores validation and test (eval_iou.py, with distances and RayIoU) and, on
request, sensor corruptions (eval_robustness.py) and latency (tools/benchmark.py). It needs the data
of `make bench-data` and verifies it first. Recorded runs are skipped, and the same command resumes
interrupted ones. `tools/update_tables.py` turns the records into tables.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from dataset.fingerprints import verify
from engine.experiments.plan import Run, Settings
from engine.experiments.queue import Queue, visible_gpus
from engine.experiments.record import Facts, commit_of_code
from engine.number_options import count, whole_number
from utils.config import PRECISIONS
from utils.console import run_script, say, start_logging
from utils.outputs import output_folder
from utils.shortlist import shortlist

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = ROOT / "config/minesim/bench"
DATA = VARIANTS / "data.csv"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    known = ", ".join(path.stem for path in sorted(VARIANTS.glob("*.py")))
    add("variants", nargs="*", metavar="VARIANT", help=f"variants to run: {known}, or paths of "
        "other configs (default: all of these)")  # fmt: skip
    add("--seeds", nargs="+", type=whole_number(0, 2**32 - 1), default=[42], metavar="N",
        help="random seeds; each variant runs with each (default: 42)")  # fmt: skip
    add("--data-root", type=Path, default=Path("data/minesim_bench"), metavar="DIR",
        help="folder of the data (default: data/minesim_bench)")  # fmt: skip
    add("--data-file", type=Path, default=DATA, metavar="FILE", help="fingerprints to verify the "
        "data with (default: those of MineSim-Bench)")  # fmt: skip
    add("--work-root", type=output_folder, default=Path("out/bench"), metavar="DIR",
        help="folder of the work directories (default: out/bench)")  # fmt: skip
    add("--results", type=output_folder, default=Path("assets/bench"), metavar="DIR",
        help="folder of the records (default: assets/bench)")  # fmt: skip
    add("--jobs", type=count, metavar="N",
        help="runs at a time, spread over the GPUs (default: one per GPU)")  # fmt: skip
    add("--amp", choices=PRECISIONS, help="mixed precision of the training (default: bf16 on a "
        "GPU, else off)")  # fmt: skip
    add("--robustness-frames", type=whole_number(0), default=0, metavar="N", help="also score N "
        "test frames under each corruption (default: 0, none)")  # fmt: skip
    add("--latency", action="store_true", help="also time the inference of one frame; best alone "
        "on the GPU, with --jobs 1")  # fmt: skip
    add("--commit", metavar="HASH", help="commit of the code, if it is not in a git repository")
    add("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE",
        help="override values of all configs")  # fmt: skip
    return parser.parse_args(arguments)


def configs_of(names: Sequence[str]) -> list[Path]:
    """Return the config files of variants, each once, or of all.

    Raises:
        FileNotFoundError: If there is none of a name.
        ValueError: If two of them have the same name.
    """
    if not names:
        return sorted(VARIANTS.glob("*.py"))
    paths = [Path(name) if name.endswith(".py") else VARIANTS / f"{name}.py" for name in names]
    config_of: dict[str, Path] = {}
    for path in paths:
        if not path.is_file():
            known = ", ".join(path.stem for path in sorted(VARIANTS.glob("*.py")))
            raise FileNotFoundError(f"config {path} not found; the variants are {known}")
        other = config_of.setdefault(path.stem, path)
        if not other.samefile(path):
            raise ValueError(f"{other} and {path} have the same name, which their work directories "
                "and records have, too: rename one")  # fmt: skip
    return list(config_of.values())


def main(arguments: argparse.Namespace) -> None:
    """Verify the data and execute the runs.

    Raises:
        ValueError: If a run has failed.
    """
    gpus = visible_gpus()
    settings = Settings(
        data_root=arguments.data_root,
        work_root=arguments.work_root,
        results=arguments.results,
        overrides=tuple(arguments.cfg_options),
        amp=arguments.amp or ("bf16" if gpus else "off"),
        robustness_frames=arguments.robustness_frames,
        latency=arguments.latency,
    )
    configs = configs_of(arguments.variants)
    runs = [
        Run(config, seed, settings) for seed in dict.fromkeys(arguments.seeds) for config in configs
    ]
    for run in runs:
        run.load_config()
    data = verify(arguments.data_root, arguments.data_file)
    say(data.describe())
    facts = Facts(
        data=data.to_json(),
        commit=arguments.commit or commit_of_code(),
        device=torch.cuda.get_device_name(0) if gpus else "CPU",
    )
    if facts.commit == "unknown":
        say("warning: the code is in no git repository, so records lack its commit: pass --commit")
    failures = Queue(facts, gpus, arguments.jobs or max(1, len(gpus))).execute(runs)
    if failures:
        named = shortlist([f"{name}: {why}" for name, why in failures.items()])
        raise ValueError(f"{len(failures)} of {len(runs)} runs failed: {named}")


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    # A job scheduler ends a job with SIGTERM: stop the commands of the runs, too.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    run_script(
        lambda: main(options), on_interruption="stopped; run the same command again to resume"
    )
