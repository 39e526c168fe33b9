"""Options that several scripts have: one name, one meaning and one default everywhere."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from dataset.splits import SPLITS
from utils.checkpoint import BEST
from utils.config import MODALITIES, load_config, parse_options

Options = argparse._ActionsContainer
"""A parser, or a group of one."""


def add_config_options(options: Options, *, required: bool = True) -> None:
    """Add the options of ``read_config``."""
    add = options.add_argument
    add("--py-config", required=required, metavar="FILE", help="config file")
    add("--data-root", metavar="DIR", help="folder of the data set; default: the config's")
    add("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="values of the config")


def add_weight_options(options: Options) -> None:
    """Add the options of ``weights_of``."""
    add = options.add_argument
    add("--work-dir", type=Path, metavar="DIR", help=f"folder of the training, with its {BEST}")
    add("--resume-from", type=Path, metavar="FILE", help="other weights, or a checkpoint with them")


def add_split_option(options: Options) -> None:
    """Add the choice among the splits of a data set."""
    options.add_argument("--split", choices=SPLITS, default="val", help="default: val")


def add_sensors_option(options: Options) -> None:
    """Add the choice of the sensors that are read, for ``sensors_values``."""
    options.add_argument("--sensors", choices=MODALITIES, help="predict from these sensors only, "
        "with a network of both; default: all that it was built for")  # fmt: skip


def sensors_values(args: argparse.Namespace) -> dict[str, Any]:
    """Values of the config that the option of ``add_sensors_option`` gives, for ``read_config``."""
    return {} if args.sensors is None else {"sensors": args.sensors}


def add_device_option(options: Options) -> None:
    """Add the choice of the device, for ``utils.distributed.pick_device``."""
    choices = ("auto", "cpu", "cuda")
    options.add_argument("--device", choices=choices, default="auto", help="default: a GPU if any")


def add_seed_option(options: Options) -> None:
    """Add what all that is drawn is drawn from."""
    options.add_argument("--seed", type=_seed, default=42, metavar="N", help="default: 42")


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"a number from 0 to {2**32 - 1} is expected, got {text}")
    return int(text)


def size_of_text(text: str) -> tuple[int, int]:
    """Width and height from a text such as "1280x720"; the type of an argparse option.

    Raises:
        argparse.ArgumentTypeError: If the text is not of that form.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 1280x720, got '{text}'")
    return int(width), int(height)


def read_config(args: argparse.Namespace, values: Mapping[str, Any] | None = None) -> Config:
    """The config that the command line names, with the values that it gives.

    Args:
        args: The options of ``add_config_options``.
        values: Values of the config that other options of the script give, by key.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If it is at fault, or has no such key.
    """
    options = parse_options(args.cfg_options) | dict(values or {})
    if args.data_root is not None:
        options["data_root"] = args.data_root
    return load_config(args.py_config, options)


def weights_of(args: argparse.Namespace) -> Path:
    """The weights that the command line names: a file, else the best of a training.

    Args:
        args: The options of ``add_weight_options``.

    Raises:
        ValueError: If it names none.
    """
    if args.resume_from is not None:
        return args.resume_from
    if args.work_dir is None:
        raise ValueError("which weights? Give --work-dir DIR or --resume-from FILE")
    return args.work_dir / BEST
