"""A trained network as a function from NumPy inputs to NumPy label grids."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from mmengine.config import Config
from mmengine.model import BaseModel
from numpy.typing import ArrayLike
from torch import Tensor

from dataset.arrays import InputOptions, as_array, sample_from_arrays
from dataset.sample import Sample, collate
from engine.build.build import amp_dtype, build_grid, load_network
from engine.checkpoint.origin import trained_config
from engine.checkpoint.weights import TrainedWeights, read_weights
from model.render.splat import Gaussians
from utils.distributed import pick_device
from utils.geometry import VoxelGrid
from utils.labels import LabelSet, label_set


class PredictedGrid(NamedTuple):
    """The prediction for each voxel of the grid.

    Attributes:
        occupancy: Most probable label; 0 is free, 255 never occurs.
        confidence: Probability of that label, in (0, 1].
        entropy: Entropy over all labels [nat], from 0 (certain) to the log of the number of labels
            (uniform).
    """

    occupancy: UInt8[np.ndarray, "X Y Z"]
    confidence: Float32[np.ndarray, "X Y Z"]
    entropy: Float32[np.ndarray, "X Y Z"]


class GridPredictor:
    """Predicts from arrays, or from samples of a data set.

    Args:
        network: The network, on its device; it is switched to evaluation mode.
        grid: The grid of its predictions.
        labels: Their label set.
        inputs: Input options of the network.
        amp: Precision of the prediction; None: that of the weights.
        num_gaussians: Gaussians per frame, if the network has any; None: as in training.
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

    def __call__(
        self,
        image: ArrayLike | Tensor | Sequence[ArrayLike | Tensor] | None = None,
        points: ArrayLike | Tensor | None = None,
        pixel_from_lidar: ArrayLike | Tensor | None = None,
    ) -> PredictedGrid:
        """Predict one frame; a single-sensor network needs only the arrays of that sensor.

        Tensors and nested lists are as good as arrays.

        Args:
            image: RGB image as recorded, uint8 (H, W, 3), or a list of images for several cameras.
            points: Rows of x, y, z [m], intensity 0–1 and optionally age [s]; x forward, y left, z
                up, at the height of the network's data set.
            pixel_from_lidar: (4, 4), maps (x, y, z, 1) [m] to (u·d, v·d, d, 1) in the recorded
                image: the camera matrix times the transform from LiDAR to camera. One matrix per
                image.

        Raises:
            ValueError: If an array is not as described, or a required one is None.
        """
        images = matrices = cloud = None
        if image is not None:
            views: Any = [image] if getattr(image, "ndim", 0) == 3 else image
            images = [as_array("an image", view) for view in views]
        if pixel_from_lidar is not None:
            stacked = as_array("pixel_from_lidar", pixel_from_lidar)
            matrices = list(stacked.reshape(-1, *stacked.shape[-2:]))
        if points is not None:
            cloud = as_array("points", points)
        sample = sample_from_arrays(
            "frame", self.inputs, images=images, pixel_from_lidar=matrices, points=cloud
        )
        return self.predict([sample])[0]

    @torch.no_grad()
    def predict(self, samples: Sequence[Sample]) -> list[PredictedGrid]:
        """Predict a batch of samples from their sensor data; other fields are ignored.

        Raises:
            ValueError: If a required field is None.
        """
        inputs = self._inputs_of(samples)
        with self._autocast():
            logits = self.network(**inputs, mode="tensor")
        return [_grid_of(frame) for frame in logits]

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
        batch = self._inputs_of([sample])["batch"]
        size = (batch.images.shape[-2], batch.images.shape[-1])
        with self._autocast():
            outputs = network.infer(batch)
            gaussians = network.refinement(
                outputs.decoded,
                outputs.logits,
                batch.pixel_from_lidar,
                size,
                num_gaussians=self._num_gaussians,
            )
        return _grid_of(outputs.logits[0]), gaussians

    def _inputs_of(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Return the network's inputs: the sensor data, on its device."""
        sensors = [
            Sample(s.stem, s.scene, s.images, s.points, s.pixel_from_lidar, lost=s.lost)
            for s in samples
        ]
        return self.network.data_preprocessor(collate(sensors), False)

    def _autocast(self) -> AbstractContextManager:
        device = next(self.network.parameters()).device
        return nullcontext() if self._amp is None else torch.autocast(device.type, self._amp)


def build_unsocc(
    weights: str | Path,
    config: str | Path | None = None,
    *,
    sensors: str | None = None,
    device: str = "auto",
    amp: str = "off",
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
        options: Config values to override, by dotted key.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is invalid, config and weights contradict each other, or the device
            does not support the precision.
    """
    trained = read_weights(weights)
    chosen = {} if sensors is None else {"sensors": sensors}
    cfg = trained_config(trained, config, {**(options or {}), **chosen})
    return build_predictor(cfg, trained, device=device, amp=amp)


def build_predictor(
    cfg: Config,
    weights: TrainedWeights,
    *,
    device: str = "auto",
    amp: str = "off",
    num_gaussians: int | None = None,
) -> GridPredictor:
    """Build the predictor of a config, with trained weights.

    Args:
        cfg: The config.
        weights: The weights.
        device: "auto", "cpu" or "cuda".
        amp: Precision: "off", "bf16" or "fp16".
        num_gaussians: Gaussians per frame; None: as in training.

    Raises:
        ValueError: If the weights belong to another network, or the device does not support the
            precision.
    """
    torch_device = pick_device(device)
    precision = amp_dtype(amp, torch_device)
    return GridPredictor(
        load_network(cfg, weights, torch_device),
        build_grid(cfg),
        label_set(cfg.labels),
        InputOptions.from_section(cfg.dataset),
        amp=precision,
        num_gaussians=num_gaussians,
    )


def _grid_of(logits: Float[Tensor, "classes X Y Z"]) -> PredictedGrid:
    log_probability = logits.float().log_softmax(dim=0)
    best, label = log_probability.max(dim=0)
    entropy = -(log_probability.exp() * log_probability).sum(dim=0)
    return PredictedGrid(
        label.to(torch.uint8).cpu().numpy(), best.exp().cpu().numpy(), entropy.cpu().numpy()
    )
