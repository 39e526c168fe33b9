"""Measures of the robustness benchmark, from the mIoU of each corruption and severity.

docs/robustness.md defines them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataset.corruptions.table import CORRUPTIONS, SEVERITIES
from engine.metrics.ratios import mean_of_defined, null_if_nan

Values = Mapping[str, Mapping[int, float]]
"""The mIoU by corruption and severity; "clean" has the severity 0."""
TOTAL = "all"
"""Name of the mean over the corruptions of all sensors."""


@dataclass(frozen=True)
class CorruptionSummary:
    """Measures of one corruption; NaN if undefined.

    Attributes:
        name: The corruption.
        sensor: Its group.
        miou: mIoU by severity.
        ra: Resilience: mIoU relative to the clean one, by severity.
        rr: Mean of ``ra`` over the severities.
        ce: Corruption error: 1 − mIoU, summed over the severities, relative to the baseline's.
        rra: mIoU summed over the severities, relative to the baseline's, minus 1.
    """

    name: str
    sensor: str
    miou: dict[int, float]
    ra: dict[int, float]
    rr: float
    ce: float
    rra: float


@dataclass(frozen=True)
class Summary:
    """Measures of a network; NaN if undefined.

    Attributes:
        clean: mIoU without corruption.
        corruptions: Measures of each corruption, in the order of ``CORRUPTIONS``.
        has_baseline: Whether the measures relative to a baseline are defined.
    """

    clean: float
    corruptions: tuple[CorruptionSummary, ...]
    has_baseline: bool = False

    def groups(self) -> dict[str, list[CorruptionSummary]]:
        """Return the corruptions of each sensor, and of all."""
        found: dict[str, list[CorruptionSummary]] = {}
        for row in self.corruptions:
            found.setdefault(row.sensor, []).append(row)
        return {**found, TOTAL: list(self.corruptions)}

    def mean(self, measure: str) -> dict[str, float]:
        """Average "rr", "ce" or "rra" over the corruptions of each sensor, and of all."""
        return {
            sensor: mean_of_defined(getattr(row, measure) for row in rows)
            for sensor, rows in self.groups().items()
        }

    def is_complete(self) -> bool:
        """Whether every corruption has all severities."""
        return all(set(row.miou) == set(SEVERITIES) for row in self.corruptions)

    def to_json(self) -> dict[str, Any]:
        """Return the measures by name; None if undefined."""
        means = {"mra": "rr"} | ({"mce": "ce", "mrra": "rra"} if self.has_baseline else {})
        found: dict[str, Any] = {"clean_miou": null_if_nan(self.clean)}
        for name, measure in means.items():
            found[name] = {key: null_if_nan(value) for key, value in self.mean(measure).items()}
        found["corruptions"] = {
            row.name: {
                "sensor": row.sensor,
                "ra": {str(key): null_if_nan(value) for key, value in row.ra.items()},
                "rr": null_if_nan(row.rr),
                **(
                    {"ce": null_if_nan(row.ce), "rra": null_if_nan(row.rra)}
                    if self.has_baseline
                    else {}
                ),
            }
            for row in self.corruptions
        }
        return found


def summarize(values: Values, baseline: Values | None = None) -> Summary:
    """Compute the measures of a network.

    Args:
        values: Its mIoU, 0–1.
        baseline: That of a baseline, on the same frames; None: no relative measures.
    """
    clean = values.get("clean", {}).get(0, math.nan)
    rows = []
    for name in (name for name in CORRUPTIONS if name in values):
        miou = dict(sorted(values[name].items()))
        ra = {severity: divide(value, clean) for severity, value in miou.items()}
        others = (baseline or {}).get(name, {})
        common = [severity for severity in miou if severity in others]
        own, other = [miou[key] for key in common], [others[key] for key in common]
        rows.append(
            CorruptionSummary(
                name,
                CORRUPTIONS[name].sensor,
                miou,
                ra,
                mean_of_defined(ra.values()),
                divide(_errors(own), _errors(other)),
                divide(math.fsum(own), math.fsum(other)) - 1,
            )
        )
    return Summary(clean, tuple(rows), baseline is not None)


def divide(part: float, whole: float) -> float:
    """Return ``part / whole``; NaN if ``whole`` is 0 or either is NaN."""
    return part / whole if whole and not math.isnan(whole) else math.nan


def _errors(values: Sequence[float]) -> float:
    return math.fsum(1 - value for value in values)
