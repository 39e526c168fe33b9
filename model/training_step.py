"""A training step: losses, backward pass and update, with one wait for the GPU at most."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from mmengine.optim import OptimWrapper
from torch import Tensor

from dataset.sample import Batch
from model.objective import check_finite
from utils.host_copy import HostCopy


def training_step(
    model: Any, preprocess: Callable[[Batch, bool], dict[str, Batch]], data: Batch, optimizer: Any
) -> dict[str, float]:
    """Train a network on a batch.

    Args:
        model: The network, or its wrapper for distributed training.
        preprocess: The network's data preprocessor.
        data: The batch, on any device.
        optimizer: mmengine's wrapper of the optimizer.

    Returns:
        The values of ``update_weights``.

    Raises:
        FloatingPointError: If a term of the loss is not finite.
    """
    with optimizer.optim_context(model):
        terms = model(**preprocess(data, True), mode="loss")
    return update_weights(terms, data.stems, optimizer)


def update_weights(
    terms: Mapping[str, Float[Tensor, ""]], stems: Sequence[str], optimizer: OptimWrapper
) -> dict[str, float]:
    """Backpropagate the sum of the terms, check them, and update the weights.

    Returns:
        ``loss``, the sum, and all terms.

    Raises:
        FloatingPointError: If a term is NaN or infinite; the weights stay as they are.
    """
    values = torch.stack(list(terms.values()))
    total = values.sum()
    copy = HostCopy(torch.cat([total[None], values]))
    optimizer.backward(optimizer.scale_loss(total))
    # The forward pass is done, or nearly: the backward pass is queued behind it.
    found = dict(zip(["loss", *terms], copy.read().tolist(), strict=True))
    check_finite(found, stems)
    if optimizer.should_update():
        optimizer.step()
        optimizer.zero_grad()
    return found
