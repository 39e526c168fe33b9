"""Command-line options that select frames and predictions, shared by several tools."""

import argparse
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config

from dataset.sample import Sample
from dataset.splits import SPLITS
from engine.build.build import build_grid
from engine.checkpoint.weights import TrainedWeights, read_weights
from engine.command_line import (
    add_config_options,
    add_device_option,
    add_sensors_option,
    read_config,
    sensors_values,
)
from engine.frames.sources import (
    ANNOTATIONS,
    FrameSource,
    Predicted,
    Recordings,
    SavedPredictions,
)
from engine.frames.splats import splats_of
from engine.number_options import count
from engine.prediction.predictor import GridPredictor, build_predictor
from utils.config import MODALITIES
from utils.labels import FREE, LABEL_SETS, label_set


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the data set, saved predictions or weights, and selected frames."""
    group = parser.add_argument_group("frames and predictions")
    add_config_options(group, required=False)
    group.add_argument(
        "--pred", type=Path, metavar="DIR", help="folder of predictions, STEM.npy per frame"
    )
    group.add_argument(
        "--resume-from",
        type=Path,
        metavar="FILE",
        help="checkpoint to predict each frame with on demand",
    )
    group.add_argument("--split", choices=("all", *SPLITS), default="all", help="default: all")
    group.add_argument("--scene", metavar="NAME", help="only this drive, e.g. scene_00006")
    group.add_argument("--stems", nargs="+", metavar="STEM", help="only these frames")
    group.add_argument(
        "--labels",
        choices=sorted(LABEL_SETS),
        default="unscenes3d",
        help="label set of predictions without a config (default: unscenes3d)",
    )
    group.add_argument(
        "--gaussians", type=count, metavar="N", help="Gaussians per frame (default: as in training)"
    )
    add_sensors_option(group)
    add_device_option(group)


def build_source(
    args: argparse.Namespace, *, annotations: Sequence[str] = ANNOTATIONS
) -> FrameSource:
    """Build the frame source of a command line.

    Args:
        args: The options of ``add_source_options``.
        annotations: Optional fields to read besides sensor data.

    Raises:
        ValueError: If options conflict.
        FileNotFoundError: If a file or folder is missing.
    """
    if args.pred is not None and args.resume_from is not None:
        raise ValueError("--pred and --resume-from both give predictions: pass only one of them")
    if args.sensors is not None and args.resume_from is None:
        raise ValueError("--sensors is for the network of --resume-from: pass both")
    if args.py_config is None and args.resume_from is None:
        return _predictions_alone(args)
    chosen = {"split": args.split, "stems": args.stems, "scene": args.scene}
    if args.resume_from is not None:
        weights = read_weights(args.resume_from)
        cfg = read_config(args, sensors_values(args), weights=weights)
        predict = LivePrediction(load_predictor(args, cfg, weights))
        return Recordings(cfg, **chosen, predict=predict, annotations=annotations)
    cfg = read_config(args)
    if args.pred is None:
        return Recordings(cfg, **chosen, annotations=annotations)
    saved = SavedPredictions(args.pred, build_grid(cfg), label_set(cfg.labels))
    among = saved.stems if args.stems is None else None
    return Recordings(cfg, **chosen, predict=saved.predict, among=among, annotations=annotations)


def load_predictor(args: argparse.Namespace, cfg: Config, weights: TrainedWeights) -> GridPredictor:
    """Load the config's network, with trained weights and the command line's number of Gaussians.

    Raises:
        ValueError: If the weights do not match.
    """
    return build_predictor(cfg, weights, device=args.device, num_gaussians=args.gaussians)


class LivePrediction:
    """Predicts single frames, with Gaussians if the network has any; any thread may call it.

    Args:
        predictor: The network.

    Attributes:
        choices: The sensors that it can predict from, of which it uses ``sensors``.
    """

    def __init__(self, predictor: GridPredictor) -> None:
        self._predictor, self._lock = predictor, threading.Lock()
        colors = predictor.labels.colors
        of_classes = [color for label, color in enumerate(colors) if label != FREE]
        self._class_colors = np.array(of_classes, dtype=np.uint8)
        modality = predictor.network.modality
        self.choices: tuple[str, ...] = MODALITIES if modality == "both" else (modality,)

    @property
    def sensors(self) -> str:
        """The sensors that frames are predicted from: "both", "camera" or "lidar"."""
        return str(self._predictor.network.sensors)

    def use_sensors(self, sensors: str) -> None:
        """Predict from these sensors from now on; waits for the frame that is being predicted.

        Raises:
            ValueError: If the network cannot.
        """
        with self._lock:
            self._predictor.network.use_sensors(sensors)

    def __call__(self, sample: Sample) -> Predicted:
        """Predict a frame."""
        with self._lock:
            grid, gaussians = self._predictor.predict_with_gaussians(sample)
        splats = None if gaussians is None else splats_of(gaussians, self._class_colors)
        return Predicted(grid.occupancy, splats)


def live_sensors(source: FrameSource) -> LivePrediction | None:
    """Return the choice of sensors of a source that predicts on demand from one or the other."""
    predict = source.predict if isinstance(source, Recordings) else None
    return predict if isinstance(predict, LivePrediction) and len(predict.choices) > 1 else None


def _predictions_alone(args: argparse.Namespace) -> FrameSource:
    given = {"--data-root": args.data_root, "--scene": args.scene, "--stems": args.stems}
    if args.pred is None:
        raise ValueError("nothing to show: pass --py-config FILE, --resume-from FILE or --pred DIR")
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name} needs --py-config or --resume-from, which say how to read the data set"
            )
    return SavedPredictions(args.pred, None, label_set(args.labels))
