"""A trained network as a function from NumPy inputs to NumPy label grids."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from mmengine.config import Config
from mmengine.model import BaseModel
from numpy.typing import ArrayLike
from torch import Tensor

from dataset.arrays import Images, InputOptions, as_array, sample_from_arrays
from dataset.image_decoding import EncodedImage
from dataset.lost_sensors import FirstLosses, losses_of
from dataset.sample import Batch, Sample, collate
from engine.build.build import amp_dtype, build_grid, input_fields, load_network
from engine.checkpoint.origin import trained_config
from engine.checkpoint.weights import TrainedWeights, read_weights
from engine.prediction.gpu_decoder import decoder_on
from model.labels import choose_labels
from model.render.splat import Gaussians
from utils.distributed import pick_device
from utils.geometry import VoxelGrid
from utils.labels import FREE, LabelSet, label_set

Image = ArrayLike | Tensor | bytes | bytearray | memoryview
"""An image, or the content of its file."""


class PredictedGrid(NamedTuple):
    """The prediction for each voxel of the grid.

    Attributes:
        occupancy: Most probable label; 0 is free, 255 never occurs.
        confidence: Probability of that label, in (0, 1].
        entropy: Entropy over all labels [nat], from 0 (certain) to the log of the number of labels
            (uniform).

    Of a network trained without labels, both are of two labels: occupied and free.
    """

    occupancy: UInt8[np.ndarray, "X Y Z"]
    confidence: Float32[np.ndarray, "X Y Z"]
    entropy: Float32[np.ndarray, "X Y Z"]


class DeviceGrids(NamedTuple):
    """The fields of ``PredictedGrid`` for a batch, on the device."""

    occupancy: UInt8[Tensor, "B X Y Z"]
    confidence: Float[Tensor, "B X Y Z"]
    entropy: Float[Tensor, "B X Y Z"]


class GridPredictor:
    """Predicts from arrays, or from samples of a data set.

    ``predict`` is ``load``, ``run`` and ``fetch``, one after another.

    Args:
        network: The network, on its device; it is switched to evaluation mode.
        grid: The grid of its predictions.
        labels: Their label set.
        inputs: Input options of the network.
        amp: Precision of the prediction; None: that of the weights.
        num_gaussians: Gaussians per frame, if the network has any; None: as in training.

    Attributes:
        is_compiled: Whether ``compile`` was called.
    """

    def __init__(
        self,
        network: BaseModel,
        grid: VoxelGrid,
        labels: LabelSet,
        inputs: InputOptions,
        *,
        amp: torch.dtype | None = None,
        num_gaussians: int | None = None,
    ) -> None:
        self.network = network.eval()
        self.grid, self.labels, self.inputs = grid, labels, inputs
        self._amp, self._num_gaussians = amp, num_gaussians
        self.is_compiled, self._grids_of = False, grids_of
        self._decoder = decoder_on(self.device)
        self._losses = FirstLosses()

    def compile(self) -> None:
        """Compile the network's dense parts; on a GPU, also replay it as one CUDA graph.

        The first prediction then takes much longer, and later ones less. So does the first
        batch of another size, with another number of cameras or from other sensors.
        """
        self.network.compile_parts()
        if self.device.type == "cuda":
            self.network.capture()
        self.is_compiled, self._grids_of = True, torch.compile(grids_of)

    def __call__(
        self,
        image: Image | Sequence[Image] | None = None,
        points: ArrayLike | Tensor | None = None,
        pixel_from_lidar: ArrayLike | Tensor | None = None,
    ) -> PredictedGrid:
        """Predict one frame; a single-sensor network needs only the arrays of that sensor.

        Tensors are as good as arrays, and so are nested lists of points and matrices. An image of
        a single color and a cloud without points are warned of, the first time.

        Args:
            image: RGB image as recorded, uint8 (H, W, 3), or the content of its JPEG or PNG file;
                a list of these for several cameras.
            points: Rows of x, y, z [m], intensity 0–1 and optionally age [s]; x forward, y left, z
                up, at the height of the network's data set.
            pixel_from_lidar: (4, 4), maps (x, y, z, 1) [m] to (u·d, v·d, d, 1) in the recorded
                image: the camera matrix times the transform from LiDAR to camera. One matrix per
                image.

        Raises:
            ValueError: If an array or file is not as described, or a required one is None.
        """
        images = matrices = cloud = None
        if image is not None:
            is_list = isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4
            views: Any = image if is_list else [image]
            images = [_view(view) for view in views]
        if pixel_from_lidar is not None:
            stacked = as_array("pixel_from_lidar", pixel_from_lidar)
            is_stack = stacked.ndim > 2
            matrices = list(stacked.reshape(-1, *stacked.shape[-2:])) if is_stack else [stacked]
        if points is not None:
            cloud = as_array("points", points)
        self._check_given(image=images, points=cloud)
        sample = self.read("frame", images, matrices, cloud)
        self._losses.see(sample.stem, losses_of(sample, input_fields(self.network.sensors)))
        return self.predict([sample])[0]

    def _check_given(self, **given: object) -> None:
        """Check that the arrays of the sensors in use are there."""
        sensors = self.network.sensors
        unused = {"camera": ("points",), "lidar": ("image",)}.get(sensors, ())
        missing = [name for name, value in given.items() if value is None and name not in unused]
        if missing:
            raise ValueError(
                f"the network predicts from sensors '{sensors}', but {' and '.join(missing)} is "
                "None: pass it, or build the network with sensors='camera' or 'lidar'"
            )

    def read(
        self,
        stem: str,
        images: Images | None,
        pixel_from_lidar: Sequence[np.ndarray] | None,
        points: np.ndarray | None,
    ) -> Sample:
        """Build a Sample for the network; on a GPU, JPEG files are decoded there.

        Args:
            stem: Name of the frame.
            images: As for ``sample_from_arrays``, like the others.
            pixel_from_lidar: Projection into each image.
            points: The cloud.

        Raises:
            ValueError: As ``sample_from_arrays``.
        """
        return sample_from_arrays(
            stem,
            self.inputs,
            images=images,
            pixel_from_lidar=pixel_from_lidar,
            points=points,
            decoder=self._decoder,
        )

    def predict(self, samples: Sequence[Sample]) -> list[PredictedGrid]:
        """Predict a batch of samples from their sensor data; other fields are ignored.

        Raises:
            ValueError: If a required field is None.
        """
        return self.fetch(self.run(self.load(samples)))

    def load(self, samples: Sequence[Sample]) -> Batch:
        """Return the sensor data of samples, on the network's device."""
        sensors = [
            Sample(s.stem, s.scene, s.images, s.points, s.pixel_from_lidar, lost=s.lost)
            for s in samples
        ]
        batch: Batch = self.network.data_preprocessor(collate(sensors), False)["batch"]
        return batch

    @torch.no_grad()
    def run(self, batch: Batch) -> DeviceGrids:
        """Predict the frames of a batch on the network's device.

        Raises:
            ValueError: If a required field is None.
        """
        with self.autocast():
            logits = self.network(batch, mode="tensor")
        return self._grids_of(logits, self.network.occupied_threshold)

    def fetch(self, grids: DeviceGrids) -> list[PredictedGrid]:
        """Copy predictions from the device."""
        copies = [part.to("cpu", non_blocking=True) for part in grids]
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        return [PredictedGrid(*frame) for frame in zip(*(c.numpy() for c in copies), strict=True)]

    @torch.no_grad()
    def predict_with_gaussians(self, sample: Sample) -> tuple[PredictedGrid, Gaussians | None]:
        """Predict one frame, with the Gaussians of the refinement if the network has one.

        Without the camera there is no image plane, and so there are no Gaussians.

        Raises:
            ValueError: If a required field is None.
        """
        network = self.network
        if network.refinement is None or network.sensors == "lidar" or sample.images is None:
            return self.predict([sample])[0], None
        batch = self.load([sample])
        assert batch.images is not None, "the sample has images"
        size = (batch.images.shape[-2], batch.images.shape[-1])
        with self.autocast():
            outputs = network.infer(batch)
            gaussians = network.refinement(
                outputs.decoded,
                outputs.logits,
                batch.pixel_from_lidar,
                size,
                num_gaussians=self._num_gaussians,
            )
        return self.fetch(self._grids_of(outputs.logits, network.occupied_threshold))[0], gaussians

    @property
    def device(self) -> torch.device:
        """Return the device of the network."""
        device: torch.device = next(self.network.parameters()).device
        return device

    def autocast(self) -> AbstractContextManager:
        """Return the context of the prediction's precision."""
        return nullcontext() if self._amp is None else torch.autocast(self.device.type, self._amp)


