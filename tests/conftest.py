"""Tests marked ``gpu`` need a CUDA device to run; parallel tests use one core each.

Each test starts with the same random numbers, so that it does not depend on those before it.
"""

import os
from collections.abc import Iterator

import jaxtyping
import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two threads a worker wait for each other for longer than they compute; scripts too.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def pytest_runtest_setup() -> None:
    torch.manual_seed(0)  # Before fixtures, also those of a module.


@pytest.fixture
def without_type_checks() -> Iterator[None]:
    """Check no shapes of tensors at run time, which torch.compile could not trace."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
