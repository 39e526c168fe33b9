"""Run the commands that README.md and docs/ mark with ``<!-- tested -->``, as they are written.

They run in a folder where the paths of the pages lead to tiny data, random weights and smaller
configs. Nothing of a command is replaced; ``EXTRA`` options follow where it would take too long.
"""

import importlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dataset.layout import LABEL_GRID
from dataset.occupancy_files import write_prediction
from engine.build.build import build_grid
from engine.viewer.session import Session
from tests.documents import BLOCKS, REPOSITORY, TESTED
from tests.layout_files import write_tiny_unscenes3d
from tests.nuscenes_files import write_tiny_nuscenes
from tests.recording_files import json_rig, write_json_rig, write_recording
from tests.rosbag_files import Messages, drive, write_bag
from tests.trained import save_trained
from utils.config import load_config

TESTED_BLOCKS = [block for block in BLOCKS if block.above == TESTED]
SCENES = {"scene_00000": "location_1", "scene_00038": "location_4_5", "scene_00005": "location_6"}
"""One scene of train, val and test; the pages name the first two."""
CONFIG = "config/minesim/minesim_occ.py"
SMALLER = {
    CONFIG: """
grid = dict(voxel_m=2.4, shape=(32, 32, 4))
dataset = dict(image_size=(32, 64))
model = dict(parts=dict(decoder=dict(channels=(32, 64))))
schedule = dict(epochs=1)
""",
    "config/minesim/minesim_nuscenes.py": """
dataset = dict(image_size=(32, 64))
schedule = dict(epochs=1)
""",
}
"""What the configs change to take less time, by their path."""
NETWORKS = {"out/demo": "both", "out/demo_camera": "camera", "out/demo_lidar": "lidar"}
"""Folders of the networks that `make demo` and `make modalities` train, and their modality."""
EXTRA = {
    "tools/make_minesim.py": "--scenes 2 --frames 1 --val 1 --image-size 48x30 --map-voxel 0.3 "
    "--ground-cell 2 --workers 1",
    "eval_robustness.py": "--limit 1 --corruptions dust --severities 3",
    "tools/draw_corruptions.py": "--corruptions dust --severities 3",
    "tools/view.py": "--port 0",  # any free port: tests run in parallel
}
"""Options that follow those of the page and so take precedence."""
OUTPUTS = {"--json", "--out", "--plot", "--work-dir"}
"""Options that name what a command writes."""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A folder with everything that the commands read."""
    root = tmp_path_factory.mktemp("documented")
    for path, changes in SMALLER.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f'_base_ = "{REPOSITORY / path}"\n{changes}')
    lists = dict(imagesets=("scene_info", "lists"), scenes=SCENES, frames=1, sweeps=0)
    _, stem, _ = write_tiny_unscenes3d(root / "data/minesim_demo", **lists)
    write_tiny_unscenes3d(root / "data/unscenes3d", **lists)
    write_tiny_nuscenes(root / "data/minesim_nuscenes/nuscenes", samples=1, sweeps=0)
    write_recording(root / "recording")
    write_json_rig(root / "recording/calib.json", json_rig())
    (root / "recording/calib.txt").unlink()
    messages = Messages(ros1=True)
    write_bag(root / "drive.bag", messages, drive(messages))
    for folder, modality in NETWORKS.items():
        cfg = load_config(root / CONFIG, {"modality": modality})
        (root / folder).mkdir(parents=True)
        save_trained(cfg, root / folder / "model_state_dict.pth")
    for name in (*(f"{name}/pages" for name in NETWORKS), "DIR"):
        write_prediction(root / name, stem, np.ones(build_grid(cfg).shape, np.uint8))
    write_prediction(root / "out/unscenes3d/occ/pred", stem, np.ones(LABEL_GRID.shape, np.uint8))
    return root


@pytest.fixture
def folder(template, tmp_path, monkeypatch):
    """The folder that a block runs in, with a copy of everything."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    (tmp_path / "assets").symlink_to(REPOSITORY / "assets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _a_viewer_that_is_stopped_at_once(monkeypatch):
    def stop(session):
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "run", stop)


def words_of(line):
    """The words of a command after a shell has expanded them."""
    printed = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True
    )
    return printed.stdout.split("\0")[:-1]


def run(words):
    """Run a script in this process: imports take longer than most commands."""
    program, script, *options = words
    assert program == "python", f"tests run scripts only, got {program}"
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    module.main(module.parse_arguments([*options, *EXTRA.get(script, "").split()]))


def outputs_of(words):
    """What a command writes."""
    if "--dry-run" in words:
        return []
    return [Path(words[i + 1]) for i, word in enumerate(words) if word in OUTPUTS]


@pytest.mark.parametrize("block", TESTED_BLOCKS, ids=lambda block: block.name)
def test_a_block_runs_and_writes_its_outputs(block, folder):
    commands = [words_of(line) for line in block.lines()]
    for path in (path for words in commands for path in outputs_of(words)):
        shutil.rmtree(path, ignore_errors=True)
    for words in commands:
        run(words)
        for path in outputs_of(words):
            assert path.is_file() or any(path.iterdir()), f"{words[1]} wrote no {path}"


def test_the_main_scripts_are_among_the_tested_blocks():
    scripts = {words[1] for block in TESTED_BLOCKS for words in block.commands()}
    assert scripts >= {"train.py", "eval_iou.py", "predict.py", "tools/score.py", "tools/view.py"}
