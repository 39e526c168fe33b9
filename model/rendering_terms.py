"""The loss terms of everything that training renders, from a batch and the network's outputs."""

from collections.abc import Collection
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dataset.sample import Batch, NeighborViews, required
from model.objective import IMAGE_TERMS, SPLAT_TERMS, volume_term_names
from model.outputs import Outputs
from model.render.views import Views, label_views
from model.supervision import (
    RenderOptions,
    image_terms,
    novel_depth_term,
    ray_targets,
    splat_terms,
    volume_terms,
)
from utils.geometry import VoxelGrid

COMPILED_FUNCTIONS = ("label_views", "image_terms", "ray_targets", "volume_terms")
"""Functions with fixed shapes, which are attributes of ``RenderingTerms``."""


class RenderingTerms:
    """Renders labels and outputs, and compares them, in float32, which meters and pixels need.

    Args:
        options: What is rendered.
        grid: The label grid.
        feature_grid: Grid of the volumes.
        fields: Fields of ``Fused`` that the fusion gives.

    Attributes:
        label_views: ``model.render.views.label_views``, or its compiled form; so are the other
            ``COMPILED_FUNCTIONS``.
    """

    def __init__(
        self,
        options: RenderOptions,
        grid: VoxelGrid,
        feature_grid: VoxelGrid,
        fields: Collection[str],
    ) -> None:
        self.options, self.grid, self.feature_grid = options, grid, feature_grid
        self.fields = tuple(fields)
        self.label_views, self.image_terms = label_views, image_terms
        self.ray_targets, self.volume_terms = ray_targets, volume_terms

    def compile(self, options: dict[str, Any]) -> None:
        """Compile the functions when they first run, with options of torch.compile."""
        for name in COMPILED_FUNCTIONS:
            setattr(self, name, torch.compile(getattr(self, name), options=options))

    def names(self, *, has_image_classes: bool, has_gaussians: bool) -> list[str]:
        """Names of the terms.

        Args:
            has_image_classes: Whether the lift predicts classes of the image.
            has_gaussians: Whether there is a refinement.
        """
        names = [*IMAGE_TERMS] if has_image_classes else []
        names += volume_term_names(self.fields)
        names += SPLAT_TERMS if has_gaussians else ()
        return names + (["novel_depth"] if self.options.novel_views else [])

    def views(self, batch: Batch) -> Views:
        """Render the labels.

        Raises:
            ValueError: If the batch lacks labels, images or projections.
        """
        labels, images = required(batch, "occupancy"), required(batch, "images")
        with torch.autocast(labels.device.type, enabled=False):
            return self.label_views(
                labels,
                self.grid,
                required(batch, "pixel_from_lidar"),
                images.shape[-2:],
                stride=self.options.stride,
                virtual=self.options.virtual,
            )

    def terms(
        self,
        batch: Batch,
        outputs: Outputs,
        views: Views,
        class_weight: Float[Tensor, "classes"],
        refinement: nn.Module | None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Compare renderings of the outputs with views of the labels.

        Args:
            batch: The batch.
            outputs: Outputs for it, with fields.
            views: Views of its labels.
            class_weight: Weight of each class, free first.
            refinement: Predicts the Gaussians; None: no Gaussians.

        Raises:
            ValueError: If the batch lacks a field.
        """
        with torch.autocast(class_weight.device.type, enabled=False):
            terms: dict[str, Tensor] = {}
            if refinement is not None:  # First: its rasterizer waits for what was queued before.
                size = (views.height, views.width)
                gaussians = refinement(
                    outputs.decoded, outputs.logits, views.pixel_from_lidar, size
                )
                terms |= splat_terms(gaussians, views, class_weight, self.options)
            if outputs.camera is not None and outputs.camera.class_logits is not None:
                terms |= self.image_terms(outputs.camera.class_logits, views, class_weight)
            if self.fields:
                terms |= self._volume_terms(batch, outputs, views, class_weight)
            if self.options.novel_views:
                terms["novel_depth"] = self._novel_depth(batch, outputs)
        return terms

    def _volume_terms(
        self, batch: Batch, outputs: Outputs, views: Views, class_weight: Tensor
    ) -> dict[str, Float[Tensor, ""]]:
        images, options = required(batch, "images"), self.options
        targets = self.ray_targets(views, images, batch.depth_m, self.feature_grid, options)
        return self.volume_terms(outputs.fused, self.feature_grid, targets, class_weight, options)

    def _novel_depth(self, batch: Batch, outputs: Outputs) -> Float[Tensor, ""]:
        others: NeighborViews = required(batch, "neighbors")
        projections = required(batch, "pixel_from_lidar"), others.pixel_from_lidar.flatten(1, 2)
        depths_m = required(batch, "depth_m"), others.depth_m.flatten(1, 2)
        cameras, depth_m = torch.cat(projections, dim=1), torch.cat(depths_m, dim=1)
        return novel_depth_term(outputs.logits, self.grid, cameras, depth_m, self.options)
