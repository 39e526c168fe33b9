"""The range of depths that count, as the scripts that score depth ask for it."""

from engine.command_line import Options
from engine.metrics.depth_errors import DepthRule


def add_depth_range_options(options: Options, *, largest: str = "largest depth") -> None:
    """Add the range of depths that count, by default that of ``DepthRule``.

    Args:
        options: A parser, or a group of one.
        largest: What the upper end is, in the words of the help.
    """
    rule = DepthRule()
    low, high = rule.min_depth_m, rule.max_depth_m
    add = options.add_argument
    add("--min-depth", type=float, default=low, metavar="M",
        help=f"least depth that counts [m]; default: {low:g}")  # fmt: skip
    add("--max-depth", type=float, default=high, metavar="M",
        help=f"{largest} that counts [m]; default: {high:g}")  # fmt: skip
