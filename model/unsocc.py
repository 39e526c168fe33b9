"""UnsOcc: camera and LiDAR in, a label for every voxel out.

``UnsOcc.infer`` is the whole way of a frame through the network, in the order of the framework
figure; the other methods of the class only wrap it for mmengine's loops.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from mmengine.model import BaseModel
from torch import Tensor

from dataset.sample import Batch, NeighborViews
from loss.balance import effective_number_weights, weighted_terms
from loss.depth import depth_bin_cross_entropy, downsample_depth
from loss.elevation import elevation_loss
from loss.occupancy import occupancy_terms
from model.fusion import Fused
from model.lidar_encoder import LidarFeatures
from model.lift import Lifted
from model.novel_view import log_free_of
from model.prediction import Prediction
from model.preprocess import BatchPreprocessor
from model.render.views import label_views
from model.streams import SideStream
from model.supervision import (
    RenderOptions,
    image_terms,
    novel_depth_term,
    splat_terms,
    volume_terms,
)
from utils.config import MODALITIES
from utils.geometry import VoxelGrid
from utils.labels import LabelSet, label_set
from utils.registry import MODELS

DENSE_PARTS = ("image_encoder", "lift", "fusion", "decoder", "head")
"""Parts free of sparse convolutions and of shapes that change with the frame."""


@dataclass(frozen=True)
class Parts:
    """The config of every part of the network. What a modality has no use for is not built.

    Attributes:
        image_encoder: Images to features of one stride.
        lift: Image features to a volume, through depth distributions.
        lidar_encoder: Points to a volume.
        fusion: The two volumes, either of which may be absent, to one.
        decoder: The fused volume to one that has seen the whole scene.
        head: The decoded volume and the sensors' evidence to logits.
        refinement: The decoded volume and the logits to Gaussians, in training; None: without.
        elevation: The decoded volume and the points to heights of the ground; None: without.
    """

    image_encoder: dict[str, Any]
    lift: dict[str, Any]
    lidar_encoder: dict[str, Any]
    fusion: dict[str, Any]
    decoder: dict[str, Any]
    head: dict[str, Any]
    refinement: dict[str, Any] | None = None
    elevation: dict[str, Any] | None = None


TERMS = (
    "cross_entropy",
    "lovasz_softmax",
    "sem_scal",
    "geo_scal",
    "depth",
    "image_semantic",
    "image_lovasz",
    "render_depth",
    "render_semantic",
    "render_alignment",
    "render_colour",
    "splat_semantic",
    "splat_lovasz",
    "splat_depth",
    "elevation",
    "novel_depth",
)
"""All terms that a loss can have: of the logits, the lift, the volumes, the Gaussians, the map."""


@dataclass(frozen=True)
class LossOptions:
    """What the training minimises.

    Attributes:
        weights: Weight of each of ``TERMS``, those too that a modality or a part does without.
        class_weights: Weight of each class in the cross entropy, free first; None: all alike.
        class_counts: Labelled voxels of each class in a usual frame, free first, from which the
            weights in the pictures' cross entropy follow; None: all alike.
        effective_number_beta: How far those go from all alike (0) to 1 / count (1).
    """

    weights: Mapping[str, float]
    class_weights: Sequence[float] | None = None
    class_counts: Sequence[int] | None = None
    effective_number_beta: float = 0.0


class Outputs(NamedTuple):
    """What one pass gives: the logits, and what training supervises on the way to them."""

    logits: Float[Tensor, "B classes X Y Z"]
    decoded: Float[Tensor, "B C x y z"]
    fused: Fused
    camera: Lifted | None
    lidar: LidarFeatures | None
    elevation: Float[Tensor, "B rows cols"] | None


@MODELS.register_module()
class UnsOcc(BaseModel):
    """The network.

    Args:
        grid: The label grid, or a config's dictionary of it: the logits lie on all of it.
        labels: Name of the label set.
        modality: "both", "camera" or "lidar"; what the other sensor gives is never read.
        coarsening: Label voxels per feature voxel along each axis.
        parts: The arguments of ``Parts``.
        loss: The arguments of ``LossOptions``.
        rendering: The arguments of ``RenderOptions``; None: nothing is rendered in training. The
            LiDAR alone has no image plane to render to.

    Attributes:
        label_views: What draws the labels; compiled with the dense parts.
        gives_log_free: Whether predictions have ``log_free``; whoever reads it says so first.

    Raises:
        ValueError: If the modality or a weight's name is unknown, or weights are missing.
    """

    def __init__(
        self,
        grid: VoxelGrid | dict,
        labels: str | LabelSet,
        modality: str,
        coarsening: int,
        parts: dict,
        loss: dict,
        rendering: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=BatchPreprocessor())
        if modality not in MODALITIES:
            raise ValueError(f"modality must be one of {MODALITIES}, got '{modality}'")
        self.grid = VoxelGrid.from_config(grid)
        self.labels = labels if isinstance(labels, LabelSet) else label_set(labels)
        self.uses_camera, self.uses_lidar = modality != "lidar", modality != "camera"
        self.feature_grid = self.grid.coarsen(coarsening)
        self.lidar_stream, self.uses_graphs = SideStream(), False
        self.label_views, self.gives_log_free = label_views, False
        self.rendering = RenderOptions(**rendering) if rendering and self.uses_camera else None
        self._build(Parts(**parts), coarsening)
        options = LossOptions(**loss)
        self.loss_weights = _checked_weights(options.weights)
        weights, pixel_weights = self._class_weights(options)
        self.register_buffer("class_weights", weights, persistent=False)
        self.register_buffer("pixel_class_weights", pixel_weights, persistent=False)

    def _build(self, parts: Parts, coarsening: int) -> None:
        """Build the parts that the modality uses, from the sensors on."""
        place = dict(grid=self.grid, coarsening=coarsening)
        channels: dict[str, Any] = dict(camera_channels=0, lidar_channels=0)
        evidence_channels = 0
        if self.uses_camera:
            self.image_encoder = MODELS.build(parts.image_encoder)
            of_image: dict[str, Any] = dict(in_channels=self.image_encoder.channels)
            of_image |= dict(num_classes=self.labels.num_classes)
            self.lift = MODELS.build(parts.lift, default_args=of_image | place)
            channels["camera_channels"] = self.lift.channels
            evidence_channels += self.lift.evidence_channels
        if self.uses_lidar:
            self.lidar_encoder = MODELS.build(parts.lidar_encoder, default_args=place)
            channels["lidar_channels"] = self.lidar_encoder.channels
            evidence_channels += self.lidar_encoder.evidence_channels
        of_fusion = dict(grid=self.feature_grid, num_classes=self.labels.num_classes)
        self.fusion = MODELS.build(parts.fusion, default_args=channels | of_fusion)
        of_volume = dict(in_channels=self.fusion.channels, shape=self.feature_grid.shape)
        self.decoder = MODELS.build(parts.decoder, default_args=of_volume)
        of_decoded = dict(
            in_channels=self.decoder.channels,
            evidence_channels=evidence_channels,
            num_classes=self.labels.num_classes,
            coarsening=coarsening,
        )
        self.head = MODELS.build(parts.head, default_args=of_decoded)
        self.refinement = None
        if parts.refinement is not None and self.rendering is not None:
            of_gaussians = dict(in_channels=self.decoder.channels) | place
            self.refinement = MODELS.build(parts.refinement, default_args=of_gaussians)
        self.elevation = None
        if parts.elevation is not None:
            of_map = dict(in_channels=self.decoder.channels, uses_points=self.uses_lidar)
            of_map |= dict(grid=self.feature_grid)
            self.elevation = MODELS.build(parts.elevation, default_args=of_map)

    def compile_dense(self, mode: str, parts: Sequence[str] = DENSE_PARTS) -> list[str]:
        """Have torch.compile fuse parts whose shapes are fixed, when they first run.

        Beside them, what draws the labels for the rendering's terms.

        Args:
            mode: As torch.compile's. With "reduce-overhead", which replays CUDA graphs, the
                outputs of ``infer`` live until its next call: not for training.
            parts: Their names; those that the modality has no use for are left out.

        Returns:
            The names of what is compiled.
        """
        names = [name for name in parts if hasattr(self, name)]
        options = torch._inductor.list_mode_options(mode)
        if self.class_weights.is_cuda:
            # ``place`` has laid the convolutions out. The compiler's own choice of layouts knows of
            # two dimensions only, and has volumes turned over before and after each convolution.
            options["layout_optimization"] = False
        for name in names:
            getattr(self, name).compile(options=options)
        if names:
            self.label_views = torch.compile(label_views, options=options)
        self.uses_graphs = bool(names) and mode == "reduce-overhead"
        return names

    def init_weights(self) -> None:
        """Load pretrained weights. The Runner calls this before it trains, not before it scores."""
        if self.uses_camera:
            self.image_encoder.init_weights()

    def infer(self, batch: Batch, *, with_fields: bool = False) -> Outputs:
        """The way of a batch through the network.

        Args:
            batch: Frames with the fields that the modality needs.
            with_fields: Also give the volumes as a renderer sees them.
        """
        if self.uses_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        camera = lidar = None
        begun = self.lidar_stream.begin(self.pixel_class_weights.device)
        if self.uses_camera:
            images = required(batch, "images")
            features = self.image_encoder(images)
            height, width = images.shape[-2:]
            projection = required(batch, "pixel_from_lidar")
            camera = self.lift(features, projection, (height, width))
        if self.uses_lidar:
            points = required(batch, "points")
            lidar = self.lidar_stream.run(begun, lambda: self.lidar_encoder(points))
        volumes = (camera and camera.volume, lidar and lidar.volume)
        fused = self.fusion(*volumes, with_fields=with_fields)
        decoded = self.decoder(fused.volume)
        evidence = [seen.evidence for seen in (camera, lidar) if seen]
        logits = self.head(decoded, [part for part in evidence if part is not None])
        elevation = None
        if self.elevation is not None:
            elevation = self.elevation(decoded, batch.points if self.uses_lidar else None)
        return Outputs(logits, decoded, fused, camera, lidar, elevation)

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Weighted terms of the loss by name.

        Raises:
            FloatingPointError: If one is not finite. Raised here, before anything is changed, and
                not where the training loop sums them, which several processes do elsewhere.
        """
        labels = required(batch, "occupancy")
        outputs = self.infer(batch, with_fields=self.rendering is not None)
        terms = occupancy_terms(outputs.logits, labels, self.class_weights)
        if outputs.camera is not None and batch.depth_m is not None:
            depth_m = downsample_depth(batch.depth_m, self.image_encoder.stride)
            edges_m = self.lift.bins.edges_m().to(depth_m.device)
            terms["depth"] = depth_bin_cross_entropy(outputs.camera.depth_logits, depth_m, edges_m)
        if self.rendering is not None:
            with torch.autocast(labels.device.type, enabled=False):
                terms |= self._rendering_terms(batch, outputs, self.rendering)
        if outputs.elevation is not None:
            terms["elevation"] = elevation_loss(outputs.elevation, required(batch, "elevation_m"))
        weights = {name: self.loss_weights[name] for name in terms}
        weighted = weighted_terms(terms, weights)
        check_finite(weighted, batch.stems)
        return weighted

    def _rendering_terms(
        self, batch: Batch, outputs: Outputs, options: RenderOptions
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms of all that is rendered; in float32, for metres and pixels need it."""
        images, projection = required(batch, "images"), required(batch, "pixel_from_lidar")
        views = self.label_views(
            required(batch, "occupancy"),
            self.grid,
            projection,
            images.shape[-2:],
            stride=options.stride,
            virtual=options.virtual,
        )
        weight = self.pixel_class_weights
        terms: dict[str, Tensor] = {}
        if outputs.camera is not None and outputs.camera.class_logits is not None:
            terms |= image_terms(outputs.camera.class_logits, views, weight)
        terms |= volume_terms(
            outputs.fused, self.feature_grid, views, images / 255, batch.depth_m, weight, options
        )
        if self.refinement is not None:
            size = (views.height, views.width)
            gaussians = self.refinement(
                outputs.decoded, outputs.logits, views.pixel_from_lidar, size
            )
            terms |= splat_terms(gaussians, views, weight, options)
        if options.novel_views:
            others: NeighborViews = required(batch, "neighbors")
            cameras = torch.cat([projection, others.pixel_from_lidar.flatten(1, 2)], dim=1)
            depth_m = torch.cat([required(batch, "depth_m"), others.depth_m.flatten(1, 2)], dim=1)
            seen = (cameras, depth_m, options)
            terms["novel_depth"] = novel_depth_term(outputs.logits, self.grid, *seen)
        return terms

    def predict(self, batch: Batch) -> list[Prediction]:
        """The most probable label of every voxel, frame by frame."""
        outputs = self.infer(batch)
        labels = outputs.logits.argmax(dim=1).to(torch.uint8)
        elevation = [None] * len(batch) if outputs.elevation is None else outputs.elevation
        log_free = log_free_of(outputs.logits) if self.gives_log_free else [None] * len(batch)
        frames = zip(batch.stems, labels, elevation, log_free, strict=True)
        return [Prediction(*frame) for frame in frames]

    def forward(
        self, batch: Batch, mode: str = "tensor"
    ) -> Float[Tensor, "B classes X Y Z"] | dict[str, Tensor] | list[Prediction]:
        """Run the network.

        Args:
            batch: Frames with the fields that the modality needs, and ``occupancy`` for the loss.
            mode: "tensor" for the logits, "loss" for the weighted terms of the loss by name,
                "predict" for predictions.

        Raises:
            ValueError: If the mode is unknown, or the batch lacks a field.
        """
        if mode == "tensor":
            return self.infer(batch).logits
        if mode == "loss":
            return self.losses(batch)
        if mode == "predict":
            return self.predict(batch)
        raise ValueError(f"mode must be 'tensor', 'loss' or 'predict', got '{mode}'")

    def _class_weights(
        self, options: LossOptions
    ) -> tuple[Float[Tensor, "classes"], Float[Tensor, "classes"]]:
        """Weights of the classes in the voxels' and in the pictures' cross entropy."""
        number = self.labels.num_classes
        given = {"class_weights": options.class_weights, "class_counts": options.class_counts}
        for name, values in given.items():
            if values is not None and len(values) != number:
                raise ValueError(
                    f"loss.{name} needs one value for each of the {number} classes of "
                    f"{self.labels.name}, free first; got {len(values)}"
                )
        weights = torch.tensor(options.class_weights or [1.0] * number, dtype=torch.float32)
        counts = options.class_counts or [1] * number
        return weights, effective_number_weights(counts, options.effective_number_beta)


def required(batch: Batch, field: str) -> Any:
    """A field of a batch.

    Raises:
        ValueError: If the batch has none.
    """
    value = getattr(batch, field)
    if value is None:
        raise ValueError(
            f"frames {batch.stems} were read without '{field}', which the network needs: "
            "ask the data set for this field, or choose another modality"
        )
    return value


def check_finite(terms: Mapping[str, Float[Tensor, ""]], stems: Sequence[str]) -> None:
    """Stop on a loss that is no number.

    Raises:
        FloatingPointError: If a term is infinite or NaN, naming the terms and the frames.
    """
    values = dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))
    if not torch.tensor(list(values.values())).isfinite().all():
        raise FloatingPointError(
            f"the loss is not finite for the frames {list(stems)}: {values}. Look at these frames "
            "for values that are no numbers, lower the learning rate, or train in full precision"
        )


def _checked_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights of the loss, one for every term that there can be."""
    if set(TERMS) != set(weights):
        raise ValueError(f"loss.weights needs the terms {sorted(TERMS)}, got {sorted(weights)}")
    return dict(weights)
