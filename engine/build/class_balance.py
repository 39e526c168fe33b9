"""The balance of the classes: from the labels that are trained on, where a config says so.

``model.loss.class_weights`` and ``model.loss.class_counts`` are numbers, or ``"from_data"``: then
training counts the labels of its own split first, once, and keeps the counts beside the data.
"""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, get_rank

from dataset.frame_dataset import FrameDataset
from dataset.statistics import Statistics, split_statistics
from engine.build.dataset_class import dataset_class
from loss.balance import log_share_weights
from utils.config import plain
from utils.labels import FREE, UNSCENES3D

FROM_DATA = "from_data"
"""In a config: the numbers come from the labels of the training split."""
WEIGHT_OFFSET = 1.2
"""Of the configs' class weights."""


def class_weights(statistics: Statistics) -> list[float]:
    """Weights for ``model.loss.class_weights``: free first, as much as driveable_surface.

    Rounded to the digits that a config needs.
    """
    weights = log_share_weights(statistics.shares.tolist(), WEIGHT_OFFSET)
    driveable = UNSCENES3D.index("driveable_surface")
    scaled = (weights / weights[driveable]).tolist()
    scaled[FREE] = 1.0
    return [round(weight, 1) for weight in scaled]


def class_counts(statistics: Statistics) -> list[int]:
    """Voxels in a usual frame for ``model.loss.class_counts``: 0 of free, which no picture shows.

    A class that occurs at all has at least one.
    """
    counts = statistics.counts / max(1, statistics.frames)
    return [0, *(max(round(count), 1) if count else 0 for count in counts[1:].tolist())]


RULES: dict[str, Callable[[Statistics], list[float] | list[int]]] = {
    "class_weights": class_weights,
    "class_counts": class_counts,
}
"""How each key of ``model.loss`` follows from the counts."""


def counted_keys(cfg: Config) -> list[str]:
    """The keys of ``model.loss`` that a config leaves to the data.

    Raises:
        ValueError: If one is another text, or the labels of such a data set cannot be counted.
    """
    loss = plain(cfg.get("model") or {}).get("loss")
    given = loss if isinstance(loss, Mapping) else {}
    texts = {key: given[key] for key in RULES if isinstance(given.get(key), str)}
    for key, text in texts.items():
        if text != FROM_DATA:
            raise ValueError(
                f"model.loss.{key} is a number for each class, None or '{FROM_DATA}', got '{text}'"
            )
    if texts and not dataset_class(cfg).has_statistics:
        raise ValueError(
            f"model.loss.{sorted(texts)[0]}='{FROM_DATA}': labels of {cfg.dataset.type} cannot be "
            "counted; give a number for each class"
        )
    return sorted(texts)


def with_class_balance(cfg: Config, build_frames: Callable[[], FrameDataset]) -> Config:
    """The config with numbers where it leaves them to the data; itself where it does not.

    Of several processes the first one counts; all get its numbers.

    Args:
        cfg: The config.
        build_frames: Builds the data set of the training split; called if something is counted.

    Raises:
        FileNotFoundError: If the data is not there.
        ValueError: If the config is at fault, or a label is not as its format says.
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
    """The config for a network that does not train, whose classes need no balance: no counting.

    Raises:
        ValueError: If the config is at fault.
    """
    keys = counted_keys(cfg)
    if not keys:
        return cfg
    resolved = copy.deepcopy(cfg)
    for key in keys:
        resolved.model.loss[key] = None
    return resolved
