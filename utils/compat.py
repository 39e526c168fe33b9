"""What makes this project's packages import together, quickly and on any machine.

Import this module before torchvision, spconv, or anything that imports them.
"""

import importlib
import logging
import warnings

import torch

_libraries: list[torch.library.Library] = []  # A library's schemas live as long as it does.


def ensure_torchvision() -> None:
    """Import torchvision, declaring the operators it misses if that is why the import fails.

    A torchvision wheel built for CUDA cannot load its compiled operators beside a CPU torch, and
    its import then fails while it registers shapes for them. Nothing here uses those operators, so
    their schemas are declared first.
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
    """Import spconv; where there is no CUDA, without its tables of CUDA kernels.

    Building those tables takes seconds of every start, and a CPU has no use for them. The warnings
    left out are of names that torch has renamed and spconv still uses, which no user can change.
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
