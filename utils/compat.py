"""Make torchvision and spconv importable, quickly and on any machine.

Import this module before torchvision, spconv, or anything that imports them.
"""

import importlib
import logging
import warnings

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


def ensure_spconv() -> None:
    """Import spconv; without CUDA, skip its tables of CUDA kernels.

    Building those tables takes seconds at each start, and a CPU has no use for them. The muted
    warnings are about deprecated torch names in spconv, which users cannot change.
    """
    tracing = logging.getLogger("torch.fx._symbolic_trace")
    tracing.addFilter(lambda record: "is_fx_tracing" not in str(record.msg))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="spconv")
        if not torch.cuda.is_available():
            importlib.import_module("spconv.core").ALL_IMPGEMM_PARAMS.clear()
        importlib.import_module("spconv.pytorch")


ensure_torchvision()
ensure_spconv()
