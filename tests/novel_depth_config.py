"""Configs of a small network that trains and is scored on novel views of the tiny data sets."""

from pathlib import Path
from typing import Any

from tests.model_inputs import model_config
from tests.toy_training import RUNTIME, SCHEDULE

DATA = {
    "unscenes3d": dict(
        grid=dict(origin_m=(0.0, -38.4, -4.0), voxel_m=2.4, shape=(32, 32, 4)),
        dataset=dict(type="UnScenes3D", image_size=(32, 64)),
    ),
    "nuscenes": dict(
        grid=dict(origin_m=(-38.4, -38.4, -1.0), voxel_m=1.6, shape=(48, 48, 4)),
        dataset=dict(type="NuScenes", image_size=(32, 64), num_sweeps=2),
    ),
}
OF_THE_CONFIG = ("grid", "labels", "modality")


def write_config(folder: Path, data: str, root: Path, **rendering: Any) -> Path:
    """Write one of the configs to a folder; its data set lies in ``root``."""
    model = {key: value for key, value in model_config().items() if key not in OF_THE_CONFIG}
    options = dict(far_m=40.0, novel_views=2, novel_rays=200)
    model["rendering"] = model["rendering"] | options | rendering
    path = folder / f"{data}.py"
    path.write_text(
        f"""
_base_ = ["{SCHEDULE}", "{RUNTIME}"]
labels = "{data}"
modality = "both"
data_root = "{root}"
grid = {DATA[data]["grid"]}
dataset = {DATA[data]["dataset"]}
model = {model}
augmentation = None
schedule = dict(epochs=1, batch_size=2, lr=1e-3, ema_decay=0.0)
runtime = dict(num_workers=0, tensorboard=False)
"""
    )
    return path
