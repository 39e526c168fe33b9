"""Which frames a command line asks for, and what is said of them: options of several tools."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config

from dataset.sample import Sample
from dataset.splits import SPLITS
from engine.build.build import build_grid
from engine.command_line import add_config_options, add_device_option, read_config
from engine.frames.sources import (
    ANNOTATIONS,
    FrameSource,
    Predicted,
    Recordings,
    SavedPredictions,
)
from engine.frames.splats import splats_of
from engine.prediction.predictor import GridPredictor, build_predictor
from utils.labels import FREE, LABEL_SETS, label_set


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a data set, saved predictions or weights, and frames of them."""
    what = parser.add_argument_group("frames")
    add_config_options(what, required=False)
    what.add_argument("--pred", type=Path, metavar="DIR", help="folder of predictions STEM.npy")
    what.add_argument(
        "--resume-from",
        type=Path,
        metavar="FILE",
        help="checkpoint of the network that predicts the frames",
    )
    what.add_argument(
        "--split", choices=("all", *SPLITS), default="all", help="split (default: all)"
    )
    what.add_argument("--scene", metavar="NAME", help="show only this scene, such as scene_00006")
    what.add_argument("--stems", nargs="+", metavar="STEM", help="show only these frames")
    what.add_argument(
        "--labels",
        choices=sorted(LABEL_SETS),
        default="unscenes3d",
        help="label set of predictions without a config (default: unscenes3d)",
    )
    what.add_argument(
        "--gaussians", type=int, metavar="N", help="Gaussians per frame (default: as in training)"
    )
    add_device_option(what)


def build_source(
    args: argparse.Namespace, *, annotations: Sequence[str] = ANNOTATIONS
) -> FrameSource:
    """The frames that the command line asks for.

    Args:
        args: The options of ``add_source_options``.
        annotations: What is read besides the sensors' fields, where it is there.

    Raises:
        ValueError: If its options do not go together.
        FileNotFoundError: If something named is not there.
    """
    if args.py_config is None:
        return _predictions_alone(args)
    if args.pred is not None and args.resume_from is not None:
        raise ValueError("--pred and --resume-from are two predictions of a frame: give one")
    cfg = read_config(args)
    labels = label_set(cfg.labels)
    predicted: list[str] | None = None
    predict: Callable[[Sample], Predicted] | None = None
    if args.pred is not None:
        saved = SavedPredictions(args.pred, build_grid(cfg), labels)
        predict = saved.predict
        predicted = saved.stems if args.stems is None else None
    if args.resume_from is not None:
        predict = predict_live(load_predictor(args, cfg))
    return Recordings(
        cfg,
        args.split,
        predict=predict,
        stems=args.stems,
        among=predicted,
        scene=args.scene,
        annotations=annotations,
    )


def load_predictor(args: argparse.Namespace, cfg: Config) -> GridPredictor:
    """The config's network, with the weights and as many Gaussians as the command line says.

    Raises:
        ValueError: If that is not one Gaussian at least, or the weights do not fit.
    """
    if args.gaussians is not None and args.gaussians < 1:
        raise ValueError(f"--gaussians is at least 1, got {args.gaussians}")
    return build_predictor(cfg, args.resume_from, device=args.device, num_gaussians=args.gaussians)


def predict_live(predictor: GridPredictor) -> Callable[[Sample], Predicted]:
    """What a network says of frames, one at a time, with its Gaussians where it has them."""
    colors = predictor.labels.colors
    of_classes = [color for label, color in enumerate(colors) if label != FREE]
    class_colors = np.array(of_classes, dtype=np.uint8)

    def predict(sample: Sample) -> Predicted:
        grid, gaussians = predictor.predict_with_gaussians(sample)
        splats = None if gaussians is None else splats_of(gaussians, class_colors)
        return Predicted(grid.occupancy, splats)

    return predict


def _predictions_alone(args: argparse.Namespace) -> FrameSource:
    given = {"--data-root": args.data_root, "--resume-from": args.resume_from}
    given |= {"--scene": args.scene, "--stems": args.stems}
    if args.pred is None:
        raise ValueError("nothing to look at: give --py-config FILE, or --pred DIR, or both")
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} needs --py-config, which says how to read the data set")
    return SavedPredictions(args.pred, None, label_set(args.labels))
