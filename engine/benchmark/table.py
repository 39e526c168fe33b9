"""Format the reports of ``engine/benchmark/measure.py`` as Markdown tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.benchmark.floor import WHOLE

NAMES = {"lidar_encoder": "LiDAR encoder"}
"""Display names of stages; by default, the part's name with spaces."""
NONE = "–"
KERNEL_WIDTH = 70

NOTE = """\
Times: median (p10–p90) [ms]. The whole network and its stages are timed in separate runs.
Floor: the larger of GFLOP / matmul rate and MB / copy rate. GFLOP: convolutions and matrix
products; sparse ones count pairs of active voxels. MB: weights as stored, inputs and outputs,
each moved once."""
TF32_NOTE = "fp32 on a GPU: convolutions and the measured matmul round to TF32."


def describe(report: Mapping[str, Any]) -> str:
    """Format the full report.

    Args:
        report: The result of ``benchmark``.
    """
    blocks = [_headline(report), _rates(report), _inference(report)]
    if report["end_to_end"]:
        blocks.append(_end_to_end(report["end_to_end"]))
    if report["training"]:
        blocks.append(_training(report["training"]))
    if report["training_files"]:
        blocks.append(_training_files(report["training_files"]))
    blocks += _kernels(report)
    blocks.append(NOTE if report["device"] == "CPU" else f"{NOTE}\n{TF32_NOTE}")
    return "\n\n".join(blocks)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table: the first column is left-aligned, the others are right-aligned.

    Args:
        rows: Cells; the first row is the header.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        aligned = [cells[0].ljust(widths[0])]
        aligned += [cell.rjust(n) for cell, n in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(aligned)} |"

    rule = ["-" * widths[0], *("-" * (n - 1) + ":" for n in widths[1:])]
    return "\n".join([line(rows[0]), line(rule), *map(line, rows[1:])])


def _headline(report: Mapping[str, Any]) -> str:
    """Format what was measured, where, when and how."""
    inputs, options = report["inputs"], report["options"]
    facts = [report["device"], f"torch {report['torch']}", report["date"]]
    facts += [f"{report['config']}, modality {report['modality']}"]
    if "image_size" in inputs:
        facts.append("image " + "×".join(map(str, inputs["image_size"])))
    if "points" in inputs:
        facts.append(f"{inputs['points']:,} points in {inputs['lidar_voxels']:,} LiDAR voxels")
    facts.append("×".join(map(str, inputs["grid"])) + " label voxels")
    facts.append(f"{options['iterations']} timed runs, {options['warmup']} warmup")
    if report["compiled"]:
        facts.append(f"compiled ({options['compile_mode']}): {', '.join(report['compiled'])}")
    if options["captured"]:
        facts.append("inference as a CUDA graph")
    return "; ".join(facts)


def _rates(report: Mapping[str, Any]) -> str:
    rates = report["rates"]
    flops = (figures(rate["flops_per_s"] / 1e12) for rate in rates.values())
    copies = (figures(rate["bytes_per_s"] / 1e9) for rate in rates.values())
    rows = [["measured rate", *rates], ["matmul TFLOP/s", *flops], ["copy GB/s", *copies]]
    return markdown(rows)


def _inference(report: Mapping[str, Any]) -> str:
    """Format one row per stage, the whole network, and the peak memory."""
    timed = report["inference"]
    stages = dict.fromkeys(stage for times in timed.values() for stage in times["stages"])
    parameters = report["parameters"].items()
    only_trained = [name for name, number in parameters if number and name not in stages]
    header = ["inference, batch 1", "M params", "GFLOP", "MB"]
    for precision in timed:
        header += [f"{precision} ms", "floor ms"]
    rows = [header]
    for name in [*(stage for stage in stages if stage != WHOLE), *only_trained, WHOLE]:
        row = [NAMES.get(name, name.replace("_", " ")), *_work(report, name)]
        for precision, times in timed.items():
            floor = report["floor_ms"][precision].get(name)
            row += [time_text(times["stages"].get(name)), NONE if floor is None else figures(floor)]
        rows.append(row)
    memory = ["peak memory, GB", NONE, NONE, NONE]
    for times in timed.values():
        memory += [gigabytes(times["peak_bytes"]), NONE]
    return markdown([*rows, memory])


def _work(report: Mapping[str, Any], name: str) -> list[str]:
    """Format the parameters, FLOPs and bytes of a stage."""
    cells = [NONE] * 3
    if name in report["parameters"]:
        cells[0] = f"{report['parameters'][name] / 1e6:.3g}"
    if name in report["work"]:
        work = report["work"][name]
        cells[1:] = [figures(work["flops"] / 1e9), figures(work["num_bytes"] / 1e6)]
    return cells


