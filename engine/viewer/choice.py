"""The user's choice of what to show: set by the control panel, followed by the scene."""

from dataclasses import dataclass

from engine.frames.sources import ViewFrame
from engine.viewer.voxels import VoxelGroup
from utils.labels import IGNORE

PREDICTION, LABEL, DIFFERENCE = "Prediction", "Label", "Difference"
LAYERS = (PREDICTION, LABEL, DIFFERENCE)
"""Voxel layers; one is shown at a time."""
POINTS, CAMERAS, ELEVATION, GAUSSIANS = "LiDAR points", "Camera", "Elevation", "Gaussians"
UNLABELED = "Edge of the labels"
EXTRAS = (POINTS, CAMERAS, ELEVATION, GAUSSIANS, UNLABELED)
"""Content besides voxels."""


@dataclass(frozen=True)
class Choice:
    """What to show.

    Attributes:
        layer: One of ``LAYERS``; None: no voxels.
        hidden: Classes and kinds of error to hide.
        ground: Whether to show ground voxels.
        extras: Extras to show, from ``EXTRAS``.
    """

    layer: str | None = None
    hidden: frozenset[str] = frozenset()
    ground: bool = True
    extras: frozenset[str] = frozenset({POINTS, CAMERAS})

    def shows(self, group: VoxelGroup) -> bool:
        """Return whether to show the voxels of a group."""
        return group.name not in self.hidden and (self.ground or not group.is_ground)


def layers_of(frame: ViewFrame) -> tuple[str, ...]:
    """Return the layers that a frame has."""
    has_prediction, has_label = frame.predicted is not None, frame.label is not None
    available = {
        PREDICTION: has_prediction,
        LABEL: has_label,
        DIFFERENCE: has_prediction and has_label,
    }
    return tuple(layer for layer in LAYERS if available[layer])


def extras_of(frame: ViewFrame) -> tuple[str, ...]:
    """Return the extras that a frame has."""
    sample, predicted = frame.sample, frame.predicted
    available = {
        POINTS: sample.points is not None,
        CAMERAS: sample.images is not None and sample.pixel_from_lidar is not None,
        ELEVATION: sample.elevation_m is not None,
        GAUSSIANS: predicted is not None and predicted.splats is not None,
        UNLABELED: frame.label is not None and bool((frame.label == IGNORE).any()),
    }
    return tuple(extra for extra in EXTRAS if available[extra])


def nearest_layer(wanted: str | None, frame: ViewFrame) -> str | None:
    """Return the wanted layer if the frame has it, else the frame's first layer."""
    layers = layers_of(frame)
    return wanted if wanted in layers else next(iter(layers), None)
