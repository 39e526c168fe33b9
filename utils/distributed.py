"""One process per GPU: launch the processes of a script, and set each of them up."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Process:
    """This process of the run.

    Attributes:
        rank: Global rank; rank 0 writes files and logs.
        world_size: Number of processes on all nodes.
        device: Device of the network.
    """

    rank: int
    world_size: int
    device: torch.device


def pick_device(name: str) -> torch.device:
    """Choose the device of a single-process script.

    Args:
        name: "auto" (a GPU if there is one), "cpu" or "cuda".

    Raises:
        ValueError: If it is "cuda" and there is no GPU.
    """
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise ValueError("--device cuda: torch finds no GPU; omit the option to run on the CPU")
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")


def relaunch_arguments(
    gpus: int, environment: Mapping[str, str], argv: Sequence[str]
) -> list[str] | None:
    """Arguments of ``torch.distributed.run`` that start ``argv`` once per GPU.

    Args:
        gpus: Number of visible GPUs.
        environment: Environment variables of this process.
        argv: Script and arguments of this process.

    Returns:
        None if this process runs the script itself: ``torchrun`` started it already, or there are
        fewer than two GPUs.
    """
    if "WORLD_SIZE" in environment or gpus < 2:
        return None
    return ["--standalone", f"--nproc-per-node={gpus}", *argv]


def use_all_gpus() -> None:
    """If several GPUs are visible, run this script once on each and exit with its status.

    A script started by ``torchrun``, or with a single visible GPU, continues in this process. The
    processes print their own errors, so this one prints none.
    """
    arguments = relaunch_arguments(torch.cuda.device_count(), os.environ, sys.argv)
    if arguments is None:
        return
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    threads = max(1, (os.cpu_count() or 1) // torch.cuda.device_count())
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        run.main(arguments)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        sys.exit(max(1, failure.exitcode))
    except SignalException as error:
        sys.exit(128 + error.sigval)
    sys.exit(0)


@contextmanager
def process_group() -> Iterator[Process]:
    """Join the process group of ``torchrun``, if any: NCCL on GPUs, gloo on CPUs.

    A nested ``process_group`` reuses the outer one. After an error, this process does not leave the
    group, which would wait for processes that wait for this one: ``run_script`` ends it.

    Yields:
        This process.

    Raises:
        ValueError: If this machine runs more processes than it has GPUs.
    """
    has_gpu, gpus = torch.cuda.is_available(), torch.cuda.device_count()
    if "WORLD_SIZE" not in os.environ:
        yield Process(0, 1, torch.device("cuda" if has_gpu else "cpu"))
        return
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if has_gpu and processes > gpus:
        raise ValueError(
            f"expected one GPU for each of {processes} processes, found {gpus}: start {gpus} with "
            f"--nproc-per-node {gpus}, or use CPUs with CUDA_VISIBLE_DEVICES="
        )
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local_rank) if has_gpu else torch.device("cpu")
    is_inner = dist.is_initialized()
    if not is_inner:
        if has_gpu:
            torch.cuda.set_device(device)
        os.environ.setdefault("MKL_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
        dist.init_process_group("nccl" if has_gpu else "gloo")
    yield Process(dist.get_rank(), dist.get_world_size(), device)
    if not is_inner:
        dist.destroy_process_group()
