"""mmengine's optimizer wrappers, without their wait for the GPU at each update."""

import warnings
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from utils.host_copy import HostCopy


class Updates(OptimWrapper):
    """Updates of the weights; the arguments are those of mmengine's ``OptimWrapper``.

    The norm of a gradient is logged at the next update: reading it at once would wait for the
    backward pass.
    """

    _norm: HostCopy | None = None

    def _clip_grad(self) -> None:
        """Clip the gradients of all weights together."""
        if self._norm is not None:
            self.message_hub.update_scalar("train/grad_norm", self._norm.read().item())
        weights = [weight for group in self.param_groups for weight in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(weights, **self.clip_grad_kwargs)
        self._norm = HostCopy(norm)


class MixedPrecisionUpdates(Updates, AmpOptimWrapper):
    """The same in mixed precision; the arguments are those of ``AmpOptimWrapper``."""

    def __init__(self, **options: Any) -> None:
        with warnings.catch_warnings():
            # mmengine builds its scaler by a name that torch is about to drop.
            warnings.filterwarnings("ignore", "`torch.cuda.amp.GradScaler", FutureWarning)
            super().__init__(**options)
