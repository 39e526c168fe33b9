"""Three frames and a network that every scoring script can score."""

from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import torch

import eval_depth
import eval_elevation
import eval_iou
import eval_novel_depth
import eval_robustness
from engine.build.build import build_model
from tests.layout_files import write_tiny_unscenes3d
from tests.novel_depth_config import write_config
from utils.config import load_config
from utils.labels import FREE

SCRIPTS = {
    eval_iou: "--work-dir {out} --json {out}/iou.json --save-pred {out}/predictions --batch-size 1 "
    "--allow-missing",
    eval_depth: "--source rendered --json {out}/depth.json",
    eval_novel_depth: "--num-rays 8 16 --limit 2 --json {out}/novel_depth.json",
    eval_elevation: "--baseline lidar --json {out}/elevation.json",
    eval_robustness: "--out {out} --corruptions points_missing --severities 2 --batch-size 1 "
    "--missing-sensor skip",
}
"""Options of each script; frames come one by one, as batches of another size round differently."""


def write_scored(folder: Path) -> None:
    """Write the frames, of which the second one has a black image, config and weights."""
    data = folder / "data"
    stems = write_tiny_unscenes3d(data, scenes={"scene": "location_1"}, frames=3)
    cv2.imwrite(str(data / f"images/{stems[1]}.jpg"), np.zeros((60, 96, 3), np.uint8))
    network = build_model(load_config(write_config(folder, "unscenes3d", data)), seed=1)
    with torch.no_grad():  # All classes are predicted somewhere, not only free.
        network.head.classify.bias[FREE] = 0.3
        network.head.classify.weight *= 10
    torch.save(network.state_dict(), folder / "weights.pth")


def run_scripts(folder: Path, out: Path) -> None:
    """Score what ``write_scored`` wrote with every script, and write the results to ``out``.

    Sums depend on the number of threads in their last digits, so this takes one.
    """
    shared = f"--py-config {folder}/unscenes3d.py --resume-from {folder}/weights.pth --split train"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with patch.object(eval_robustness, "write_chart"):  # It takes long.
        for script, options in SCRIPTS.items():
            words = f"{shared} {options.format(out=out)}".split()
            script.main(script.parse_arguments(words))
    torch.set_num_threads(threads)


def results_of(out: Path) -> dict[str, bytes]:
    """Return the scores and predictions that ``run_scripts`` wrote, by name."""
    files = [*out.glob("*.json"), *out.glob("predictions/*")]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}