def build_unsocc(
    weights: str | Path,
    config: str | Path | None = None,
    *,
    sensors: str | None = None,
    device: str = "auto",
    amp: str = "off",
    compiled: bool = False,
    options: Mapping[str, Any] | None = None,
) -> GridPredictor:
    """Build a trained network that is called with arrays: image, points, pixel_from_lidar.

    Args:
        weights: ``model_state_dict.pth`` or ``latest.pth`` of a training run, or a safetensors
            file.
        config: Config file; None: the config in the weights, which then must contain it.
        sensors: What to predict from, "both", "camera" or "lidar"; the arrays of the other sensor
            may be None. None: all that the network was built for.
        device: "auto" (a GPU if there is one), "cpu" or "cuda".
        amp: Precision on a GPU: "off", "bf16" or "fp16".
        compiled: Whether to compile the network: the first prediction takes much longer, and
            later ones less.
        options: Config values to override, by dotted key.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is invalid, config and weights contradict each other, or the device
            does not support the precision.
    """
    trained = read_weights(weights)
    chosen = {} if sensors is None else {"sensors": sensors}
    cfg = trained_config(trained, config, {**(options or {}), **chosen})
    return build_predictor(cfg, trained, device=device, amp=amp, compiled=compiled)


def build_predictor(
    cfg: Config,
    weights: TrainedWeights,
    *,
    device: str = "auto",
    amp: str = "off",
    compiled: bool = False,
    num_gaussians: int | None = None,
) -> GridPredictor:
    """Build the predictor of a config, with trained weights.

    Args:
        cfg: The config.
        weights: The weights.
        device: "auto", "cpu" or "cuda".
        amp: Precision: "off", "bf16" or "fp16".
        compiled: Whether to compile the network.
        num_gaussians: Gaussians per frame; None: as in training.

    Raises:
        ValueError: If the weights belong to another network, or the device does not support the
            precision.
    """
    torch_device = pick_device(device)
    precision = amp_dtype(amp, torch_device)
    predictor = GridPredictor(
        load_network(cfg, weights, torch_device),
        build_grid(cfg),
        label_set(cfg.labels),
        InputOptions.from_section(cfg.dataset),
        amp=precision,
        num_gaussians=num_gaussians,
    )
    if compiled:
        predictor.compile()
    return predictor


