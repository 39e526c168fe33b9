"""Repeat-factor sampling: frames with rare classes come more often in an epoch."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, get_rank

from dataset.class_counts import frame_class_counts
from dataset.frame_dataset import FrameDataset
from utils.config import Schedule


def repeat_factors(counts: Int64[np.ndarray, "F C"], threshold: float) -> Float64[np.ndarray, " F"]:
    """Return how often each frame comes in an epoch, on average; at least 1.

    A class in a share f of the frames asks for max(1, sqrt(threshold / f)), and a frame has the
    largest factor of its classes.

    Args:
        counts: Voxels by frame and class; the first class, background, does not count.
        threshold: Share of the frames below which a class is rare.

    Source: Gupta et al., "LVIS: A Dataset for Large Vocabulary Instance Segmentation", 2019.
    """
    is_present = counts[:, 1:] > 0
    share = np.maximum(is_present.mean(axis=0), 1.0 / max(1, len(counts)))
    factor = np.maximum(1.0, np.sqrt(threshold / share))
    repeats: Float64[np.ndarray, " F"] = np.max(is_present * factor, axis=1, initial=1.0)
    return repeats


def frame_repeats(
    cfg: Config, frames: FrameDataset, schedule: Schedule
) -> Float64[np.ndarray, " F"] | None:
    """Return the repeat factors of a training split; None if sampling is uniform.

    Rank 0 counts the labels, and broadcasts the factors.

    Raises:
        FileNotFoundError: If a label is missing.
        ValueError: If a label is invalid, or labels of the data set cannot be counted.
    """
    if schedule.repeat_threshold == 0:
        return None
    if not frames.has_statistics:
        raise ValueError(
            f"schedule.repeat_threshold={schedule.repeat_threshold}: labels of {cfg.dataset.type} "
            "cannot be counted; set it to 0"
        )
    found: list[Any] = [None]
    if get_rank() == 0:
        counts = frame_class_counts(Path(cfg.data_root), frames.stems, "train")
        found = [repeat_factors(counts, schedule.repeat_threshold)]
    broadcast_object_list(found)
    repeats: Float64[np.ndarray, " F"] = found[0]
    return repeats
