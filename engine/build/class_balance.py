"""Class balance computed from the training labels, if a config requests it.

``model.loss.class_weights`` and ``model.loss.class_counts`` are numbers or ``"from_data"``. With
``"from_data"``, training first counts the labels of its split and caches the counts with the data.
"""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, get_rank

from dataset.frame_dataset import FrameDataset
from dataset.statistics import Statistics, split_statistics
from engine.build.dataset_class import dataset_class
from loss.balance import log_share_weights
from utils.config import plain
from utils.labels import FREE, UNSCENES3D

FROM_DATA = "from_data"
"""Value in a config: compute the numbers from the labels of the training split."""
WEIGHT_OFFSET = 1.2
"""Offset in the logarithm of the configs' class weights."""


@runtime_checkable
class Counts(Protocol):
    """Labeled voxels over a set of frames; those of free do not count."""

    @property
    def frames(self) -> int:
        """Number of frames."""

    @property
    def counts(self) -> Int64[np.ndarray, " C"]:
        """Labeled voxels of each class."""

    @property
    def shares(self) -> Float64[np.ndarray, " C"]:
        """Share of each class in the labeled voxels."""


def class_weights(
    statistics: Counts, reference: int = UNSCENES3D.index("driveable_surface")
) -> list[float]:
    """Return ``model.loss.class_weights``: free first, with the weight of a reference class.

    Weights are rounded to one decimal, as in the configs.

    Args:
        statistics: The counts.
        reference: Label of the class whose weight is 1.
    """
    weights = log_share_weights(statistics.shares.tolist(), WEIGHT_OFFSET)
    scaled = (weights / weights[reference]).tolist()
    scaled[FREE] = 1.0
    return [round(weight, 1) for weight in scaled]


def class_counts(statistics: Counts) -> list[int]:
    """Return ``model.loss.class_counts``: mean voxels per frame.

    Free has 0, because it is never rendered; other classes that occur have at least 1.
    """
    counts = statistics.counts / max(1, statistics.frames)
    return [0, *(max(round(count), 1) if count else 0 for count in counts[1:].tolist())]


RULES: dict[str, Callable[[Statistics], list[float] | list[int]]] = {
    "class_weights": class_weights,
    "class_counts": class_counts,
}
"""Rule that computes each key of ``model.loss`` from the counts."""


def counted_keys(cfg: Config) -> list[str]:
    """Return the keys of ``model.loss`` that are "from_data".

    Raises:
        ValueError: If a value is another string, or the data set does not support counting.
    """
    loss = plain(cfg.get("model") or {}).get("loss")
    given = loss if isinstance(loss, Mapping) else {}
    texts = {key: given[key] for key in RULES if isinstance(given.get(key), str)}
    for key, text in texts.items():
        if text != FROM_DATA:
            raise ValueError(
                f"model.loss.{key} must be a number per class, None or '{FROM_DATA}', got '{text}'"
            )
    if texts and not dataset_class(cfg).has_statistics:
        raise ValueError(
            f"model.loss.{sorted(texts)[0]}='{FROM_DATA}': labels of {cfg.dataset.type} cannot be "
            "counted; set a number per class"
        )
    return sorted(texts)


def with_class_balance(cfg: Config, build_frames: Callable[[], FrameDataset]) -> Config:
    """Return the config with "from_data" replaced by numbers; the same config if there is none.

    Rank 0 counts and broadcasts the numbers.

    Args:
        cfg: The config.
        build_frames: Builds the data set of the training split; called only to count.

    Raises:
        FileNotFoundError: If the data is missing.
        ValueError: If the config or a label is invalid.
    """
    keys = counted_keys(cfg)
    if not keys:
        return cfg
    found: list[Any] = [None]
    if get_rank() == 0:
        stems = build_frames().stems
        statistics = split_statistics(Path(cfg.data_root), stems, "train")
        found = [{f"model.loss.{key}": RULES[key](statistics) for key in keys}]
    broadcast_object_list(found)
    resolved = copy.deepcopy(cfg)
    resolved.merge_from_dict(found[0])
    return resolved


def without_class_balance(cfg: Config) -> Config:
    """Return the config with "from_data" replaced by None, for networks that are not trained.

    Raises:
        ValueError: If the config is invalid.
    """
    keys = counted_keys(cfg)
    if not keys:
        return cfg
    resolved = copy.deepcopy(cfg)
    for key in keys:
        resolved.model.loss[key] = None
    return resolved
