"""Options shared by several scripts, with the same name, meaning and default in each."""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_distributed

from dataset.splits import SPLITS
from engine.agreement import check_agreement, describe_file
from engine.checkpoint.files import BEST
from engine.checkpoint.origin import trained_config
from engine.checkpoint.weights import TrainedWeights, read_weights
from engine.number_options import whole_number
from utils.config import MODALITIES, load_config, parse_options

Options = argparse._ActionsContainer
"""A parser, or an argument group of one."""


def add_config_options(options: Options, *, required: bool = True) -> None:
    """Add the options of ``read_config``."""
    add = options.add_argument
    default = "" if required else " (default: the config in the weights)"
    add("--py-config", required=required, metavar="FILE", help="config file: Python code that "
        f"runs, so use only files that you trust{default}")  # fmt: skip
    add("--data-root", metavar="DIR", help="folder of the data set (default: from the config)")
    add("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE",
        help="override values of the config, such as schedule.epochs=1")  # fmt: skip


def add_weight_options(options: Options) -> None:
    """Add the options of ``weights_to_score``."""
    add = options.add_argument
    add(
        "--work-dir",
        type=Path,
        metavar="DIR",
        help=f"work directory of the training, with its {BEST}",
    )
    add("--resume-from", type=Path, metavar="FILE",
        help="another checkpoint to load")  # fmt: skip


def add_split_option(options: Options) -> None:
    """Add the choice of a split of the data set."""
    options.add_argument("--split", choices=SPLITS, default="val", help="split (default: val)")


def add_sensors_option(options: Options) -> None:
    """Add the choice of the sensors that are read, for ``sensors_values``."""
    options.add_argument("--sensors", choices=MODALITIES, help="predict from these sensors only, "
        "with a network for both; default: all that it was built for")  # fmt: skip


def add_missing_option(options: Options) -> None:
    """Add the choice to predict frames that lack the data of a sensor."""
    options.add_argument("--allow-missing", action="store_true", help="predict frames whose image "
        "or point cloud is missing, empty or blank from the other sensor, and warn of them; "
        "needs a network for both sensors")  # fmt: skip


def sensors_values(args: argparse.Namespace) -> dict[str, Any]:
    """Values of the config that the option of ``add_sensors_option`` gives, for ``read_config``."""
    return {} if args.sensors is None else {"sensors": args.sensors}


def add_device_option(options: Options) -> None:
    """Add the choice of the device, for ``utils.distributed.pick_device``."""
    choices = ("auto", "cpu", "cuda")
    options.add_argument("--device", choices=choices, default="auto",
        help="device; auto: a GPU if there is one (default: auto)")  # fmt: skip


def add_seed_option(options: Options) -> None:
    """Add the random seed."""
    options.add_argument("--seed", type=whole_number(0, 2**32 - 1), default=42, metavar="N",
        help="random seed (default: 42)")  # fmt: skip


def read_config(
    args: argparse.Namespace,
    values: Mapping[str, Any] | None = None,
    *,
    weights: TrainedWeights | None = None,
) -> Config:
    """Read the config of the command line or of trained weights, with its overrides.

    Args:
        args: The options of ``add_config_options``.
        values: Overrides from other options of the script, by config key.
        weights: The weights to run, if any: ``trained_config`` says which settings they decide.

    Raises:
        FileNotFoundError: If the config does not exist.
        ValueError: If there is no config, it is invalid or contradicts the weights, an overridden
            key is unknown, or two options set it to different values.
    """
    given, chosen = parse_options(args.cfg_options), dict(values or {})
    if args.data_root is not None:
        chosen["data_root"] = args.data_root
    for key, value in chosen.items():
        if given.get(key, value) != value:
            raise ValueError(
                f"--cfg-options {key}={given[key]} contradicts another option, which sets it to "
                f"{value}: leave one of them out"
            )
    options = given | chosen
    if weights is not None:
        return trained_config(weights, args.py_config, options)
    if args.py_config is None:
        raise ValueError("no config given: pass --py-config FILE, or weights that contain theirs")
    return load_config(args.py_config, options)


def weights_to_score(args: argparse.Namespace) -> TrainedWeights:
    """Read the weights to score: those of the given file, or the best ones of a training.

    Args:
        args: The options of ``add_weight_options``.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the command line names neither, the file is not a checkpoint, or other
            processes of the run have other weights.
    """
    if args.resume_from is None and args.work_dir is None:
        raise ValueError("no weights given: pass --work-dir DIR or --resume-from FILE")
    weights = read_weights(args.resume_from or args.work_dir / BEST)
    if is_distributed():  # One process need not read its file again.
        check_agreement({"weights": describe_file(weights.path)})
    return weights


def reject_input_folder(out: Path, inputs: Iterable[Path]) -> None:
    """Check that results neither replace nor mix with input.

    Args:
        out: The output folder.
        inputs: Folders that are read. Results may go below one that only holds others of them, such
            as the root of a data set.

    Raises:
        ValueError: If it is one of them, or below one.
    """
    place, folders = out.resolve(), {folder.resolve() for folder in inputs}
    holders = {parent for folder in folders for parent in folder.parents}
    if place in folders or not (folders - holders).isdisjoint(place.parents):
        raise ValueError(
            f"{out} holds input, which the results would replace or mix with: choose another folder"
        )
