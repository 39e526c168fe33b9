"""TensorBoard scalars of a training run, in groups: losses by term, IoU by class, speed.

``loss/…``, ``schedule/…`` and ``speed/…`` are per iteration; ``val/…`` and ``iou/…`` per epoch.
"""

from math import isnan
from typing import Any

from mmengine.registry import VISBACKENDS
from mmengine.visualization.vis_backend import TensorboardVisBackend

GROUPS = {
    "loss": "loss/total",
    "lr": "schedule/learning_rate",
    "epoch": "schedule/epoch",
    "grad_norm": "schedule/gradient_norm",
    "time": "speed/iteration_s",
    "data_time": "speed/waiting_for_data_s",
    "memory": "speed/memory_mib",
}
"""Tags of the scalars of an iteration that are not loss terms."""
UNUSED = ("base_lr", "iter")
"""Scalars to drop: a duplicate of the learning rate, and the step itself."""


@VISBACKENDS.register_module()
class Board(TensorboardVisBackend):
    """mmengine's TensorBoard backend, with scalars in groups."""

    def add_scalars(
        self,
        scalar_dict: dict[str, Any],
        step: int = 0,
        file_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the scalars of an iteration or a validation; skip NaN."""
        tags_of = iteration_tags if "lr" in scalar_dict else validation_tags
        for tag, value in tags_of(scalar_dict).items():
            if not isnan(value):
                self.add_scalar(tag, value, step)


def iteration_tags(scalars: dict[str, Any]) -> dict[str, Any]:
    """Return the scalars of an iteration by TensorBoard tag."""
    tags = {}
    for name, value in scalars.items():
        if name not in UNUSED:
            term = name.removeprefix("loss_")
            tags[f"loss/{term}" if term != name else GROUPS.get(name, name)] = value
    return tags


def validation_tags(scalars: dict[str, Any]) -> dict[str, Any]:
    """Return the scores of a validation by TensorBoard tag."""
    tags = {}
    for name, value in scalars.items():
        label = name.removeprefix("iou_")
        tags[f"iou/{label}" if label != name else f"val/{name}"] = value
    return tags
