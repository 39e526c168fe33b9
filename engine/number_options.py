"""Argument types for numbers and sizes: argparse names the option that is out of range."""

import argparse
import math
from collections.abc import Callable


def whole_number(least: int, most: int | float = math.inf) -> Callable[[str], int]:
    """Return the parser of a whole number in a range, limits included.

    Args:
        least: Smallest number.
        most: Largest number.
    """
    if math.isinf(most):
        expected = f"a whole number of at least {least}"
    else:
        expected = f"a whole number from {least} to {most}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected {expected}, got '{text}'")
        return value

    return parse


def number(
    least: int | float = -math.inf, most: int | float = math.inf, *, is_open: bool = False
) -> Callable[[str], float]:
    """Return the parser of a finite number in a range.

    Args:
        least: Smallest number.
        most: Largest number.
        is_open: Whether the limits themselves are out of range.
    """
    if math.isinf(least):
        expected = "a finite number"
    elif math.isinf(most):
        expected = f"a number {'above' if is_open else 'of at least'} {least:g}"
    else:
        expected = f"a number {'between' if is_open else 'from'} {least:g} "
        expected += f"{'and' if is_open else 'to'} {most:g}"

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        is_inside = least < value < most if is_open else least <= value <= most
        if not (math.isfinite(value) and is_inside):
            raise argparse.ArgumentTypeError(f"expected {expected}, got '{text}'")
        return value

    return parse


count = whole_number(1)
"""The parser of a whole number of at least 1."""
positive = number(0, is_open=True)
"""The parser of a number above 0."""


def parse_size(text: str) -> tuple[int, int]:
    """Parse width and height, such as "1280x720".

    Raises:
        argparse.ArgumentTypeError: If the text has another form, or a size is 0.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 1280x720, got '{text}'")
    return int(width), int(height)
