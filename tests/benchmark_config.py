"""A config file of the tests' network, for the benchmark."""

from pathlib import Path
from typing import Any

from tests.model_inputs import GRID, IMAGE_SIZE, model_config
from utils.config import load_config

BASE = Path(__file__).parents[1] / "config" / "_base_"
OF_THE_CONFIG = ("grid", "labels", "modality")


def write_config(folder: Path) -> Path:
    """Write it to a folder."""
    model = {key: value for key, value in model_config().items() if key not in OF_THE_CONFIG}
    grid = dict(origin_m=GRID.origin_m, voxel_m=GRID.voxel_m, shape=GRID.shape)
    path = folder / "tiny.py"
    path.write_text(
        f"""
_base_ = ["{BASE / "schedule.py"}", "{BASE / "runtime.py"}"]
labels = "unscenes3d"
grid = {grid}
modality = "both"
data_root = "nowhere"
dataset = dict(type="UnScenes3D", image_size={IMAGE_SIZE}, num_sweeps=1)
augmentation = None
model = {model}
"""
    )
    return path


def tiny_config(folder: Path, **values: Any) -> Any:
    """The config, with values by dotted key, "__" for each dot."""
    options = {key.replace("__", "."): value for key, value in values.items()}
    return load_config(write_config(folder), options)
