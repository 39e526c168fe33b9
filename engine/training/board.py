"""What TensorBoard shows of a training, in groups: losses by term, IoU by class, speed.

``loss/…``, ``schedule/…`` and ``speed/…`` are over iterations; ``val/…`` and ``iou/…`` over epochs.
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
"""Where the numbers of an iteration go that are no terms of the loss."""
UNUSED = ("base_lr", "iter")
"""The learning rate once more, and the axis itself."""


@VISBACKENDS.register_module()
class Board(TensorboardVisBackend):
    """mmengine's backend, with the names of its numbers in groups."""

    def add_scalars(
        self,
        scalar_dict: dict[str, Any],
        step: int = 0,
        file_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the numbers of an iteration or of a validation; NaN is no number to draw."""
        names = iteration_tags if "lr" in scalar_dict else validation_tags
        for tag, value in names(scalar_dict).items():
            if not isnan(value):
                self.add_scalar(tag, value, step)


def iteration_tags(numbers: dict[str, Any]) -> dict[str, Any]:
    """Numbers of an iteration by their names in TensorBoard."""
    tags = {}
    for name, value in numbers.items():
        if name not in UNUSED:
            term = name.removeprefix("loss_")
            tags[f"loss/{term}" if term != name else GROUPS.get(name, name)] = value
    return tags


def validation_tags(numbers: dict[str, Any]) -> dict[str, Any]:
    """Scores of a validation by their names in TensorBoard."""
    tags = {}
    for name, value in numbers.items():
        label = name.removeprefix("iou_")
        tags[f"iou/{label}" if label != name else f"val/{name}"] = value
    return tags
