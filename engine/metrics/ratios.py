"""The divisions that end a score, and how their results are written."""

import math
from collections.abc import Iterable


def ratio(part: int, whole: int) -> float:
    """A share; NaN where there is nothing to divide by."""
    return part / whole if whole else math.nan


def mean_of_defined(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN where there is none."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def null_if_nan(value: float) -> float | None:
    """A score for JSON, which knows no NaN."""
    return None if math.isnan(value) else value


def percent(value: float) -> str:
    """A fraction for a table: percent of two decimals, a dash where undefined."""
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def counted(count: int, what: str) -> str:
    """A count with its noun, such as "1 frame" or "1,500 frames"."""
    return f"{count:,} {what if count == 1 else what + 's'}"
