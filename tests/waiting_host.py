"""A device that computes nothing, and says what would make the host wait for a real one."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from utils import geometry

COPIES = ("_to_copy", "copy_", "_copy_from", "lift_fresh")
FROM_NUMBERS = (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)


class NeverWaits(TorchDispatchMode):
    """Fails if the host reads a value of the "meta" device, or copies data to it."""

    def __enter__(self) -> Any:
        self._calls = _NeverFromNumbers()
        self._calls.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._calls.__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        try:
            found = function(*args, **kwargs)
        except (RuntimeError, NotImplementedError) as error:
            pytest.fail(f"{function} on a device: {error}")
        devices = {x.device.type for x in tree_leaves((args, kwargs, found)) if torch.is_tensor(x)}
        if len(devices) > 1 and function._opname in COPIES:
            pytest.fail(f"{function} copies between {sorted(devices)}")
        return found


class _NeverFromNumbers(TorchFunctionMode):
    """Fails on copies that torch makes before it dispatches."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if function in FROM_NUMBERS and found.device.type == "meta":
            pytest.fail(f"{function.__name__} copies numbers to the device")
        return found


@contextmanager
def on_the_device(network: nn.Module, monkeypatch) -> Iterator[None]:
    """Move a network to the "meta" device, as if that were a GPU."""
    monkeypatch.setattr("model.streams.SideStream.begin", lambda *_: None)
    # Autocast knows no "meta" device.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    geometry._constant.cache_clear()
    network.to("meta")
    try:
        yield
    finally:
        geometry._constant.cache_clear()
