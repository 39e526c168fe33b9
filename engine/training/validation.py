"""What validation reads and scores: labels, depth, or both."""

from mmengine.config import Config
from mmengine.evaluator import BaseMetric

from dataset.frame_dataset import FrameDataset
from engine.build.build import build_dataset, build_grid, fields_of, input_fields
from engine.build.dataset_class import dataset_class
from engine.evaluation.depth_metric import FIELDS as DEPTH_FIELDS
from engine.evaluation.depth_metric import DepthMetric, check_error_name
from engine.evaluation.occupancy_metric import OccupancyMetric, check_score_name


def check_validation(cfg: Config, best_metric: str, *, depth_metric: bool) -> None:
    """Check that validation has something to score, and selects weights by one of its scores.

    Args:
        cfg: The config, with validation.
        best_metric: ``runtime.best_metric``.
        depth_metric: Whether depth is scored, too.

    Raises:
        ValueError: If the data has no labels and depth is not scored, or there is no such score.
    """
    data = dataset_class(cfg)
    if data.has_labels:
        check_score_name(best_metric, cfg.labels)
    elif depth_metric:
        check_error_name(best_metric)
    else:
        raise ValueError(
            f"{data.__name__} have no labels that validation could score: score depth with "
            "--depth-metric, or set schedule.val_interval=0"
        )


def validation_frames(cfg: Config, *, depth_metric: bool) -> FrameDataset:
    """Build the validation split with the fields that its metrics need."""
    has_labels = dataset_class(cfg).has_labels
    inputs = fields_of(cfg.modality, training=False) if has_labels else input_fields(cfg.modality)
    depth = DEPTH_FIELDS if depth_metric else ()
    return build_dataset(cfg, "val", fields=sorted({*inputs, *depth}))


def validation_metrics(cfg: Config, *, depth_metric: bool) -> list[BaseMetric]:
    """Build the metrics of validation."""
    labels = [OccupancyMetric(cfg.labels)] if dataset_class(cfg).has_labels else []
    return [*labels, *([DepthMetric(build_grid(cfg))] if depth_metric else [])]
