import math

import pytest

from engine.robustness.results import Results, Run
from engine.robustness.summary import summarize
from engine.robustness.table import format_table

VALUES = {
    "clean": {0: 0.5},
    "dark": {1: 0.4, 2: 0.3, 3: 0.2},
    "bright": {1: 0.5, 2: 0.5, 3: 0.5},
    "crosstalk": {1: 0.3, 2: 0.2, 3: 0.1},
}
BASELINE = {
    "clean": {0: 0.4},
    "dark": {1: 0.3, 2: 0.2, 3: 0.1},
    "bright": {1: 0.4, 2: 0.4, 3: 0.4},
    "crosstalk": {1: 0.2, 2: 0.2, 3: 0.2},
}


def results_of(values, **network):
    scores = {
        Run(name, severity): dict(miou=miou, iou=0.8, long_tail_miou=None, frames=12)
        for name, severities in values.items()
        for severity, miou in severities.items()
    }
    network = dict(sensors="both", missing_sensor="blank") | network
    return Results(network, dict(split="val", grid="4×4×4 voxels of 1 m"), scores)


def row_of(summary, name):
    return next(row for row in summary.corruptions if row.name == name)


def test_resilience_by_hand():
    summary = summarize(VALUES)
    dark = row_of(summary, "dark")
    assert dark.ra == pytest.approx({1: 0.8, 2: 0.6, 3: 0.4})
    assert dark.rr == pytest.approx((0.4 + 0.3 + 0.2) / (3 * 0.5))
    means = summary.mean("rr")
    assert means == pytest.approx({"camera": (0.6 + 1.0) / 2, "lidar": 0.4, "all": 2.0 / 3})
    assert math.isnan(dark.ce)
    assert "mce" not in summary.to_json()
    assert summary.to_json()["mra"]["all"] == pytest.approx(2 / 3)


def test_errors_relative_to_a_baseline_by_hand():
    summary = summarize(VALUES, BASELINE)
    dark, crosstalk = row_of(summary, "dark"), row_of(summary, "crosstalk")
    assert dark.ce == pytest.approx((0.6 + 0.7 + 0.8) / (0.7 + 0.8 + 0.9))
    assert dark.rra == pytest.approx(0.9 / 0.6 - 1)
    assert crosstalk.ce == pytest.approx((0.7 + 0.8 + 0.9) / (3 * 0.8))
    assert crosstalk.rra == pytest.approx(0)
    assert summary.mean("ce")["lidar"] == pytest.approx(1.0)
    assert summary.to_json()["mrra"]["camera"] == pytest.approx((0.5 + 0.25) / 2)


def test_only_severities_of_both_are_compared():
    part = VALUES | {"dark": {1: 0.4, 3: 0.2}}
    summary = summarize(part, BASELINE)
    assert row_of(summary, "dark").ce == pytest.approx((0.6 + 0.8) / (0.7 + 0.9))
    assert not summary.is_complete()
    lacking = {name: BASELINE[name] for name in ("clean", "dark")}
    assert math.isnan(row_of(summarize(VALUES, lacking), "bright").ce)
    assert summarize(VALUES, lacking).mean("ce")["camera"] == pytest.approx(2.1 / 2.4)


def test_undefined_values_are_null():
    summary = summarize({"clean": {0: 0.0}, "dark": {1: math.nan}})
    assert summary.to_json()["corruptions"]["dark"] == {
        "sensor": "camera",
        "ra": {"1": None},
        "rr": None,
    }
    assert summary.to_json()["mra"] == {"camera": None, "all": None}


def test_the_table_has_a_line_per_corruption_and_the_means():
    table = format_table(results_of(VALUES))
    lines = table.splitlines()
    assert "clean                      50.00" in table
    dark = next(line for line in lines if line.startswith("  dark"))
    assert dark.split() == ["dark", "40.00", "30.00", "20.00", "0.600", "80.00", "-"]
    assert next(line for line in lines if line.startswith("mRA")).split() == [
        "mRA", "0.800", "0.400", "0.667",
    ]  # fmt: skip
    assert "12 frames of 'val'; grid 4×4×4 voxels of 1 m." in table
    assert "mCE" not in table
    assert "Some severities are missing" not in table


def test_the_table_with_a_baseline_has_its_measures():
    table = format_table(results_of(VALUES | {"dark": {1: 0.4}}), results_of(BASELINE))
    dark = next(line for line in table.splitlines() if line.startswith("  dark"))
    assert dark.split()[1:4] == ["40.00", "-", "-"]
    assert dark.split()[-2:] == ["0.857", "0.333"]  # 0.6 / 0.7, and 0.4 / 0.3 − 1.
    assert "mCE" in table
    assert "Some severities are missing" in table


def test_the_table_of_a_clean_score_alone():
    assert "clean" in format_table(results_of({"clean": {0: 0.5}}))
