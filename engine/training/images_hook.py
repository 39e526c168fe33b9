"""Images in TensorBoard at each validation: a few frames, the same ones every time.

``rendered/STEM`` shows what each branch shows to the first camera over what supervises it;
``from_above/STEM`` the prediction, the label and where they differ.
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

NUMBER = 3
"""Frames that are shown."""
PANEL_PX = 320
"""Width of a panel, about."""
NOTHING = (236, 238, 242)
"""Where nothing is, and where nothing supervises."""
STYLE = SCREEN._replace(background=NOTHING, frame=NOTHING)


class ImagesHook(Hook):
    """Draws a few validation frames for TensorBoard, in the first process.

    The weights are those that are scored: it comes before the hook that takes their average back.

    Args:
        frames: The validation's data set, which has labels.
        labels: The label set.
        amp_dtype: Precision to predict in; None: that of the weights.
    """

    priority = "ABOVE_NORMAL"

    def __init__(
        self, frames: FrameDataset, labels: LabelSet, amp_dtype: torch.dtype | None = None
    ) -> None:
        self._frames, self._labels, self._amp_dtype = frames, labels, amp_dtype
        self.indices = spread(range(len(frames)), NUMBER)

    @torch.no_grad()
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Draw the frames as the network sees them now."""
        if runner.rank != 0:
            return
        board = runner.visualizer.get_backend(Board.__name__)
        network = unwrap(runner.model)
        assert isinstance(network, UnsOcc), "build_model builds no other"
        for index in self.indices:
            sample = self._frames[index]
            with autocast(dtype=self._amp_dtype, enabled=self._amp_dtype is not None):
                (prediction,) = network.test_step(collate([sample]))
            occupancy = prediction.occupancy.cpu().numpy()
            above = page_from_above(sample, occupancy, self._labels)
            board.add_image(f"from_above/{sample.stem}", above, runner.epoch)
            options = network.rendering
            if options is not None:  # In full precision, which rays need.
                maps = render_branches(network, sample, stride=options.stride).maps
                page = page_of_maps(sample.stem, maps, self._labels, options.far_m)
                board.add_image(f"rendered/{sample.stem}", page, runner.epoch)


def page_of_maps(
    title: str, maps: Sequence[BranchMap], labels: LabelSet, far_m: float
) -> UInt8[np.ndarray, "height width 3"]:
    """Maps over what supervises them.

    Args:
        title: First line.
        maps: The maps.
        labels: Colors of the labels.
        far_m: Depth of the last color [m].
    """

    def draw(values: np.ndarray, kind: str) -> RgbImage:
        return draw_map(values, kind, labels, _panel_size(values), far_m=far_m, style=STYLE)

    rendered = [draw(one.values, one.kind) for one in maps]
    targets = [
        np.full_like(drawn, NOTHING) if one.target is None else draw(one.target, one.kind)
        for one, drawn in zip(maps, rendered, strict=True)
    ]
    columns = [map_title(one) for one in maps]
    rows = [("Predicted", rendered), ("Supervision", targets)]
    note = f"depth from 0 (blue) to {far_m:g} m (red)"
    return table_page(title, note, columns, rows, [class_entries(labels)])


def page_from_above(
    sample: Sample, prediction: UInt8[np.ndarray, "X Y Z"], labels: LabelSet
) -> UInt8[np.ndarray, "height width 3"]:
    """The first camera's image, prediction, label and errors from straight above.

    Args:
        sample: The frame, with its label.
        prediction: Predicted labels.
        labels: Their colors.

    Raises:
        ValueError: If the frame has no label.
    """
    if sample.occupancy is None:
        raise ValueError(f"frame {sample.stem} has no label to draw beside the prediction")
    target = sample.occupancy.cpu().numpy()
    errors = error_labels(prediction, target)
    panels = [
        from_above(prediction, labels),
        from_above(target, labels),
        from_above(errors, ERRORS),
    ]
    columns = ["Prediction", "Label", "Errors"]
    if sample.images is not None:
        image = sample.images[0].permute(1, 2, 0).cpu().numpy()
        panels.insert(0, _of_width(image, smooth=True))
        columns.insert(0, "Camera")
    legend = [class_entries(labels), class_entries(ERRORS)]
    return table_page(frame_title(sample), "far end up", columns, [("From above", panels)], legend)


def from_above(
    occupancy: UInt8[np.ndarray, "X Y Z"], labels: LabelSet
) -> UInt8[np.ndarray, "height width 3"]:
    """The topmost label of each column that is neither free nor ignored: x up, y left."""
    downwards = occupancy[:, :, ::-1]
    is_shown = (downwards != FREE) & (downwards != IGNORE)
    top = np.take_along_axis(downwards, is_shown.argmax(axis=2)[..., None], axis=2)[..., 0]
    top = np.where(is_shown.any(axis=2), top, FREE)
    return _of_width(_palette(labels)[top[::-1, ::-1]])


def _palette(labels: LabelSet) -> UInt8[np.ndarray, "256 3"]:
    palette = labels.palette()
    palette[[FREE, IGNORE]] = NOTHING
    return palette


def _of_width(image: RgbImage, *, smooth: bool = False) -> RgbImage:
    """Scaled to about ``PANEL_PX`` columns."""
    enlarge = cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST
    shrinks = image.shape[1] > PANEL_PX
    method = cv2.INTER_AREA if shrinks else enlarge
    return cv2.resize(image, _panel_size(image), interpolation=method)


def _panel_size(values: np.ndarray) -> tuple[int, int]:
    """Width and height of the panel of an image or a map [px]."""
    return PANEL_PX, max(1, round(PANEL_PX / values.shape[1] * values.shape[0]))
