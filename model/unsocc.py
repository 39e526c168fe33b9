"""UnsOcc: camera and LiDAR in, a label for every voxel out.

``UnsOcc.infer`` is the full forward pass, in the order of the framework figure. The other methods
wrap it for mmengine's loops.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import torch
from jaxtyping import Float
from mmengine.model import BaseModel
from torch import Tensor, nn

from dataset.sample import Batch, LidarRays, NeighborViews
from loss.balance import weighted_terms
from loss.depth import depth_bin_cross_entropy, downsample_depth
from loss.elevation import elevation_loss
from loss.occupancy import occupancy_terms
from loss.termination import unexplained_occupancy
from model.fusion import Fused
from model.label_free import SurfaceRays, depth_of_rays, occupied_labels, ray_term
from model.lidar_encoder import LidarFeatures
from model.lift import Lifted
from model.novel_view import log_free_of
from model.objective import (
    BRANCH_TERMS,
    IMAGE_TERMS,
    LABELS,
    OCCUPANCY_TERMS,
    SPLAT_TERMS,
    LossOptions,
    check_finite,
    class_balance,
    term_weights,
    volume_term_names,
)
from model.parts import Parts, build_part
from model.prediction import Prediction
from model.preprocess import BatchPreprocessor
from model.render.views import label_views
from model.sensor_dropout import SensorDropout, branch_terms, lost_sensor_term
from model.sensor_norm import sensors_are, set_sensors, split_norms
from model.streams import SideStream
from model.supervision import (
    RenderOptions,
    image_terms,
    novel_depth_term,
    ray_targets,
    splat_terms,
    volume_terms,
)
from model.video import VIDEO_STRIDE, matched_rays
from utils.config import MODALITIES
from utils.geometry import VoxelGrid
from utils.labels import LabelSet, label_set
from utils.registry import MODELS

DENSE_PARTS = ("image_encoder", "lift", "fusion", "decoder", "head")
"""Parts free of sparse convolutions and of shapes that change with the frame."""


class Outputs(NamedTuple):
    """Outputs of a forward pass: the logits, and what else training supervises."""

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
        grid: The label grid, which the logits cover, or a config's dictionary of it.
        labels: The label set, or its name.
        modality: "both", "camera" or "lidar"; the other sensor's data is never read.
        coarsening: Label voxels per feature voxel along each axis.
        parts: The arguments of ``Parts``.
        loss: The arguments of ``LossOptions``.
        rendering: The arguments of ``RenderOptions``; None: nothing is rendered in training.
            Without a camera there is no image plane to render to, and this has no effect.
        sensor_dropout: The arguments of ``SensorDropout``; None: every frame has all sensors. It
            has no effect on a network of one sensor.

    Attributes:
        sensors: What ``infer`` reads: "both", "camera" or "lidar"; ``use_sensors`` sets it.
        label_views: ``model.render.views.label_views``, or its compiled form.

    Raises:
        ValueError: If the modality or a loss weight's name is unknown, or a term that the network
            computes has no weight.
    """

    def __init__(
        self,
        grid: VoxelGrid | dict,
        labels: str | LabelSet,
        modality: str,
        coarsening: int,
        parts: Annotated[dict, Parts],
        loss: Annotated[dict, LossOptions],
        rendering: Annotated[dict, RenderOptions] | None = None,
        sensor_dropout: Annotated[dict, SensorDropout] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=BatchPreprocessor())
        if modality not in MODALITIES:
            raise ValueError(f"modality must be one of {MODALITIES}, got '{modality}'")
        self.grid = VoxelGrid.from_config(grid)
        self.labels = labels if isinstance(labels, LabelSet) else label_set(labels)
        self.uses_camera, self.uses_lidar = modality != "lidar", modality != "camera"
        self.feature_grid = self.grid.coarsen(coarsening)
        self.modality = self.sensors = modality
        options = LossOptions(**loss)
        self.supervision, self.uses_rays = options.supervision, options.uses_rays
        self.label_free = options.label_free_options
        self.uses_video = options.uses_video
        self.sensor_dropout = None
        if self.supervision != LABELS:
            rendering, sensor_dropout = None, None
        if sensor_dropout is not None and modality == "both" and any(sensor_dropout.values()):
            self.sensor_dropout = SensorDropout(**sensor_dropout)
        self.lidar_stream, self.uses_graphs = SideStream(), False
        self.label_views = label_views
        self.rendering = RenderOptions(**rendering) if rendering and self.uses_camera else None
        self._build(Parts(**parts), coarsening)
        self.loss_weights = term_weights(options.weights, self._terms())
        weights, pixel_weights = class_balance(options, self.labels)
        self.register_buffer("class_weights", weights, persistent=False)
        self.register_buffer("pixel_class_weights", pixel_weights, persistent=False)

    def _build(self, parts: Parts, coarsening: int) -> None:
        """Build the parts that the modality uses, in the order of the forward pass."""
        grid, num_classes = self.grid, self.labels.num_classes
        camera_channels = lidar_channels = camera_evidence = lidar_evidence = 0
        if self.uses_camera:
            self.image_encoder = build_part(parts.image_encoder)
            self.lift = build_part(
                parts.lift,
                in_channels=self.image_encoder.channels,
                grid=grid,
                coarsening=coarsening,
                num_classes=num_classes,
            )
            camera_channels = self.lift.channels
            camera_evidence = self.lift.evidence_channels
        if self.uses_lidar:
            self.lidar_encoder = build_part(parts.lidar_encoder, grid=grid, coarsening=coarsening)
            lidar_channels = self.lidar_encoder.channels
            lidar_evidence = self.lidar_encoder.evidence_channels
        self.evidence_channels = (camera_evidence, lidar_evidence)
        self.fusion = build_part(
            parts.fusion,
            camera_channels=camera_channels,
            lidar_channels=lidar_channels,
            grid=self.feature_grid,
            num_classes=num_classes,
        )
        self.decoder = build_part(
            parts.decoder, in_channels=self.fusion.channels, shape=self.feature_grid.shape
        )
        channels = self.decoder.channels
        self.head = build_part(
            parts.head,
            in_channels=channels,
            evidence_channels=sum(self.evidence_channels),
            num_classes=num_classes,
            coarsening=coarsening,
        )
        self.refinement = self.elevation = None
        if parts.refinement is not None and self.rendering is not None:
            self.refinement = build_part(
                parts.refinement, in_channels=channels, grid=grid, coarsening=coarsening
            )
        if parts.elevation is not None:
            self.elevation = build_part(
                parts.elevation,
                in_channels=channels,
                grid=self.feature_grid,
                uses_points=self.uses_lidar,
            )

        if self.sensor_dropout is not None:
            for part in (self.fusion, self.decoder, self.head):
                split_norms(part)
        self.branches = nn.ModuleDict()
        is_labeled = self.supervision == LABELS
        if parts.branch is not None and is_labeled and self.uses_camera and self.uses_lidar:
            for sensor, width in (("camera", camera_channels), ("lidar", lidar_channels)):
                branch = build_part(parts.branch, in_channels=width, num_classes=num_classes)
                self.branches[sensor] = branch

    def _terms(self) -> list[str]:
        """Names of the loss terms that the parts allow for."""
        if self.supervision != LABELS:
            names = ["depth"] if self.uses_camera else []
            names += ["lidar_rays"] if self.uses_rays else []
            names += ["matched_rays"] if self.uses_video else []
            return [*names, "unexplained_occupancy"]
        names = [*OCCUPANCY_TERMS]
        if self.uses_camera:
            names.append("depth")
        if self.rendering is not None:
            names += IMAGE_TERMS if self.lift.evidence_channels else ()
            names += volume_term_names(self.fusion.fields)
            names += SPLAT_TERMS if self.refinement is not None else ()
            names += ["novel_depth"] if self.rendering.novel_views else []
        if self.elevation is not None:
            names.append("elevation")
        names += BRANCH_TERMS if self.branches else ()
        names += ["lost_sensor"] if self.sensor_dropout is not None else []
        return names

    def compile_dense(self, mode: str, parts: Sequence[str] = DENSE_PARTS) -> list[str]:
        """Compile the parts whose shapes are fixed, and ``label_views``, when they first run.

        Args:
            mode: The mode of torch.compile. With "reduce-overhead", which replays CUDA graphs, the
                outputs of ``infer`` are valid until its next call only: not for training.
            parts: Names of the parts; those that were not built are skipped.

        Returns:
            Names of the compiled parts.
        """
        names = [name for name in parts if hasattr(self, name)]
        options = torch._inductor.list_mode_options(mode)
        if self.class_weights.is_cuda:
            # ``place`` has set the memory formats. The compiler's own layout pass handles 2D only,
            # and would transpose volumes before and after each convolution.
            options["layout_optimization"] = False
        for name in names:
            getattr(self, name).compile(options=options)
        if names:
            self.label_views = torch.compile(label_views, options=options)
        self.uses_graphs = bool(names) and mode == "reduce-overhead"
        return names

    def init_weights(self) -> None:
        """Load pretrained weights. The Runner calls this before training, not before scoring."""
        if self.uses_camera:
            self.image_encoder.init_weights()

    def use_sensors(self, sensors: str) -> None:
        """Read these sensors only from now on; the data of the others may be missing.

        Args:
            sensors: "both", "camera" or "lidar".

        Raises:
            ValueError: If the network was built without one of them.
        """
        if sensors not in MODALITIES or self.modality not in ("both", sensors):
            raise ValueError(
                f"a network of modality '{self.modality}' cannot run on sensors '{sensors}'"
            )
        self.sensors = sensors
        set_sensors(self, sensors)

    def infer(self, batch: Batch, *, with_fields: bool = False) -> Outputs:
        """The full forward pass.

        Args:
            batch: Frames with the fields that the sensors in use need, which are the same for all:
                ``infer_frames`` predicts frames that lost different sensors.
            with_fields: Also return the volumes that training renders.
        """
        if batch.sensors is not None and self.sensors == "both":
            assert len(set(batch.sensors)) == 1, "infer_frames predicts frames apart"
            with self._reading(batch.sensors[0]):
                return self.infer(replace(batch, sensors=None), with_fields=with_fields)
        if self.uses_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        camera = lidar = points = None
        begun = self.lidar_stream.begin(self.pixel_class_weights.device)
        if self.sensors != "lidar":
            images = required(batch, "images")
            features = self.image_encoder(images)
            height, width = images.shape[-2:]
            projection = required(batch, "pixel_from_lidar")
            camera = self.lift(features, projection, (height, width))
        if self.sensors != "camera":
            points = required(batch, "points")
            lidar = self.lidar_stream.run(begun, lambda: self.lidar_encoder(points))
        fused, decoded, logits = self._fuse(
            (camera and camera.volume, lidar and lidar.volume),
            (camera and camera.evidence, lidar and lidar.evidence),
            with_fields=with_fields,
        )
        elevation = None
        if self.elevation is not None:
            if self.uses_lidar and points is None:
                points = [decoded.new_zeros(0, 4)] * len(decoded)
            elevation = self.elevation(decoded, points)
        return Outputs(logits, decoded, fused, camera, lidar, elevation)

    def _fuse(
        self,
        volumes: Sequence[Tensor | None],
        evidence: Sequence[Tensor | None],
        *,
        with_fields: bool = False,
    ) -> tuple[Fused, Tensor, Tensor]:
        """Return the fused volume, the decoded one, and the logits.

        Args:
            volumes: Those of camera and LiDAR; None for a sensor that is not in use.
            evidence: Likewise. The head gets zeros for a sensor that it was built for.
            with_fields: Also return the volumes that training renders.
        """
        fused = self.fusion(*volumes, with_fields=with_fields)
        decoded = self.decoder(fused.volume)
        seen = []
        for part, channels in zip(evidence, self.evidence_channels, strict=True):
            if part is None and channels:
                part = decoded.new_zeros(len(decoded), channels, *self.grid.shape)
            seen += [] if part is None else [part]
        return fused, decoded, self.head(decoded, seen)

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Weighted terms of the loss by name.

        Raises:
            FloatingPointError: If a term is not finite. It is raised here, before the weights
                change.
        """
        if self.supervision == LABELS:
            terms = self._labeled_terms(batch)
        else:
            terms = self._label_free_terms(batch)
        weights = {name: self.loss_weights[name] for name in terms}
        weighted = weighted_terms(terms, weights)
        check_finite(weighted, batch.stems)
        return weighted

    def _label_free_terms(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Terms of training without labels, in float32, which meters and pixels need."""
        outputs = self.infer(batch)
        with torch.autocast(outputs.logits.device.type, enabled=False):
            terms, depth_m = self._ray_terms(batch, outputs.logits.float())
            if outputs.camera is not None and depth_m is not None:
                terms["depth"] = self._depth_term(outputs.camera, depth_m)
        return terms

    def _ray_terms(
        self, batch: Batch, logits: Tensor
    ) -> tuple[dict[str, Float[Tensor, ""]], Float[Tensor, "B N h w"] | None]:
        """Terms of all rays, and what they tell of the depth at the cells of the feature map."""
        terms: dict[str, Tensor] = {}
        stride = self.image_encoder.stride if self.uses_camera else VIDEO_STRIDE
        depth_m: Tensor | None = None
        has_point = torch.zeros_like(logits[:, 0], dtype=torch.bool)
        looked_at = torch.ones_like(has_point)
        if self.uses_rays:
            lidar: LidarRays = required(batch, "lidar_rays")
            has_point = lidar.has_point
            rays = SurfaceRays(lidar.origins_m, lidar.ends_m, has_point)
            terms["lidar_rays"] = ray_term(logits, self.grid, rays)
            if self.uses_camera:
                size = required(batch, "images").shape[-2:]
                depth_m = depth_of_rays(lidar, required(batch, "pixel_from_lidar"), size, stride)
        if self.uses_video:
            matched = matched_rays(required(batch, "video"), self.grid, self.label_free, stride)
            has_point = has_point | matched.rays.has_point
            rays = matched.rays._replace(has_point=has_point)
            terms["matched_rays"] = ray_term(logits, self.grid, rays)
            if not self.uses_rays:
                looked_at, depth_m = matched.looked_at, matched.depth_m
        terms["unexplained_occupancy"] = unexplained_occupancy(
            log_free_of(logits), looked_at & ~has_point
        )
        return terms, depth_m

    def _depth_term(self, camera: Lifted, depth_m: Float[Tensor, "B N h w"]) -> Float[Tensor, ""]:
        """Return the loss of the depth that the lift predicts, at the cells of its feature map."""
        edges_m = self.lift.bins.edges_m().to(depth_m.device)
        return depth_bin_cross_entropy(camera.depth_logits, depth_m, edges_m)

    def _labeled_terms(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Terms that compare the outputs with labels."""
        labels = required(batch, "occupancy")
        outputs = self.infer(batch, with_fields=self.rendering is not None)
        terms = occupancy_terms(outputs.logits, labels, self.class_weights)
        if outputs.camera is not None and batch.depth_m is not None:
            depth_m = downsample_depth(batch.depth_m, self.image_encoder.stride)
            terms["depth"] = self._depth_term(outputs.camera, depth_m)
        if self.rendering is not None:
            with torch.autocast(labels.device.type, enabled=False):
                terms |= self._rendering_terms(batch, outputs, self.rendering)
        if outputs.elevation is not None:
            terms["elevation"] = elevation_loss(outputs.elevation, required(batch, "elevation_m"))
        if outputs.camera is not None and outputs.lidar is not None:
            terms |= self._sensor_terms(outputs.camera, outputs.lidar, labels)
        return terms

    def _sensor_terms(
        self, camera: Lifted, lidar: LidarFeatures, labels: Tensor
    ) -> dict[str, Float[Tensor, ""]]:
        """Terms of each sensor alone: of its own branch, and of the network without the other."""
        terms: dict[str, Tensor] = {}
        if self.branches:
            volumes = {"camera": camera.volume, "lidar": lidar.volume}
            terms |= branch_terms(self.branches, volumes, labels, self._score)
        if self.sensor_dropout is not None:
            frames = self.sensor_dropout.draw(len(labels), labels.device)
            terms["lost_sensor"] = lost_sensor_term(
                camera, lidar, labels, frames, fuse=self._fuse_from, score=self._score
            )
        return terms

    def _fuse_from(
        self, sensors: str, volumes: Sequence[Tensor | None], evidence: Sequence[Tensor | None]
    ) -> Tensor:
        """Return the logits of volumes that come from these sensors."""
        with sensors_are(self, sensors):
            return self._fuse(volumes, evidence)[2]

    def _score(self, logits: Tensor, labels: Tensor) -> Float[Tensor, ""]:
        """Return the weighted sum of the occupancy terms."""
        terms = occupancy_terms(logits, labels, self.class_weights)
        return torch.stack([self.loss_weights[name] * terms[name] for name in terms]).sum()

    def _rendering_terms(
        self, batch: Batch, outputs: Outputs, options: RenderOptions
    ) -> dict[str, Float[Tensor, ""]]:
        """Terms of everything that is rendered, in float32, which meters and pixels need."""
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
        if self.fusion.fields:
            targets = ray_targets(views, images, batch.depth_m, self.feature_grid, options)
            terms |= volume_terms(outputs.fused, self.feature_grid, targets, weight, options)
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
            terms["novel_depth"] = novel_depth_term(
                outputs.logits, self.grid, cameras, depth_m, options
            )
        return terms

    def infer_frames(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Logits and elevation of frames of which each may have lost another sensor.

        Frames with the same sensors are one forward pass.
        """
        if batch.sensors is None or self.sensors != "both" or len(set(batch.sensors)) == 1:
            outputs = self.infer(batch)
            return outputs.logits, outputs.elevation
        logits: dict[int, Tensor] = {}
        elevation: dict[int, Tensor] = {}
        for sensors in MODALITIES:
            frames = [frame for frame, left in enumerate(batch.sensors) if left == sensors]
            if not frames:
                continue
            with self._reading(sensors):
                outputs = self.infer(batch.of(frames))
            # Copies, because the next pass may overwrite the outputs of this one.
            logits |= zip(frames, outputs.logits.clone(), strict=True)
            if outputs.elevation is not None:
                elevation |= zip(frames, outputs.elevation.clone(), strict=True)
        order = range(len(batch))
        in_order = torch.stack([logits[frame] for frame in order])
        return in_order, torch.stack([elevation[frame] for frame in order]) if elevation else None

    @contextmanager
    def _reading(self, sensors: str) -> Iterator[None]:
        """Read these sensors meanwhile, and those of before afterwards."""
        before = self.sensors
        self.use_sensors(sensors)
        try:
            yield
        finally:
            self.use_sensors(before)

    def predict(self, batch: Batch) -> list[Prediction]:
        """The most probable label of every voxel, frame by frame.

        A network that was trained without labels does not tell classes apart: they share the
        probability of being occupied, and a voxel is occupied if that is above one half.
        """
        logits, elevation = self.infer_frames(batch)
        if self.supervision == LABELS:
            labels = logits.argmax(dim=1).to(torch.uint8)
        else:
            labels = occupied_labels(logits)
        rows = [None] * len(batch) if elevation is None else elevation
        frames = zip(batch.stems, labels, rows, logits, strict=True)
        return [Prediction(*frame) for frame in frames]

    def forward(
        self, batch: Batch, mode: str = "tensor"
    ) -> Float[Tensor, "B classes X Y Z"] | dict[str, Tensor] | list[Prediction]:
        """Run the network.

        Args:
            batch: Frames with the fields that the modality needs, and ``occupancy`` for the loss.
            mode: "tensor" for the logits, "loss" for the weighted loss terms by name, "predict"
                for predictions.

        Raises:
            ValueError: If the mode is unknown, or the batch lacks a field.
        """
        if mode == "tensor":
            return self.infer_frames(batch)[0]
        if mode == "loss":
            return self.losses(batch)
        if mode == "predict":
            return self.predict(batch)
        raise ValueError(f"mode must be 'tensor', 'loss' or 'predict', got '{mode}'")


def required(batch: Batch, field: str) -> Any:
    """A field that the network needs.

    Raises:
        ValueError: If the batch lacks it.
    """
    value = getattr(batch, field)
    if value is None:
        raise ValueError(
            f"frames {batch.stems} were read without '{field}', which the network needs: "
            "add it to the data set's fields, or choose another modality"
        )
    return value
