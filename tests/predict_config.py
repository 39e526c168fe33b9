"""A config of a toy network that predicts the tiny UnScenes3D data set."""

from pathlib import Path

from tests.toy_training import RUNTIME, SCHEDULE

CONFIG = f"""
_base_ = ["{SCHEDULE}", "{RUNTIME}"]
labels = "unscenes3d"
grid = dict(origin_m=(0.0, -38.4, -4.0), voxel_m=2.4, shape=(32, 32, 4))
modality = "both"
data_root = ""
dataset = dict(type="UnScenes3D", image_size=(30, 48))
model = dict(type="ToyNetwork", dropout=0.2, fail_at=0)
augmentation = None
runtime = dict(num_workers=0)
"""


def write_config(folder: Path) -> Path:
    """Write it to a folder."""
    path = folder / "config.py"
    path.write_text(CONFIG)
    return path
