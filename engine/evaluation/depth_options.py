"""Options for how depth is scored, shared by the scripts that score it."""

import argparse

from engine.command_line import Options
from engine.metrics.depth_errors import SCALINGS, DepthRule
from engine.number_options import positive


def add_depth_rule_options(options: Options, *, largest: str = "largest depth") -> None:
    """Add options for valid depths and median scaling; the defaults are those of ``DepthRule``.

    Args:
        options: A parser or argument group.
        largest: Name of the upper end in the help.
    """
    rule = DepthRule()
    low, high = rule.min_depth_m, rule.max_depth_m
    add = options.add_argument
    add("--min-depth", type=positive, default=low, metavar="M",
        help=f"smallest depth that counts [m] (default: {low:g})")  # fmt: skip
    add("--max-depth", type=positive, default=high, metavar="M",
        help=f"{largest} that counts [m] (default: {high:g})")  # fmt: skip
    add("--median-scaling", choices=SCALINGS, default=rule.median_scaling, help="scale each "
        "predicted image to the median of its label; of an even number of values, numpy takes the "
        "mean of the middle two, torch the lower one (default: none)")  # fmt: skip


def depth_rule(args: argparse.Namespace) -> DepthRule:
    """Return the rule of the options of ``add_depth_rule_options``.

    Raises:
        ValueError: If the range is empty.
    """
    return DepthRule(args.min_depth, args.max_depth, args.median_scaling)
