"""Score occupancy prediction under sensor corruptions.

    python eval_robustness.py --py-config CONFIG --resume-from FILE --out DIR

Scores the clean frames, then each corruption of camera, LiDAR or both at three severities, and
prints a table. DIR gets results.json after every pass, and results.png. The same command resumes an
interrupted run. docs/robustness.md defines the corruptions and the measures.
"""

import argparse
import sys
from collections.abc import Sequence

from engine.command_line import read_config, sensors_values, weights_to_score
from engine.robustness.benchmark import open_benchmark
from engine.robustness.chart import write_chart
from engine.robustness.options import add_robustness_options
from engine.robustness.table import format_table
from utils.console import run_script, start_logging
from utils.distributed import process_group, use_all_gpus


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_robustness_options(parser)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Score, print the table, and draw the chart."""
    with process_group() as process:
        start_logging(process.rank)
        weights = weights_to_score(args)
        cfg = read_config(args, sensors_values(args), weights=weights)
        benchmark = open_benchmark(cfg, weights, args, process)
        benchmark.run()
        if process.rank == 0:
            write_chart(args.out / "results.png", benchmark.results.summary())
            sys.stdout.write(format_table(benchmark.results, benchmark.baseline) + "\n")


if __name__ == "__main__":
    arguments = parse_arguments()
    use_all_gpus()
    run_script(
        lambda: main(arguments),
        on_interruption="stopped; the same command resumes the benchmark",
        parallel=True,
    )
