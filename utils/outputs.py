"""Argument types for output paths: bad paths are reported before any work starts."""

import argparse
import os
from pathlib import Path


def output_file(text: str) -> Path:
    """Parse the path of a file to write, which may exist.

    Raises:
        argparse.ArgumentTypeError: If it is a folder, or its own is a file or read-only.
    """
    path = Path(text)
    if os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"{path} is a folder; expected a file to write")
    output_folder(str(path.parent))
    return path


def output_folder(text: str) -> Path:
    """Parse the path of a folder to write to, which may exist.

    Raises:
        argparse.ArgumentTypeError: If it, or one of its parents, is a file, read-only, or a link
            that leads nowhere.
    """
    path = Path(text)
    # Names that are too long are an error of the writer.
    there = next((place for place in (path, *path.parents) if os.path.lexists(place)), Path())
    if not there.exists():
        raise argparse.ArgumentTypeError(f"{there} is a link that leads nowhere: remove it")
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f"{there} is a file; expected a folder to write to")
    if not os.access(there, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"the folder {there.resolve()} is read-only")
    return path
