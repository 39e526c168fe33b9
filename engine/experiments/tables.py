"""Tables of recorded runs, as Markdown: scores, classes, distances, cost and robustness."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from textwrap import fill

from engine.experiments.plan import LATENCY, ROBUSTNESS
from engine.experiments.record import Record
from utils.labels import UNSCENES3D

SPLIT = "test"
PAGE_WIDTH = 100
"""Columns of a line of text."""
TITLES = {
    "camera": "camera",
    "lidar": "LiDAR",
    "concat": "concatenation",
    "co_occ": "Co-Occ-like",
    "half_resolution": "full, head at half resolution",
    "no_render_fusion": "full without RenderFusion",
    "no_gs_refinement": "full without GSRefinement",
    "no_sensor_dropout": "full without sensor dropout",
    "random_encoder": "full, random image encoder",
    "full": "full UnsOcc",
}
"""Variants in the order of the tables."""
COMPARED = ("lidar", "camera", "concat", "co_occ", "full")
"""Columns of the table of classes."""
NOTHING = "Nothing has been measured yet."

Value = float | None
ByVariant = dict[str, list[Record]]


def bench_section(records: Sequence[Record]) -> str:
    """Return the text and tables of all records.

    Raises:
        ValueError: If the records are of different data.
    """
    if not records:
        return NOTHING
    runs = _by_variant(records)
    parts = [
        _caption(records),
        _scores_table(runs),
        _classes_table(runs),
        _distances_table(runs),
        _cost_table(runs),
        _robustness_table(runs),
    ]
    return "\n\n".join(part for part in parts if part)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mean_and_deviation(values: Iterable[Value], scale: float | int = 100, digits: int = 2) -> str:
    """Format the mean over seeds, and the standard deviation from two on; a dash if undefined."""
    found = [scale * value for value in values if value is not None]
    if not found:
        return "–"
    mean = f"{statistics.fmean(found):.{digits}f}"
    return mean if len(found) < 2 else f"{mean} ± {statistics.stdev(found):.{digits}f}"


def _by_variant(records: Sequence[Record]) -> ByVariant:
    """Group records, in the order of the tables."""
    data = {record["data"]["hash"] for record in records}
    if len(data) > 1:
        named = sorted(
            {f"{record['data']['title']} ({record['data']['hash']})" for record in records}
        )
        raise ValueError(
            f"the records are of different data: {', '.join(named)}; remove the old ones"
        )
    found: ByVariant = defaultdict(list)
    for record in records:
        found[record["variant"]].append(record)
    order = list(TITLES)
    known = sorted(found, key=lambda name: order.index(name) if name in order else -1)
    return {name: found[name] for name in known}


def _caption(records: Sequence[Record]) -> str:
    first = records[0]
    frames = first["scores"][SPLIT]["frames"]
    dates = sorted({record["date"] for record in records})
    machines = sorted({record["machine"]["gpu"] for record in records})
    commits = sorted({record["commit"][:7] for record in records})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    caption = (
        f"{first['data']['title']}, {frames} frames of the {SPLIT} split; {when}, "
        f"{' and '.join(machines)}, commit {', '.join(commits)}. Scores are in percent: the mean "
        "over the seeds, ± the standard deviation between them."
    )
    return fill(caption, PAGE_WIDTH, break_on_hyphens=False)


def _scores_table(runs: ByVariant) -> str:
    keys = ("iou", "miou", "long_tail_miou", "rayiou")
    rows = [
        [title_of(name), str(len(found)), *(_score(found, itemgetter(key)) for key in keys)]
        for name, found in runs.items()
    ]
    return table(["variant", "seeds", "IoU", "mIoU", "long-tail mIoU", "RayIoU"], rows)


def _classes_table(runs: ByVariant) -> str:
    """Compare the classes: what each sensor adds is what a mean hides."""
    shown = [name for name in COMPARED if name in runs]
    if not shown:
        return ""
    gains = {"lidar", "full"} <= runs.keys()
    heads = ["IoU of a class", *map(title_of, shown), *(["full − LiDAR"] if gains else [])]
    rows = []
    for label in UNSCENES3D.class_names[1:]:
        means = {
            name: _mean(s["per_class_iou"].get(label) for s in _scores(runs[name]))
            for name in shown
        }
        row = [label, *(mean_and_deviation([means[name]]) for name in shown)]
        if gains:
            full, lidar = means["full"], means["lidar"]
            known = full is not None and lidar is not None
            row.append(f"{100 * (full - lidar):+.2f}" if known else "–")  # type: ignore[operator]
        rows.append(row)
    return table(heads, rows)


def _distances_table(runs: ByVariant) -> str:
    bands = next(iter(runs.values()))[0]["scores"][SPLIT].get("by_distance", [])
    if not bands:
        return ""
    names = [
        f"{band['from_m']:g} m and more" if band["to_m"] is None
        else f"{band['from_m']:g}–{band['to_m']:g} m"
        for band in bands
    ]  # fmt: skip
    rows = []
    for name, found in runs.items():
        miou = [[band["miou"] for band in scores["by_distance"]] for scores in _scores(found)]
        rows.append([title_of(name), *map(mean_and_deviation, zip(*miou, strict=True))])
    return table(["mIoU by distance", *names], rows)


def _cost_table(runs: ByVariant) -> str:
    def column(
        found: Sequence[Record], part: str, key: str, scale: float | int, digits: int
    ) -> str:
        return mean_and_deviation((r.get(part, {}).get(key) for r in found), scale, digits)

    rows = [
        [
            title_of(name),
            column(found, "training", "seconds", 1 / 60, 1),
            column(found, "training", "frames_per_s", 1, 1),
            column(found, "training", "peak_gib", 1, 1),
            column(found, LATENCY, "parameters", 1e-6, 1),
            column(found, LATENCY, "median_ms", 1, 1),
        ]
        for name, found in runs.items()
    ]
    heads = [
        "variant",
        "training [min]",
        "frames/s",
        "memory [GiB]",
        "parameters [M]",
        "one frame [ms]",
    ]
    return table(heads, rows)


def _robustness_table(runs: ByVariant) -> str:
    """Compare mRA, the mIoU under corruptions relative to the clean one, by corrupted sensor."""
    scored = {
        name: [record for record in found if ROBUSTNESS in record] for name, found in runs.items()
    }
    scored = {name: found for name, found in scored.items() if found}
    if not scored:
        return ""
    sensors = list(
        dict.fromkeys(key for f in scored.values() for r in f for key in r[ROBUSTNESS]["mra"])
    )
    rows = [
        [
            title_of(name),
            str(found[0][ROBUSTNESS]["frames"]),
            mean_and_deviation(r[ROBUSTNESS]["clean_miou"] for r in found),
            *(mean_and_deviation(r[ROBUSTNESS]["mra"].get(key) for r in found) for key in sensors),
        ]
        for name, found in scored.items()
    ]
    return table(["variant", "frames", "clean mIoU", *(f"mRA, {key}" for key in sensors)], rows)


def title_of(variant: str) -> str:
    """Return how tables call a variant."""
    return TITLES.get(variant, variant)


def _scores(found: Sequence[Record]) -> list[Mapping]:
    return [record["scores"][SPLIT] for record in found]


def _score(found: Sequence[Record], value: Callable[[Mapping], Value]) -> str:
    return mean_and_deviation(value(scores) for scores in _scores(found))


def _mean(values: Iterable[Value]) -> Value:
    defined = [value for value in values if value is not None]
    return statistics.fmean(defined) if defined else None
