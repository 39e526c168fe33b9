"""Whether the processes of a run work on the same things, before they wait for each other."""

import hashlib
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.dist import all_gather_object


def check_agreement(facts: Mapping[str, str]) -> None:
    """Check that all processes of the run have the same facts; one process agrees with itself.

    Otherwise, processes on different data would wait for each other until a timeout.

    Args:
        facts: What this process works on, by name, such as "checkpoint".

    Raises:
        ValueError: If two processes differ, on all processes.
    """
    (first_host, first), *others = all_gather_object((socket.gethostname(), dict(facts)))
    for rank, (host, found) in enumerate(others, start=1):
        for name, value in found.items():
            if value != first[name]:
                raise ValueError(
                    f"the processes of this run have different {name}: process 0 on {first_host} "
                    f"has {first[name]}, but process {rank} on {host} has {value}. All nodes need "
                    "the same files, as on a shared file system"
                )


def describe_names(what: str, names: Sequence[str]) -> str:
    """Describe things by their names, such as the frames of a split, for ``check_agreement``."""
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return f"{len(names)} {what} (names with checksum {digest[:8]})"


def describe_file(path: Path) -> str:
    """Describe the content of a file, for ``check_agreement``."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{path} (checksum {digest[:8]})"
