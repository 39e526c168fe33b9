"""Make torchvision importable on any machine.

Import this module before torchvision, or anything that imports it.
"""

import importlib

import torch

_libraries: list[torch.library.Library] = []  # Schemas live as long as their library.


def ensure_torchvision() -> None:
    """Import torchvision, declaring its missing operators if the import fails for lack of them.

    A torchvision wheel built for CUDA cannot load its compiled operators next to a CPU torch, and
    its import fails while it registers their shapes. This project does not use those operators,
    so declaring their schemas is enough.
    """
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
