"""Options for the range of valid depths, shared by the scripts that score depth."""

from engine.command_line import Options
from engine.metrics.depth_errors import DepthRule
from engine.number_options import positive


def add_depth_range_options(options: Options, *, largest: str = "largest depth") -> None:
    """Add options for the range of valid depths; the defaults are those of ``DepthRule``.

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
