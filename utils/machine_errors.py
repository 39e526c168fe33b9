"""Errors of memory, of data loader workers and of other processes, as one line with advice."""

import re

_ADVICE = "lower runtime.num_workers (0 reads in the training process) or schedule.batch_size"
LOST_PROCESS = (
    "another process of the run ended, or cannot be reached: its error is above, or in the output "
    "of its node. After that is mended, run the same command again"
)
_ERRORS = {
    r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\) .*Bus error": (
        "a data loader worker (process {}) found no shared memory: start Docker with a larger "
        "--shm-size or with --ipc host, or lower runtime.num_workers"
    ),
    r"DataLoader worker \(pid ([\d, ]+)\) is killed by signal: Killed": (
        f"a data loader worker (process {{}}) was killed, probably out of memory: {_ADVICE}"
    ),
    r"DataLoader worker \(pid\(s\) ([\d, ]+)\) exited unexpectedly": (
        f"a data loader worker (process {{}}) died, probably out of memory: {_ADVICE}"
    ),
    r"DataLoader timed out after (\d+) seconds": (
        "no data for {} s: the disk does not answer, or the workers wait for shared memory; lines "
        "above may name the cause. Set runtime.num_workers=0 to read in the training process"
    ),
    r"Expected to have finished reduction in the prior iteration": (
        "some weights got no gradient in the last step, and several processes wait for all "
        "gradients: set runtime.find_unused_parameters=True"
    ),
    r"gloo.*(Connection (closed|reset) by peer|Timed out waiting)": LOST_PROCESS,
    r"NCCL.*(remote process exited|[Rr]emote error|Connection reset|[Tt]imeout|timed out)": (
        LOST_PROCESS
    ),
}
"""Pattern of a message of PyTorch, and what is said instead."""


def machine_error(error: BaseException) -> str | None:
    """Return the message for an error of memory or workers; None for any other error."""
    text = str(error)
    if isinstance(error, MemoryError):
        return f"memory ran out{f' ({text})' if text else ''}: {_ADVICE}"
    if not isinstance(error, RuntimeError):
        return None
    if type(error).__name__ == "OutOfMemoryError":  # Of torch, for a GPU.
        sentences = ". ".join(text.split(". ")[:2])
        return (
            f"{sentences}. Use --amp bf16, a smaller schedule.batch_size (--batch-size), or a "
            "smaller dataset.image_size"
        )
    for pattern, message in _ERRORS.items():
        if found := re.search(pattern, text, re.DOTALL):
            return message.format(*found.groups())
    return None
