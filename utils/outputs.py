"""Types of options that name what a script writes: what is in the way is told before any work."""

import argparse
from pathlib import Path


def output_file(text: str) -> Path:
    """A file to write, there already or not.

    Raises:
        argparse.ArgumentTypeError: If a folder has its name, or a file that of a folder above it.
    """
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; name a file to write")
    output_folder(str(path.parent))
    return path


def output_folder(text: str) -> Path:
    """A folder to write to, there already or not.

    Raises:
        argparse.ArgumentTypeError: If a file has its name, or that of a folder above it.
    """
    path = Path(text)
    there = next((place for place in (path, *path.parents) if place.exists()), Path())
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f"{there} is a file; name a folder to write to")
    return path
