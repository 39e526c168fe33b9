"""The depth range options of the scripts that score depth."""

from engine.command_line import Options
from engine.metrics.depth_errors import DepthRule


def add_depth_range_options(options: Options, *, largest: str = "largest depth") -> None:
    """Add the options of the depth range to score; the defaults are those of ``DepthRule``.

    Args:
        options: A parser, or an argument group of one.
        largest: What the upper limit means, for the help text.
    """
    rule = DepthRule()
    low, high = rule.min_depth_m, rule.max_depth_m
    add = options.add_argument
    add("--min-depth", type=float, default=low, metavar="M",
        help=f"smallest depth that counts [m] (default: {low:g})")  # fmt: skip
    add("--max-depth", type=float, default=high, metavar="M",
        help=f"{largest} that counts [m] (default: {high:g})")  # fmt: skip