def _end_to_end(measured: Mapping[str, Any]) -> str:
    """Format one row per stage of a recorded frame."""
    first = next(iter(measured.values()))
    rows = [["recorded frame, batch 1", *(f"{precision} ms" for precision in measured)]]
    for name in first["stages"]:
        rows.append([name, *(time_text(times["stages"][name]) for times in measured.values())])
    rows.append(["first frame, s", *(figures(t["first_frame_s"]) for t in measured.values())])
    return markdown(rows)


def _training(rows: Sequence[Mapping[str, Any]]) -> str:
    table = [["training step", "precision", "batch", "ms", "frames/s", "peak GB"]]
    for row in rows:
        cells = [row["terms"], row["precision"], str(row["batch_size"])]
        if "failure" in row:
            cells += [row["failure"], NONE, NONE]
        else:
            cells += [time_text(row["step"]), figures(row["frames_per_s"])]
            cells.append(gigabytes(row["peak_bytes"]))
        table.append(cells)
    return markdown(table)


def _training_files(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format the loop of train.py on files, next to its step on a batch on the device."""
    table = [
        [
            "train.py on files",
            "batch",
            "ms",
            "step alone, ms",
            "share of step speed",
            "frames/s",
            "waiting for data",
            "peak GB",
        ],
    ]
    for row in rows:
        cells = [
            row["precision"],
            str(row["batch_size"]),
            time_text(row["loop"]),
            time_text(row["step"]),
        ]
        cells += [f"{row['share_of_step']:.2f}", figures(row["frames_per_s"])]
        table.append([*cells, f"{row['waiting_share']:.1%}", gigabytes(row["peak_bytes"])])
    return markdown(table)


def compare(reports: Sequence[Mapping[str, Any]]) -> str:
    """Format a comparison of configs, with ratios to the first one.

    Args:
        reports: The result of ``benchmark`` for each, with the same options.
    """
    names = [str(report["config"]) for report in reports]
    table = [["ms (ratio to the first)", *names]]
    for name, of_first in _medians(reports[0]).items():
        found = [_medians(report).get(name) for report in reports]
        table.append([name, *(_ratio(value, of_first) for value in found)])
    return markdown(table)


def _medians(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the median times of full runs by name [ms]."""
    found = {
        f"inference, {precision}": times["stages"][WHOLE]["median_ms"]
        for precision, times in report["inference"].items()
    }
    for precision, times in report["end_to_end"].items():
        for name, timing in times["stages"].items():
            found[f"{name}, {precision}"] = timing["median_ms"]
    for row in report["training"]:
        if "step" in row:
            name = f"step, {row['terms']}, {row['precision']}, batch {row['batch_size']}"
            found[name] = row["step"]["median_ms"]
    for row in report["training_files"]:
        name = f"train.py on files, {row['precision']}, batch {row['batch_size']}"
        found[name] = row["loop"]["median_ms"]
    return found


def _ratio(value: float | None, first: float) -> str:
    return NONE if value is None else f"{figures(value)} ({value / first:.2f})"


def _kernels(report: Mapping[str, Any]) -> list[str]:
    """Format a table of the slowest kernels for each profiled run."""
    profiled = {f"inference, {name}": times for name, times in report["inference"].items()}
    for row in report["training"]:
        profiled[f"{row['terms']}, {row['precision']}, batch {row['batch_size']}"] = row
    tables = []
    for title, measured in profiled.items():
        table = [[f"kernels: {title}", "calls", "ms", "share"]]
        for kernel in measured.get("kernels") or []:
            name = kernel["kernel"].replace("|", "/")[:KERNEL_WIDTH]
            share = f"{kernel['share']:.1%}"
            table.append([name, f"{kernel['calls']:.4g}", f"{kernel['ms']:.3f}", share])
        if len(table) > 1:
            tables.append(markdown(table))
    return tables


def time_text(timing: Mapping[str, float] | None) -> str:
    """Format the statistics of ``Timing``: median (p10–p90)."""
    if timing is None:
        return NONE
    median, p10, p90 = (figures(timing[name]) for name in ("median_ms", "p10_ms", "p90_ms"))
    return f"{median} ({p10}–{p90})"


def figures(value: float) -> str:
    """Format with three significant figures, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def gigabytes(num_bytes: int | None) -> str:
    """Format a size in GB."""
    return NONE if num_bytes is None else f"{num_bytes / 1e9:.2f}"
