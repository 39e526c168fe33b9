"""TensorBoard images at each validation, of the same few frames each time.

``rendered/STEM`` has the maps of the branches for the first camera above their targets.
``from_above/STEM`` has the prediction, and of frames with a label also that and the errors.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.amp import autocast

from dataset.frame_dataset import FrameDataset
from dataset.options import spread
from dataset.sample import Sample, collate
from engine.pictures.branch_maps import BranchMap, render_branches
from engine.pictures.frame_errors import ERRORS, error_labels
from engine.pictures.legend import class_entries
from engine.pictures.map_panel import draw_map, map_title
from engine.pictures.page import SCREEN, frame_title
from engine.pictures.panels import RgbImage
from engine.pictures.table_page import table_page
from engine.training.board import Board
from engine.training.hooks import unwrap
from model.unsocc import UnsOcc
from utils.labels import FREE, IGNORE, LabelSet

NUM_FRAMES = 3
"""Number of frames to show."""
PANEL_PX = 320
"""Width of a panel [px]."""
BLANK = (236, 238, 242)
"""Color of free and of unsupervised pixels."""
STYLE = SCREEN._replace(background=BLANK, frame=BLANK)


class ImagesHook(Hook):
    """Draws a few validation frames for TensorBoard, in the first process.

    It runs before the hook that swaps the averaged weights out, so it shows the validated weights.

    Args:
        frames: The validation split.
        labels: The label set.
        amp_dtype: Precision of the prediction; None: that of the weights.
    """

    priority = "ABOVE_NORMAL"

    def __init__(
        self, frames: FrameDataset, labels: LabelSet, amp_dtype: torch.dtype | None = None
    ) -> None:
        self._frames, self._labels, self._amp_dtype = frames, labels, amp_dtype
        self.indices = spread(range(len(frames)), NUM_FRAMES)

    @torch.no_grad()
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draw the frames with the current network."""
        if runner.rank != 0:
            return
        board = runner.visualizer.get_backend(Board.__name__)
        network = unwrap(runner.model)
        assert isinstance(network, UnsOcc), "build_model must build an UnsOcc"
        for index in self.indices:
            sample = self._frames[index]
            with autocast(dtype=self._amp_dtype, enabled=self._amp_dtype is not None):
                (prediction,) = network.test_step(collate([sample]))
            occupancy = prediction.occupancy.cpu().numpy()
            above = top_view_page(sample, occupancy, self._labels)
            board.add_image(f"from_above/{sample.stem}", above, runner.epoch)
            options = network.rendering
            if options is not None:  # Rendered in full precision, which rays need.
                maps = render_branches(network, sample, stride=options.stride).maps
                page = maps_page(sample.stem, maps, self._labels, options.far_m)
                board.add_image(f"rendered/{sample.stem}", page, runner.epoch)


def maps_page(
    title: str, maps: Sequence[BranchMap], labels: LabelSet, far_m: float
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw maps above their targets.

    Args:
        title: Title of the page.
        maps: The maps.
        labels: Label set, with colors.
        far_m: Depth at the far end of the color map [m].
    """

    def draw(values: np.ndarray, kind: str) -> RgbImage:
        return draw_map(values, kind, labels, _panel_size(values), far_m=far_m, style=STYLE)

    rendered = [draw(branch_map.values, branch_map.kind) for branch_map in maps]
    targets = [
        np.full_like(drawn, BLANK)
        if branch_map.target is None
        else draw(branch_map.target, branch_map.kind)
        for branch_map, drawn in zip(maps, rendered, strict=True)
    ]
    columns = [map_title(branch_map) for branch_map in maps]
    rows = [("Predicted", rendered), ("Supervision", targets)]
    note = f"depth from 0 (blue) to {far_m:g} m (red)"
    return table_page(title, note, columns, rows, [class_entries(labels)])


def top_view_page(
    sample: Sample, prediction: UInt8[np.ndarray, "X Y Z"], labels: LabelSet
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the first camera's image, and top views of prediction, label and errors.

    Args:
        sample: The frame, with its label if it has one.
        prediction: Predicted labels.
        labels: Label set, with colors.
    """
    panels, columns = [top_view(prediction, labels)], ["Prediction"]
    legend = [class_entries(labels)]
    if sample.occupancy is not None:
        target = sample.occupancy.cpu().numpy()
        errors = error_labels(prediction, target)
        panels += [top_view(target, labels), top_view(errors, ERRORS)]
        columns += ["Label", "Errors"]
        legend.append(class_entries(ERRORS))
    if sample.images is not None:
        image = sample.images[0].permute(1, 2, 0).cpu().numpy()
        panels.insert(0, _scale_to_panel(image, smooth=True))
        columns.insert(0, "Camera")
    return table_page(frame_title(sample), "far end up", columns, [("From above", panels)], legend)


def top_view(
    occupancy: UInt8[np.ndarray, "X Y Z"], labels: LabelSet
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the topmost label of each column that is neither free nor ignored: x up, y left."""
    top_down = occupancy[:, :, ::-1]
    is_shown = (top_down != FREE) & (top_down != IGNORE)
    top = np.take_along_axis(top_down, is_shown.argmax(axis=2)[..., None], axis=2)[..., 0]
    top = np.where(is_shown.any(axis=2), top, FREE)
    return _scale_to_panel(_palette(labels)[top[::-1, ::-1]])


def _palette(labels: LabelSet) -> UInt8[np.ndarray, "256 3"]:
    palette = labels.palette()
    palette[[FREE, IGNORE]] = BLANK
    return palette


def _scale_to_panel(image: RgbImage, *, smooth: bool = False) -> RgbImage:
    """Scale an image to the width ``PANEL_PX``."""
    enlarge = cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST
    shrinks = image.shape[1] > PANEL_PX
    method = cv2.INTER_AREA if shrinks else enlarge
    return cv2.resize(image, _panel_size(image), interpolation=method)


def _panel_size(values: np.ndarray) -> tuple[int, int]:
    """Return width and height of the panel of an image or a map [px]."""
    return PANEL_PX, max(1, round(PANEL_PX / values.shape[1] * values.shape[0]))
