"""Results of the robustness benchmark: a JSON file that a run adds to and resumes from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from engine.robustness.summary import Summary, summarize
from utils.whole_files import write_json

CLEAN = "clean"

Scores = dict[str, Any]


class Run(NamedTuple):
    """One pass over the frames.

    Attributes:
        corruption: Name of the corruption; "clean" for none.
        severity: 1, 2 or 3; 0 for "clean".
    """

    corruption: str
    severity: int

    def __str__(self) -> str:
        return self.corruption if self.corruption == CLEAN else f"{self.corruption} {self.severity}"


@dataclass
class Results:
    """The scores of one network under corruptions, by corruption and severity.

    Attributes:
        network: What was scored: the weights and how they were used.
        protocol: How it was scored: frames, labels and definitions.
        scores: Scores of each pass, as fractions.
    """

    network: dict[str, Any]
    protocol: dict[str, Any]
    scores: dict[Run, Scores] = field(default_factory=dict)

    def summary(self, baseline: "Results | None" = None) -> Summary:
        """Compute the benchmark's measures, relative to a baseline if there is one."""
        return summarize(self.miou(), None if baseline is None else baseline.miou())

    def miou(self) -> dict[str, dict[int, float]]:
        """Return the mIoU of each corruption, "clean" included, and severity."""
        found: dict[str, dict[int, float]] = {}
        for run, scores in self.scores.items():
            value = scores["miou"]
            found.setdefault(run.corruption, {})[run.severity] = (
                float("nan") if value is None else value
            )
        return found

    def write(self, path: Path, baseline: "Results | None" = None) -> None:
        """Write the file; it appears complete or not at all."""
        by_name: dict[str, dict[str, Scores]] = {}
        for run, scores in self.scores.items():
            by_name.setdefault(run.corruption, {})[str(run.severity)] = scores
        content = {
            "network": self.network,
            "protocol": self.protocol,
            "summary": self.summary(baseline).to_json(),
            "scores": by_name,
        }
        write_json(content, path)


def read_results(path: Path) -> Results:
    """Read results from a file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"results {path} not found; eval_robustness.py writes them")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        scores = {
            Run(name, int(severity)): dict(found)
            for name, severities in content["scores"].items()
            for severity, found in severities.items()
        }
        lacking = [str(run) for run, found in scores.items() if "miou" not in found]
        if lacking:
            raise ValueError(f"no mIoU of {lacking}")
        return Results(dict(content["network"]), dict(content["protocol"]), scores)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected results of eval_robustness.py, found other content "
            f"({type(error).__name__}: {error}). Remove the file, or name another"
        ) from error


def resume(path: Path, network: dict[str, Any], protocol: dict[str, Any]) -> Results:
    """Return the results so far: those of the file if there is one, else none.

    Raises:
        ValueError: If the file holds results of another network, or of other frames.
    """
    if not path.is_file():
        return Results(network, protocol)
    results = read_results(path)
    _check(path, results.network | results.protocol, network | protocol, "Choose another --out")
    return results


def read_baseline(path: Path, protocol: dict[str, Any]) -> Results:
    """Read the results of a baseline.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it has no clean score, or was scored on other frames or definitions.
    """
    baseline = read_results(path)
    advice = "Score the baseline with the same options"
    _check(path, baseline.protocol, protocol, advice)
    if Run(CLEAN, 0) not in baseline.scores:
        raise ValueError(f"{path}: expected a clean score, found none. {advice}")
    return baseline


def _check(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any], advice: str) -> None:
    for name, value in expected.items():
        if found.get(name) != value:
            raise ValueError(
                f"{path}: expected results with {name} {value}, found {found.get(name)}. {advice}"
            )