def _view(view: Any) -> np.ndarray | EncodedImage:
    """Return an image that was passed, decoded or as a file in memory."""
    if isinstance(view, bytes | bytearray | memoryview):
        return EncodedImage("the image", bytes(view))
    if isinstance(view, str | PathLike | list | tuple):
        raise ValueError(
            "an image must be an array (height, width, 3), or bytes as from Path.read_bytes(), got "
            f"{type(view).__name__}"
        )
    return as_array("an image", view)


def grids_of(
    logits: Float[Tensor, "B classes X Y Z"], occupied_threshold: float | None
) -> DeviceGrids:
    """Return labels as ``choose_labels`` does, their probabilities, and entropies."""
    label = choose_labels(logits.float(), occupied_threshold, dim=1)
    log_probability = logits.float().log_softmax(dim=1)
    if occupied_threshold is not None:
        occupied = log_probability[:, FREE + 1 :].logsumexp(dim=1)
        log_probability = torch.stack([log_probability[:, FREE], occupied], dim=1)
    is_of = label if occupied_threshold is None else label != FREE
    best = log_probability.gather(1, is_of[:, None].long())[:, 0]
    entropy = -(log_probability.exp() * log_probability).sum(dim=1)
    return DeviceGrids(label, best.exp(), entropy)
