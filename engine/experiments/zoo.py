"""The table of the weights that the repository contains, from what their files say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.checkpoint.origin import stored_config
from engine.checkpoint.weights import read_weights
from engine.experiments.tables import table

ABOUT = ("config", "data", "training", "license")
"""What the file of shipped weights must say under "about"; "latency" is optional."""
MAX_MIB = 25
"""Limit of all files together: a clone should stay small."""
HEADS = ("weights", "config", "input", "data", "mIoU", "long-tail mIoU", "latency")


def zoo_section(folder: Path) -> str:
    """Return the table of all weights of a folder.

    Raises:
        ValueError: If a file does not say where it comes from and what it reaches, or the files
            are too large.
    """
    paths = sorted(folder.glob("*.safetensors"))
    size = sum(path.stat().st_size for path in paths) / 2**20
    if size > MAX_MIB:
        raise ValueError(f"{folder} has {size:.1f} MiB of weights, at most {MAX_MIB} are allowed")
    return table(HEADS, [_row(path) for path in paths])


def _row(path: Path) -> Sequence[str]:
    facts = read_weights(path).facts
    about, scores = facts.get("about", {}), facts.get("scores", {})
    missing = [key for key in ABOUT if key not in about]
    missing += [key for key in ("miou", "long_tail_miou") if key not in scores]
    config = stored_config(facts, path)
    if missing or config is None:
        raise ValueError(
            f"{path} lacks {missing or 'its config'}: write it with tools/export_weights.py "
            "--scores FILE --about KEY=TEXT"
        )
    size = path.stat().st_size / 2**20
    return (
        f"`{path.name}`, {size:.1f} MiB, {about['license']}",
        f"`{about['config']}`",
        _input_of(config),
        f"{about['data']}, {scores['frames']} frames; {about['training']}",
        f"{100 * scores['miou']:.2f}",
        f"{100 * scores['long_tail_miou']:.2f}",
        about.get("latency", "–"),
    )


def _input_of(config: dict[str, Any]) -> str:
    """Describe the input and the grid of a config."""
    height, width = config["dataset"]["image_size"]
    images = {"lidar": "LiDAR", "camera": "camera", "both": "camera, LiDAR"}[config["modality"]]
    size = "" if config["modality"] == "lidar" else f" {height}×{width},"
    return f"{images};{size} {'×'.join(map(str, config['grid']['shape']))} voxels"
