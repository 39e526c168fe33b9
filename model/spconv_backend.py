"""Submanifold convolutions by spconv, which is optional and may train faster on a GPU."""

import importlib
import importlib.util
import logging
import warnings
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@cache
def is_installed() -> bool:
    """Return whether spconv can be imported."""
    return importlib.util.find_spec("spconv") is not None


@cache
def load() -> Any:
    """Import ``spconv.pytorch``; without CUDA, skip its tables of CUDA kernels.

    Building those tables takes seconds, and a CPU has no use for them. The muted warnings are about
    deprecated torch names in spconv, which users cannot change.

    Raises:
        ValueError: If spconv is not installed.
    """
    if not is_installed():
        raise ValueError(
            "model.parts.lidar_encoder.convolutions is 'spconv', which is not installed: install "
            "it (docs/installation.md), or set the key to 'torch'"
        )
    tracing = logging.getLogger("torch.fx._symbolic_trace")
    tracing.addFilter(lambda record: "is_fx_tracing" not in str(record.msg))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="spconv")
        if not torch.cuda.is_available():
            importlib.import_module("spconv.core").ALL_IMPGEMM_PARAMS.clear()
        return importlib.import_module("spconv.pytorch")


class Submanifold:
    """3×3×3 submanifold convolutions of a set of voxels, which share one neighbor search.

    Args:
        coordinates: Frame, x, y, z of each voxel.
        shape: Voxels along x, y, z.
        batch_size: Number of frames.
    """

    def __init__(
        self, coordinates: Int[Tensor, "M 4"], shape: tuple[int, int, int], batch_size: int
    ) -> None:
        # spconv reads indices in memory order: column-major ones give wrong results silently.
        indices = coordinates.int().contiguous()
        empty = torch.empty(len(indices), 1, device=indices.device)
        self._sparse = load().SparseConvTensor(empty, indices, list(shape), batch_size)

    def __call__(
        self, features: Float[Tensor, "M C"], weight: Float[Tensor, "D 3 3 3 C"]
    ) -> Float[Tensor, "M D"]:
        """Apply a convolution to features of the voxels.

        On a CPU, spconv knows float32 only, so autocast does not reach it.
        """
        layer = _layer(features.shape[1], len(weight))
        layer.weight = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight)
        # The GPU algorithm computes gradients in training mode only, and silently omits them
        # otherwise; weights can be fine-tuned in ``eval()``, too.
        layer.train(torch.is_grad_enabled())
        if features.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                found = self._run(layer, features.float(), "Native")
        else:
            found = self._run(layer, features.contiguous(), "MaskImplicitGemm")
        return found

    def _run(self, layer: Any, features: Tensor, algorithm: str) -> Tensor:
        layer.algo = getattr(importlib.import_module("spconv.core").ConvAlgo, algorithm)
        result = layer(self._sparse.replace_feature(features))
        self._sparse.indice_dict = result.indice_dict
        return result.features


@cache
def _layer(in_channels: int, channels: int) -> Any:
    """Return a layer of spconv, whose weights are set before each use."""
    return load().SubMConv3d(in_channels, channels, 3, bias=False, indice_key="neighbors")
