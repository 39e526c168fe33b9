"""torchvision imports beside any torch, and errors of another kind are not hidden."""

import importlib

import pytest

from utils import compat


def test_torchvision_imports_and_its_models_run() -> None:
    import torch
    from torchvision.models import resnet18

    assert resnet18().eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


def test_other_errors_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError(f"{name} is broken")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(RuntimeError, match="torchvision is broken"):
        compat.ensure_torchvision()
