"""Errors of a prediction against its label: kinds of error per voxel, and frame scores."""

import math

import numpy as np
from jaxtyping import UInt8

from engine.metrics.confusion import Confusion
from engine.metrics.occupancy import OccupancyScores, occupancy_scores
from utils.labels import FREE, IGNORE, LabelSet

ERRORS = LabelSet(
    name="errors",
    class_names=("free", "correct", "missed", "invented", "wrong class"),
    colors=((255, 255, 255), (205, 209, 214), (214, 39, 40), (31, 119, 220), (255, 176, 0)),
)
"""The labels of an error map."""
ERROR_NOTES = (
    "occupied, same class",
    "occupied, predicted free",
    "free, predicted occupied",
    "occupied, another class",
)
"""Meaning of each kind of error."""


def error_labels(
    prediction: UInt8[np.ndarray, "X Y Z"], target: UInt8[np.ndarray, "X Y Z"]
) -> UInt8[np.ndarray, "X Y Z"]:
    """Return the ``ERRORS`` label of each voxel: free where both are free, 255 where ignored."""
    is_predicted, is_labeled = prediction != FREE, target != FREE
    errors = np.full(target.shape, FREE, dtype=np.uint8)
    errors[is_labeled & (prediction == target)] = ERRORS.index("correct")
    errors[is_labeled & ~is_predicted] = ERRORS.index("missed")
    errors[is_predicted & ~is_labeled] = ERRORS.index("invented")
    errors[is_predicted & is_labeled & (prediction != target)] = ERRORS.index("wrong class")
    errors[target == IGNORE] = IGNORE
    return errors


def frame_scores(
    prediction: UInt8[np.ndarray, "X Y Z"], target: UInt8[np.ndarray, "X Y Z"], labels: LabelSet
) -> OccupancyScores:
    """Score a single frame, by the default convention."""
    confusion = Confusion(labels.num_classes)
    confusion.update(prediction, target)
    return occupancy_scores(confusion, labels)


def percent_of(share: float) -> str:
    """Format a share in percent; a dash for NaN."""
    return "-" if math.isnan(share) else f"{100 * share:.1f}"
