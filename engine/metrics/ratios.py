"""Divisions of pooled counts, and formatting of the results."""

import math
from collections.abc import Iterable


def ratio(part: int, whole: int) -> float:
    """Return ``part / whole``; NaN if ``whole`` is 0."""
    return part / whole if whole else math.nan


def mean_of_defined(values: Iterable[float]) -> float:
    """Average the values that are not NaN; NaN if there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def null_if_nan(value: float) -> float | None:
    """Return a score for JSON, which has no NaN: None instead."""
    return None if math.isnan(value) else value


def percent(value: float) -> str:
    """Format a fraction for a table: percent with two decimals, a dash if undefined."""
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def pluralize(count: int, noun: str) -> str:
    """Format a count with its noun, such as "1 frame" or "1,500 frames"."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"
