"""What a figure compares: peers' predictions, one's own, the label and the errors, by name."""

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
    """Voxels under a name.

    Attributes:
        name: What the figure calls them.
        voxels: Label of each voxel.
        grid: Where they are.
        labels: What the labels are.
        note: Scores of this frame; empty where there are none.
        is_label: Whether they are the frame's label.
    """

    name: str
    voxels: UInt8[np.ndarray, "X Y Z"]
    grid: VoxelGrid
    labels: LabelSet
    note: str = ""
    is_label: bool = False


class FigureFrame(NamedTuple):
    """A frame as a figure shows it.

    Attributes:
        sample: What the sensors saw.
        layers: What is compared, in the order of the figure.
    """

    sample: Sample
    layers: tuple[Layer, ...]

    @property
    def label(self) -> Layer | None:
        """The frame's label, None where it has none."""
        return next((layer for layer in self.layers if layer.is_label), None)

    def layer(self, name: str) -> Layer | None:
        """The layer of a name, None where the frame has none."""
        return next((layer for layer in self.layers if layer.name == name), None)


@dataclass(frozen=True)
class LayerOptions:
    """What is compared, and which of its voxels are shown.

    Attributes:
        name: What the prediction is called.
        peers: Other methods' predictions, by name.
        label_name: What the label is called.
        errors: Whether the errors of each prediction follow it.
        hidden: Labels that are not shown; an error on what is hidden is not, either.
        only_scored: Hide what is predicted where the label is ignored, as scores do.
    """

    name: str
    peers: Mapping[str, SavedPredictions]
    label_name: str = "Label"
    errors: bool = False
    hidden: tuple[int, ...] = ()
    only_scored: bool = False


def open_peers(
    words: Sequence[str], grid: VoxelGrid, labels: LabelSet
) -> dict[str, SavedPredictions]:
    """Folders of predictions from ``NAME=DIR`` words.

    A folder is of the figure's grid or, where its first file has another shape, of UnScenes3D's in
    other voxels.

    Raises:
        ValueError: If a word is no such pair, a name comes twice, or a grid fits nothing.
        FileNotFoundError: If a folder is not there or holds no prediction.
    """
    peers: dict[str, SavedPredictions] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not (name and equals and folder):
            raise ValueError(f"--compare needs NAME=DIR, such as Co-Occ=out/co_occ; got '{word}'")
        if name in peers:
            raise ValueError(f"--compare names '{name}' twice")
        peers[name] = SavedPredictions(Path(folder), grid, labels, any_voxel_size=True)
    return peers


def hidden_labels(names: Sequence[str], labels: LabelSet, *, ground: bool) -> tuple[int, ...]:
    """Labels of the classes that are not shown.

    Args:
        names: Classes by name.
        labels: Their label set.
        ground: Hide what one drives on and what surrounds it, too.

    Raises:
        ValueError: If there is no class of a name.
    """
    chosen = {labels.index(name) for name in names}
    return tuple(sorted(chosen | set(labels.ground if ground else ())))


def layers_of(
    frame: ViewFrame, grid: VoxelGrid, labels: LabelSet, options: LayerOptions
) -> FigureFrame:
    """Put a frame's layers together: peers, prediction, label; errors after each prediction.

    Raises:
        FileNotFoundError: If a peer has no prediction of the frame.
        ValueError: If there is nothing to show, two layers have one name, or errors are asked for
            between unlike grids.
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
        raise ValueError(f"a figure needs different names for what it compares, got {names}")
    if not layers:
        raise ValueError(
            f"frame {frame.sample.stem} has no label and no prediction: choose others with --split "
            "or --stems, or give --pred DIR or --resume-from FILE"
        )
    return FigureFrame(frame.sample, tuple(layers))


def _with_label(
    layer: Layer,
    target: UInt8[np.ndarray, "X Y Z"],
    grid: VoxelGrid,
    options: LayerOptions,
    stem: str,
) -> list[Layer]:
    """A prediction with its score and, where asked for, its errors."""
    if layer.grid != grid:
        if options.errors or options.only_scored:
            raise ValueError(
                f"frame {stem}: '{layer.name}' has voxels of {layer.grid.voxel_m} m and the label "
                f"of {grid.voxel_m} m, which cannot be compared voxel by voxel: choose a config "
                "whose grid is the prediction's"
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
    """The layer with some labels free."""
    if not hidden:
        return layer
    voxels = np.where(np.isin(layer.voxels, hidden), np.uint8(FREE), layer.voxels)
    return layer._replace(voxels=voxels)
