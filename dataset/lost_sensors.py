"""Frames that lack the data of a sensor: what is lost, and what is left to predict from."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from mmengine.dist import all_gather_object, is_main_process
from torch import Tensor

from dataset.sample import Loss, Sample
from utils.shortlist import shortlist

BLANK_STD = 1.0
"""Images that deviate less from their mean color, in steps of 8 bits, are blank."""

logger = logging.getLogger(__name__)


LOST_CAMERA = (Loss.NO_IMAGE, Loss.BLANK_IMAGE)
LOST_LIDAR = (Loss.NO_CLOUD, Loss.NO_POINTS)


def has_content(path: Path) -> bool:
    """Return whether a file exists and is not empty."""
    return path.is_file() and path.stat().st_size > 0


def is_blank(image: UInt8[np.ndarray | Tensor, "H W 3"]) -> bool:
    """Return whether an image has a single color, such as black."""
    rows, columns = (max(1, length // 64) for length in image.shape[:2])
    sampled = np.asarray(torch.as_tensor(image[::rows, ::columns]).cpu())
    return bool(sampled.reshape(-1, image.shape[-1]).std(axis=0).max() < BLANK_STD)


def losses_of(sample: Sample, fields: Collection[str]) -> tuple[Loss, ...]:
    """Return what a frame lacks of the fields that were requested."""
    found = []
    if "images" in fields:
        if sample.images is None:
            found.append(Loss.NO_IMAGE)
        else:
            blank = [is_blank(image.permute(1, 2, 0)) for image in sample.images]
            if any(blank):
                found.append(Loss.BLANK_IMAGE if all(blank) else Loss.SOME_IMAGES)
    if "points" in fields:
        if sample.points is None:
            found.append(Loss.NO_CLOUD)
        elif not len(sample.points):
            found.append(Loss.NO_POINTS)
    return tuple(found)


def with_losses(sample: Sample, fields: Collection[str], *, drop: bool) -> Sample:
    """Return a frame that says what it lacks.

    Args:
        sample: The frame as read.
        fields: The requested fields.
        drop: Whether to set the data of a lost sensor to None, so that the frame is predicted from
            the other one.

    Raises:
        ValueError: If ``drop`` leaves nothing to predict from.
    """
    lost = losses_of(sample, fields)
    if not lost:
        return sample
    sample = replace(sample, lost=lost)
    if not drop:
        return sample
    if any(loss in LOST_CAMERA for loss in lost):
        sample = replace(sample, images=None, pixel_from_lidar=None)
    if any(loss in LOST_LIDAR for loss in lost):
        sample = replace(sample, points=None)
    if sample.images is None and sample.points is None:
        reasons = " and ".join(loss.value for loss in lost)
        raise ValueError(
            f"frame {sample.stem} has nothing to predict from: {reasons}. Restore one of the two "
            "files, or leave the frame out"
        )
    return sample


class FirstLosses:
    """Warns of the first frame that lacks something, once per cause, where frames have no end."""

    def __init__(self) -> None:
        self._warned: set[Loss] = set()

    def see(self, stem: str, lost: Sequence[Loss]) -> None:
        """Warn of what no frame before has lacked."""
        for loss in set(lost) - self._warned:
            self._warned.add(loss)
            logger.warning("frame %s: %s; later frames are not warned of", stem, loss.value)


class LossWatch:
    """Counts what frames lack as they pass, and warns once per cause.

    Args:
        allow_missing: Whether frames are predicted from the sensor that is left; None: that is no
            option.
    """

    def __init__(self, *, allow_missing: bool | None = None) -> None:
        self._allow_missing = allow_missing
        self._seen: dict[str, tuple[Loss, ...]] = {}

    def see(self, stem: str, lost: Sequence[Loss]) -> None:
        """Note what a frame lacks."""
        self._seen[stem] = tuple(lost)

    def close_all(self) -> None:
        """Close the watches of all processes; one of them warns."""
        for seen in all_gather_object(self._seen):
            self._seen |= seen
        if is_main_process():
            self.close()
        self._seen = {}

    def close(self) -> None:
        """Warn of what the frames lacked, with their number and the first of them."""
        for loss in Loss:
            stems = [stem for stem, lost in self._seen.items() if loss in lost]
            if stems:
                logger.warning(
                    "%d of %d frames: %s (%s); %s",
                    len(stems),
                    len(self._seen),
                    loss.value,
                    shortlist(stems, most=5),
                    self._consequence(loss),
                )
        self._seen = {}

    def _consequence(self, loss: Loss) -> str:
        if loss is Loss.SOME_IMAGES:
            return "they are predicted with black images in their place"
        if self._allow_missing is None:
            return "check the data"
        if not self._allow_missing:
            return "check the data; --allow-missing predicts such frames from the other sensor"
        return f"predicted from the {'LiDAR' if loss in LOST_CAMERA else 'camera'} alone"
