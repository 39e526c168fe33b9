"""Argument types for output paths: bad paths are reported before any work starts."""

import argparse
import os
from collections.abc import Iterable
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


def reject_input_folder(out: Path, inputs: Iterable[Path]) -> None:
    """Check that an output folder holds no input, which results could replace.

    Args:
        out: The output folder.
        inputs: Folders that are read.

    Raises:
        ValueError: If it is one of them.
    """
    if out.resolve() in {folder.resolve() for folder in inputs}:
        raise ValueError(
            f"{out} holds input, which the results would replace or mix with: choose another folder"
        )
