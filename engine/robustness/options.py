"""Options of ``eval_robustness.py``."""

import argparse
from pathlib import Path

from dataset.corruptions.table import CORRUPTIONS, SEVERITIES
from engine.command_line import (
    add_config_options,
    add_sensors_option,
    add_split_option,
    add_weight_options,
)
from engine.evaluation.nuscenes_options import add_nuscenes_options
from engine.metrics.occupancy import CONVENTIONS
from engine.number_options import count, whole_number
from utils.config import PRECISIONS
from utils.outputs import output_folder

BLANK, SKIP = "blank", "skip"


def add_robustness_options(parser: argparse.ArgumentParser) -> None:
    """Add all options of the benchmark."""
    add_config_options(parser, required=False)
    add_weight_options(parser)
    add_split_option(parser)
    add_sensors_option(parser)
    add = parser.add_argument
    add("--out", required=True, type=output_folder, metavar="DIR",
        help="folder of results.json and results.png; results there are resumed")  # fmt: skip
    add_corruption_options(parser)
    add("--limit", type=whole_number(0), default=0, metavar="N",
        help="score only N frames, spread evenly over the split")  # fmt: skip
    add("--baseline", type=Path, metavar="FILE",
        help="results.json of another network, for CE and RRA")  # fmt: skip
    add("--missing-sensor", choices=(BLANK, SKIP), default=BLANK, help="blank: a lost sensor is a "
        "black image or an empty cloud; skip: predict from the other (default: blank)")  # fmt: skip
    add("--batch-size", type=count, metavar="N", help="frames per batch (default: from the config)")
    add("--amp", choices=PRECISIONS, default="off", help="mixed precision (default: off)")
    add("--convention", choices=sorted(CONVENTIONS), help="convention for means; default: "
        "'default', or that of the benchmark")  # fmt: skip
    add_nuscenes_options(parser)
    parser.set_defaults(save_pred=None, allow_missing=False, distances=())


def add_corruption_options(parser: argparse.ArgumentParser) -> None:
    """Add the choice of corruptions and severities."""
    add = parser.add_argument
    add("--corruptions", nargs="+", choices=CORRUPTIONS, metavar="NAME", help="corruptions: "
        + ", ".join(CORRUPTIONS) + " (default: all)")  # fmt: skip
    add("--severities", nargs="+", type=int, choices=SEVERITIES, default=SEVERITIES,
        help="severities (default: all)")  # fmt: skip
