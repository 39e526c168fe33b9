"""The one place that makes a CPU torch and a CUDA torchvision wheel work together.

A torchvision wheel built for CUDA cannot load its compiled operators beside a CPU torch, and its
import then fails while it registers shapes for them. Nothing here uses those operators, so their
schemas are declared first. Import this module before torchvision, or anything that imports it.
"""

import importlib

import torch

_libraries: list[torch.library.Library] = []  # A library's schemas live as long as it does.


def ensure_torchvision() -> None:
    """Import torchvision, declaring the operators it misses if that is why the import fails."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)
        importlib.import_module("torchvision")


ensure_torchvision()
