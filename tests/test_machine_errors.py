import pytest
import torch

from utils.machine_errors import machine_error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RuntimeError("DataLoader worker (pid 41) is killed by signal: Killed. "),
            "a data loader worker (process 41) was killed, probably out of memory: lower runtime.",
        ),
        (
            RuntimeError("DataLoader worker (pid(s) 41, 42) exited unexpectedly"),
            "a data loader worker (process 41, 42) died, probably out of memory: lower",
        ),
        (
            RuntimeError("DataLoader worker (pid 41) is killed by signal: Bus error. It is possib"),
            "a data loader worker (process 41) found no shared memory: start Docker with a larger",
        ),
        (RuntimeError("DataLoader timed out after 300 seconds"), "no data for 300 s: the disk"),
        (
            RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [10.0.0.1]"),
            "another process of the run ended, or cannot be reached: its error is above",
        ),
        (
            RuntimeError("NCCL error in: NCCLUtils.hpp:268, remote process exited or there was a"),
            "another process of the run ended, or cannot be reached: its error is above",
        ),
        (
            RuntimeError("Expected to have finished reduction in the prior iteration before"),
            "some weights got no gradient in the last step, and several processes wait for all",
        ),
        (MemoryError(), "memory ran out: lower runtime.num_workers"),
        (MemoryError("Unable to allocate 3 GiB"), "memory ran out (Unable to allocate 3 GiB): "),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has"),
            "CUDA out of memory. Tried to allocate 2 GiB. Use --amp bf16, a smaller schedule",
        ),
    ],
)
def test_errors_of_the_machine_come_with_advice(error, message):
    assert machine_error(error).startswith(message)
    assert "\n" not in machine_error(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), ValueError("DataLoader"), KeyError(1)]
)
def test_other_errors_are_left_alone(error):
    assert machine_error(error) is None
