"""UnsOcc: camera and LiDAR in, a label for every voxel out.

``UnsOcc.infer`` is the full forward pass, in the order of the framework figure. The other methods
wrap it for mmengine's loops.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Annotated

import torch
from jaxtyping import Float
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from dataset.sample import Batch, required
from loss.balance import weighted_terms
from loss.depth import depth_bin_cross_entropy, downsample_depth
from loss.elevation import elevation_loss
from loss.label_counts import LabelCounts
from loss.occupancy import occupancy_terms
from model.captured import CapturedForward
from model.fusion import Fused
from model.label_free import VIDEO_STRIDE, label_free_terms
from model.labels import choose_labels
from model.lidar_encoder import LidarFeatures
from model.lift import Lifted
from model.objective import (
    BRANCH_TERMS,
    LABELS,
    OCCUPANCY_TERMS,
    LossOptions,
    class_balance,
    label_free_term_names,
    term_weights,
)
from model.outputs import Outputs
from model.parts import Parts, build_part
from model.prediction import Prediction
from model.preprocess import BatchPreprocessor
from model.rendering_terms import RenderingTerms
from model.sensor_dropout import SensorDropout, branch_terms, lost_sensor_term
from model.sensor_norm import sensors_are, set_sensors, split_norms
from model.streams import SideStream
from model.supervision import RenderOptions
from model.training_step import training_step
from utils.config import MODALITIES
from utils.geometry import VoxelGrid
from utils.labels import LabelSet, label_set
from utils.registry import MODELS

COMPILED_PARTS = (
    "image_encoder",
    "lift",
    "lidar_encoder",
    "fusion",
    "decoder",
    "head",
    "refinement",
)
"""Parts whose shapes are the same for all frames, or can be: those of a LiDAR encoder with room."""
TRAINING_PARTS = ("refinement", "branches")
"""Parts that only training uses."""

logger = logging.getLogger(__name__)


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
        captured: The forward pass as CUDA graphs, once ``capture`` was called.
        occupancy_terms: ``loss.occupancy.occupancy_terms``, or its compiled form.
        rendering_terms: The terms of what training renders; None if that is nothing.

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
        options = self.loss_options = LossOptions(**loss)
        self.supervision = options.supervision
        self.occupied_threshold = options.occupied_threshold
        self.sensor_dropout = None
        if self.supervision != LABELS:
            rendering, sensor_dropout = None, None
        if sensor_dropout is not None and modality == "both" and any(sensor_dropout.values()):
            self.sensor_dropout = SensorDropout(**sensor_dropout)
        self.lidar_stream = SideStream()
        self.captured: CapturedForward | None = None
        self.occupancy_terms = occupancy_terms
        self.rendering = RenderOptions(**rendering) if rendering and self.uses_camera else None
        self._build(Parts(**parts), coarsening)
        self.rendering_terms = None
        if self.rendering is not None:
            grids = (self.grid, self.feature_grid)
            self.rendering_terms = RenderingTerms(self.rendering, *grids, self.fusion.fields)
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
        self.head = build_part(
            parts.head,
            in_channels=self.decoder.channels,
            evidence_channels=sum(self.evidence_channels),
            num_classes=num_classes,
            coarsening=coarsening,
        )
        self._build_side_parts(parts, coarsening)

    def _build_side_parts(self, parts: Parts, coarsening: int) -> None:
        """Build the parts beside the path to the logits: most are for training only."""
        channels = self.decoder.channels
        self.refinement = self.elevation = None
        if parts.refinement is not None and self.rendering is not None:
            self.refinement = build_part(
                parts.refinement, in_channels=channels, grid=self.grid, coarsening=coarsening
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
            for sensor, encoder in (("camera", self.lift), ("lidar", self.lidar_encoder)):
                self.branches[sensor] = build_part(
                    parts.branch, in_channels=encoder.channels, num_classes=self.labels.num_classes
                )

    def _terms(self) -> list[str]:
        """Names of the loss terms that the parts allow for."""
        if self.supervision != LABELS:
            return label_free_term_names(self.loss_options, has_camera=self.uses_camera)
        names = [*OCCUPANCY_TERMS]
        if self.uses_camera:
            names.append("depth")
        if self.rendering_terms is not None:
            names += self.rendering_terms.names(
                has_image_classes=bool(self.lift.evidence_channels),
                has_gaussians=self.refinement is not None,
            )
        if self.elevation is not None:
            names.append("elevation")
        names += BRANCH_TERMS if self.branches else ()
        names += ["lost_sensor"] if self.sensor_dropout is not None else []
        return names

    def compile_parts(
        self, mode: str = "default", parts: Sequence[str] = COMPILED_PARTS
    ) -> list[str]:
        """Compile parts of the network, and the losses, when they first run.

        Args:
            mode: The mode of torch.compile.
            parts: Names of the parts; those that were not built are skipped.

        Returns:
            Names of the compiled parts.
        """
        names = [name for name in parts if getattr(self, name, None) is not None]
        options = torch._inductor.list_mode_options(mode)
        if self.class_weights.is_cuda:
            # ``place`` has set the memory formats. The compiler's own layout pass handles 2D only,
            # and would transpose volumes before and after each convolution.
            options["layout_optimization"] = False
        # What is left in fp32 needs its precision.
        warnings.filterwarnings("ignore", "TensorFloat32 tensor cores", UserWarning)
        for name in names:
            getattr(self, name).compile(options=options)
        if names:
            self.occupancy_terms = torch.compile(self.occupancy_terms, options=options)
            if self.rendering_terms is not None:
                self.rendering_terms.compile(options)
        return names

    def capture(self) -> None:
        """From now on, ``infer`` replays CUDA graphs, unless gradients are recorded.

        The first call with other shapes captures a graph. Outputs of ``infer`` are then valid until
        its next call only. Call this again after moving the network, or replacing a part. A network
        of which a part waits for the GPU cannot be captured, and runs as before, with a warning.

        Raises:
            ValueError: If the network is not on a GPU.
        """
        if not self.class_weights.is_cuda:
            raise ValueError(
                f"CUDA graphs need a network on a GPU, got {self.class_weights.device}"
            )
        waiting = [part for part in self.children() if getattr(part, "waits_for_device", False)]
        if waiting:
            logger.warning(
                "%s waits for the GPU in each frame, so that no CUDA graph can hold the forward "
                "pass: it runs without",
                " and ".join(type(part).__name__ for part in waiting),
            )
            return
        count = (lambda points: self.lidar_encoder(points).num_voxels) if self.uses_lidar else None
        self.captured = CapturedForward(
            lambda batch, room: self._run(batch, room=room), count, lambda: self.sensors
        )

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

    def infer(
        self, batch: Batch, *, with_fields: bool = False, room: Sequence[int] | None = None
    ) -> Outputs:
        """The full forward pass.

        Args:
            batch: Frames with the fields that the sensors in use need, which are the same for all:
                ``infer_frames`` predicts frames that lost different sensors.
            with_fields: Also return the volumes that training renders.
            room: As for ``LidarEncoder``. None: room for all voxels.
        """
        if batch.sensors is not None and self.sensors == "both":
            assert len(set(batch.sensors)) == 1, "infer_frames predicts frames apart"
            with self._reading(batch.sensors[0]):
                return self.infer(replace(batch, sensors=None), with_fields=with_fields, room=room)
        needed = self._needed(batch)
        is_fixed = room is not None or with_fields or self.training or torch.is_grad_enabled()
        if self.captured is None or is_fixed:
            return self._run(needed, with_fields=with_fields, room=room)
        return self.captured(needed)

    def _needed(self, batch: Batch) -> Batch:
        """Return the batch with the data of the sensors in use only.

        Raises:
            ValueError: If it lacks some of that.
        """
        needed = Batch(batch.stems, batch.scenes)
        if self.sensors != "lidar":
            needed.images = required(batch, "images")
            needed.pixel_from_lidar = required(batch, "pixel_from_lidar")
        if self.sensors != "camera":
            needed.points = required(batch, "points")
        return needed

    def _run(
        self, batch: Batch, *, with_fields: bool = False, room: Sequence[int] | None = None
    ) -> Outputs:
        """The forward pass of the sensor data in a batch.

        Args:
            batch: Frames with the fields of the sensors in use only.
            with_fields: Also return the volumes that training renders.
            room: As for ``LidarEncoder``.
        """
        camera = lidar = None
        images, points = batch.images, batch.points
        begun = self.lidar_stream.begin(self.pixel_class_weights.device)
        if images is not None:
            features = self.image_encoder(images)
            height, width = images.shape[-2:]
            camera = self.lift(features, batch.pixel_from_lidar, (height, width))
        if points is not None:
            lidar = self.lidar_stream.run(begun, lambda: self.lidar_encoder(points, room))
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

    def train_step(self, data: Batch, optim_wrapper: OptimWrapper) -> dict[str, float]:
        """Train on a batch, for mmengine's loop; see ``model.training_step``."""
        return training_step(self, self.data_preprocessor, data, optim_wrapper)

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Weighted terms of the loss by name.

        Nothing here waits for a GPU, but the LiDAR encoder and the rasterizer of the Gaussians.

        Raises:
            ValueError: If a label is no class.
        """
        is_labeled = self.supervision == LABELS
        terms = self._labeled_terms(batch) if is_labeled else self._label_free_terms(batch)
        weights = {name: weight for name, weight in self.loss_weights.items() if name in terms}
        return weighted_terms({name: terms[name] for name in weights}, weights)

    def _label_free_terms(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Terms of training without labels, in float32, which meters and pixels need."""
        outputs = self.infer(batch)
        stride = self.image_encoder.stride if self.uses_camera else VIDEO_STRIDE
        logits = outputs.logits.float()
        with torch.autocast(logits.device.type, enabled=False):
            terms, depth_m = label_free_terms(logits, self.grid, batch, self.loss_options, stride)
            if outputs.camera is not None and depth_m is not None:
                terms["depth"] = self._depth_term(outputs.camera, depth_m)
        return terms

    def _depth_term(self, camera: Lifted, depth_m: Float[Tensor, "B N h w"]) -> Float[Tensor, ""]:
        """Return the loss of the depth that the lift predicts, at the cells of its feature map."""
        edges_m = self.lift.bins.edges_m().to(depth_m.device, non_blocking=True)
        return depth_bin_cross_entropy(camera.depth_logits, depth_m, edges_m)

    def _labeled_terms(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Terms that compare the outputs with labels."""
        labels = required(batch, "occupancy")
        # First in the queue of a GPU, so that no loss waits for them.
        counts = LabelCounts(labels, self.labels.num_classes)
        counts.start_copy()
        views = None if self.rendering_terms is None else self.rendering_terms.views(batch)
        outputs = self.infer(batch, with_fields=views is not None)
        counts.present()
        terms: dict[str, Tensor] = {}
        if self.rendering_terms is not None and views is not None:
            terms |= self.rendering_terms.terms(
                batch, outputs, views, self.pixel_class_weights, self.refinement
            )
        terms |= self.occupancy_terms(outputs.logits, labels, self.class_weights, counts)
        if outputs.camera is not None and batch.depth_m is not None:
            depth_m = downsample_depth(batch.depth_m, self.image_encoder.stride)
            terms["depth"] = self._depth_term(outputs.camera, depth_m)
        if outputs.elevation is not None:
            terms["elevation"] = elevation_loss(outputs.elevation, required(batch, "elevation_m"))
        if outputs.camera is not None and outputs.lidar is not None:
            terms |= self._sensor_terms(outputs.camera, outputs.lidar, labels, counts)
        return terms

    def _sensor_terms(
        self, camera: Lifted, lidar: LidarFeatures, labels: Tensor, counts: LabelCounts
    ) -> dict[str, Float[Tensor, ""]]:
        """Terms of each sensor alone: of its own branch, and of the network without the other."""
        terms: dict[str, Tensor] = {}
        score = partial(self._score, counts)
        if self.branches:
            volumes = {"camera": camera.volume, "lidar": lidar.volume}
            terms |= branch_terms(self.branches, volumes, labels, score)
        if self.sensor_dropout is not None:
            frames = self.sensor_dropout.draw(len(labels), labels.device)
            terms["lost_sensor"] = lost_sensor_term(
                camera, lidar, labels, frames, fuse=self._fuse_from, score=score
            )
        return terms

    def _fuse_from(
        self, sensors: str, volumes: Sequence[Tensor | None], evidence: Sequence[Tensor | None]
    ) -> Tensor:
        """Return the logits of volumes that come from these sensors."""
        with sensors_are(self, sensors):
            return self._fuse(volumes, evidence)[2]

    def _score(self, among: LabelCounts, logits: Tensor, labels: Tensor) -> Float[Tensor, ""]:
        """Return the weighted sum of the occupancy terms for a selection of labels."""
        counts = LabelCounts(labels, self.labels.num_classes, among)
        terms = occupancy_terms(logits, labels, self.class_weights, counts)
        return torch.stack([self.loss_weights[name] * terms[name] for name in terms]).sum()

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

        Trained without labels, the classes share the probability of being occupied, and a voxel is
        occupied from ``occupied_threshold`` on. Without masks or point labels, they mean nothing
        else.
        """
        logits, elevation = self.infer_frames(batch)
        labels = choose_labels(logits, self.occupied_threshold, dim=1)
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
