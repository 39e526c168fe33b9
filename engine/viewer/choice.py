"""What of a frame is shown: one value that the panel gives and the scene follows."""

from dataclasses import dataclass

from engine.frames.sources import ViewFrame
from engine.viewer.voxels import VoxelGroup

PREDICTION, LABEL, DIFFERENCE = "Prediction", "Label", "Difference"
LAYERS = (PREDICTION, LABEL, DIFFERENCE)
"""The voxels that can be shown, one of them at a time."""
POINTS, CAMERAS, ELEVATION, GAUSSIANS = "LiDAR points", "Camera", "Elevation", "Gaussians"
EXTRAS = (POINTS, CAMERAS, ELEVATION, GAUSSIANS)
"""What can be shown besides voxels."""


@dataclass(frozen=True)
class Choice:
    """What is shown.

    Attributes:
        layer: One of ``LAYERS``; None: no voxels.
        hidden: Classes and kinds of error that are not shown.
        ground: Whether voxels of the ground are shown.
        extras: Those of ``EXTRAS`` that are shown.
    """

    layer: str | None = None
    hidden: frozenset[str] = frozenset()
    ground: bool = True
    extras: frozenset[str] = frozenset({POINTS, CAMERAS})

    def shows(self, group: VoxelGroup) -> bool:
        """Whether the voxels of a group of the layer are shown."""
        return group.name not in self.hidden and (self.ground or not group.is_ground)


def layers_of(frame: ViewFrame) -> tuple[str, ...]:
    """The layers that a frame has."""
    has_prediction, has_label = frame.predicted is not None, frame.label is not None
    there = {
        PREDICTION: has_prediction,
        LABEL: has_label,
        DIFFERENCE: has_prediction and has_label,
    }
    return tuple(layer for layer in LAYERS if there[layer])


def extras_of(frame: ViewFrame) -> tuple[str, ...]:
    """What else a frame has."""
    sample, predicted = frame.sample, frame.predicted
    there = {
        POINTS: sample.points is not None,
        CAMERAS: sample.images is not None and sample.pixel_from_lidar is not None,
        ELEVATION: sample.elevation_m is not None,
        GAUSSIANS: predicted is not None and predicted.splats is not None,
    }
    return tuple(extra for extra in EXTRAS if there[extra])


def nearest_layer(wanted: str | None, frame: ViewFrame) -> str | None:
    """The layer asked for, or else the first that the frame has."""
    layers = layers_of(frame)
    return wanted if wanted in layers else next(iter(layers), None)
