"""Layers of a figure: peer predictions, the prediction, the label and errors, each named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dataset.sample import Sample
from engine.frames.sources import SavedPredictions, ViewFrame
from engine.pictures.frame_errors import ERRORS, error_labels, frame_scores, percent_of
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, LabelSet


class Layer(NamedTuple):
    """Named voxels.

    Attributes:
        name: Name in the figure.
        voxels: Label of each voxel.
        grid: Grid of the voxels.
        labels: Label set.
        note: Scores of this frame; empty if there are none.
        is_label: Whether this is the frame's label.
    """

    name: str
    voxels: UInt8[np.ndarray, "X Y Z"]
    grid: VoxelGrid
    labels: LabelSet
    note: str = ""
    is_label: bool = False


class FigureFrame(NamedTuple):
    """A frame with the layers that a figure shows.

    Attributes:
        sample: Sensor data.
        layers: The layers, in the order of the figure.
    """

    sample: Sample
    layers: tuple[Layer, ...]

    @property
    def label(self) -> Layer | None:
        """The frame's label; None if it has none."""
        return next((layer for layer in self.layers if layer.is_label), None)

    def layer(self, name: str) -> Layer | None:
        """Return the layer of a name; None if the frame has none."""
        return next((layer for layer in self.layers if layer.name == name), None)


@dataclass(frozen=True)
class LayerOptions:
    """Options of the layers: which to compare, and which voxels to show.

    Attributes:
        name: Name of the prediction.
        peers: Predictions of other methods, by name.
        label_name: Name of the label.
        errors: Whether each prediction is followed by its errors.
        hidden: Labels to hide; errors on them are hidden too.
        only_scored: Hide predictions where the label is ignored, as scoring does.
    """

    name: str
    peers: Mapping[str, SavedPredictions]
    label_name: str = "Label"
    errors: bool = False
    hidden: tuple[int, ...] = ()
    only_scored: bool = False


def open_peers(
    arguments: Sequence[str], grid: VoxelGrid, labels: LabelSet
) -> dict[str, SavedPredictions]:
    """Open the prediction folders of ``NAME=DIR`` arguments.

    Predictions are on the figure's grid. If the first file of a folder has another shape, they are
    on UnScenes3D's grid with another voxel size.

    Raises:
        ValueError: If an argument is not NAME=DIR, a name is repeated, or no grid fits.
        FileNotFoundError: If a folder is missing or has no predictions.
    """
    peers: dict[str, SavedPredictions] = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not (name and equals and folder):
            raise ValueError(
                f"--compare needs NAME=DIR, such as Co-Occ=out/co_occ; got '{argument}'"
            )
        if name in peers:
            raise ValueError(f"--compare has the name '{name}' twice")
        peers[name] = SavedPredictions(Path(folder), grid, labels, any_voxel_size=True)
    return peers


def hidden_labels(names: Sequence[str], labels: LabelSet, *, ground: bool) -> tuple[int, ...]:
    """Return the labels of the classes to hide.

    Args:
        names: Names of classes to hide.
        labels: Their label set.
        ground: Whether to also hide the ground classes.

    Raises:
        ValueError: If a class is unknown.
    """
    chosen = {labels.index(name) for name in names}
    return tuple(sorted(chosen | set(labels.ground if ground else ())))


def layers_of(
    frame: ViewFrame, grid: VoxelGrid, labels: LabelSet, options: LayerOptions
) -> FigureFrame:
    """Collect the layers of a frame: peers, prediction, label; errors follow each prediction.

    Raises:
        FileNotFoundError: If a peer has no prediction of the frame.
        ValueError: If there is nothing to show, two layers share a name, or errors are requested
            between different grids.
    """
    predictions = [
        Layer(name, peer.predict(frame.sample).occupancy, peer.grid, labels)
        for name, peer in options.peers.items()
    ]
    if frame.prediction is not None:
        predictions.append(Layer(options.name, frame.prediction, grid, labels))
    layers: list[Layer] = []
    for layer in predictions:
        if frame.label is None:
            layers.append(_without(layer, options.hidden))
            continue
        layers += _with_label(layer, frame.label, grid, options, frame.sample.stem)
    if frame.label is not None:
        label = Layer(options.label_name, frame.label, grid, labels, is_label=True)
        layers.append(_without(label, options.hidden))
    names = [layer.name for layer in layers]
    if len(set(names)) < len(names):
        raise ValueError(f"the layers of a figure need different names, got {names}")
    if not layers:
        raise ValueError(
            f"frame {frame.sample.stem} has no label and no prediction: choose other frames with "
            "--split or --stems, or pass --pred DIR or --resume-from FILE"
        )
    return FigureFrame(frame.sample, tuple(layers))


def _with_label(
    layer: Layer,
    target: UInt8[np.ndarray, "X Y Z"],
    grid: VoxelGrid,
    options: LayerOptions,
    stem: str,
) -> list[Layer]:
    """Return a prediction with its scores and, if requested, its errors."""
    if layer.grid != grid:
        if options.errors or options.only_scored:
            raise ValueError(
                f"frame {stem}: '{layer.name}' has voxels of {layer.grid.voxel_m} m and the label "
                f"of {grid.voxel_m} m, which cannot be compared voxel by voxel: use a config "
                "with the prediction's grid"
            )
        return [_without(layer, options.hidden)]
    scores = frame_scores(layer.voxels, target, layer.labels)
    note = f"IoU {percent_of(scores.iou)}  mIoU {percent_of(scores.miou)}"
    shown = layer.voxels
    if options.only_scored:
        shown = np.where(target == IGNORE, np.uint8(FREE), shown)
    layers = [_without(layer._replace(voxels=shown, note=note), options.hidden)]
    if options.errors:
        errors = error_labels(layer.voxels, target)
        decisive = np.where(target == FREE, layer.voxels, target)
        errors[np.isin(decisive, options.hidden)] = FREE
        layers.append(Layer(f"{layer.name}: errors", errors, grid, ERRORS))
    return layers


def _without(layer: Layer, hidden: Sequence[int]) -> Layer:
    """Return the layer with hidden labels set to free."""
    if not hidden:
        return layer
    voxels = np.where(np.isin(layer.voxels, hidden), np.uint8(FREE), layer.voxels)
    return layer._replace(voxels=voxels)
