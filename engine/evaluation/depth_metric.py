"""Depth errors of the predicted volume, logged by validation with the occupancy scores."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from mmengine.evaluator import BaseMetric
from torch import Tensor

from dataset.sample import Batch
from engine.metrics.depth import DepthMeter, DepthScores
from engine.metrics.depth_errors import DepthErrors, DepthRule
from model.novel_view import ViewOptions, labeled_centers, sample_depth, volume_depth
from utils.geometry import VoxelGrid
from utils.registry import METRICS

FIELDS = ("depth_m", "pixel_from_lidar")
"""Batch fields that the metric needs."""


PREFIX = "depth_"
"""Of the names of the errors."""
LOWER_IS_BETTER = tuple(f"{PREFIX}{name}" for name in ("abs_rel", "sq_rel", "rmse", "rmse_log"))
"""Of the shares a1, a2 and a3, the higher is better."""


@runtime_checkable
class FreePrediction(Protocol):
    """The part of a prediction for one frame that the metric needs."""

    stem: str

    @property
    def log_free(self) -> Float[Tensor, "X Y Z"] | None:
        """Log probability that each voxel is free; None if the model does not provide it."""


@METRICS.register_module()
class DepthMetric(BaseMetric):
    """Compare depth rendered at each frame's own cameras with its depth labels.

    Attributes:
        scores: Errors of the last evaluation; None before the first.
    """

    default_prefix = ""

    def __init__(
        self,
        grid: VoxelGrid | dict,
        rule: DepthRule | None = None,
        options: ViewOptions | None = None,
    ) -> None:
        """Start without frames.

        Args:
            grid: The grid of the predicted voxels.
            rule: Which pixels are valid; None for ``DepthRule()``.
            options: Options of volume rendering; None for ``ViewOptions()``.
        """
        super().__init__()
        self.grid = VoxelGrid.from_config(grid)
        self.rule = rule or DepthRule()
        self.options = options or ViewOptions()
        self.scores: DepthScores | None = None
        self._meter = DepthMeter(self.rule)

    def process(self, data_batch: Batch, data_samples: Sequence[FreePrediction]) -> None:
        """Render and compare the frames of a batch.

        Args:
            data_batch: The batch from the data loader, with depth labels.
            data_samples: The model's predictions, in the same order.

        Raises:
            ValueError: If frames have no depth labels, the predictions are of other frames, or the
                predictions lack free-space probabilities.
        """
        stems = [prediction.stem for prediction in data_samples]
        if stems != data_batch.stems:
            raise ValueError(f"expected predictions of frames {data_batch.stems}, got {stems}")
        if data_batch.depth_m is None or data_batch.pixel_from_lidar is None:
            raise ValueError(
                f"frames {stems} have no depth labels; build the data set with the fields {FIELDS}"
            )
        frames = zip(data_samples, data_batch.depth_m, data_batch.pixel_from_lidar, strict=True)
        for prediction, depth_m, projections in frames:
            self._add(prediction, depth_m, projections)

    def _add(
        self,
        prediction: FreePrediction,
        depth_m: Float[Tensor, "N H W"],
        pixel_from_lidar: Float[Tensor, "N 4 4"],
    ) -> None:
        log_free = prediction.log_free
        if log_free is None:
            raise ValueError(
                f"frame {prediction.stem}: the prediction has no free-space probabilities, which "
                "rendering depth needs"
            )
        size = (depth_m.shape[-2], depth_m.shape[-1])
        cameras = pixel_from_lidar[None].to(log_free.device)
        maps = volume_depth(log_free[None], self.grid, cameras, size, self.options)[0]
        for number, (rendered, labels) in enumerate(zip(maps, depth_m, strict=True)):
            pixels, target_m = labeled_centers(labels)
            self._meter.update(
                f"{prediction.stem} {number}",
                sample_depth(rendered, pixels.to(rendered.device), size),
                target_m,
                camera=str(number),
            )

    def compute_metrics(self, results: Sequence[DepthMeter]) -> dict[str, float]:
        """Return the errors by name, such as ``depth_abs_rel``; NaN if undefined.

        Args:
            results: Errors of all frames.
        """
        total = DepthMeter(self.rule)
        for meter in results:
            total.merge(meter)
        self.scores = total.scores()
        errors = self.scores.total.errors._asdict()
        return {f"{PREFIX}{name}": float(value) for name, value in errors.items()}

    def evaluate(self, size: int) -> dict[str, float]:
        """Average over all frames since the last evaluation, and reset.

        Args:
            size: Number of frames in the data set.

        Returns:
            The result of ``compute_metrics``, the same on all ranks.
        """
        del size  # Images are stored by name, so none counts twice.
        meter, self._meter = self._meter, DepthMeter(self.rule)
        meter.all_reduce()
        return self.compute_metrics([meter])


def check_error_name(name: str) -> None:
    """Check the name of a depth error for ``runtime.best_metric``.

    Raises:
        ValueError: If it is not one of ``DepthMetric``.
    """
    known = [f"{PREFIX}{field}" for field in DepthErrors._fields]
    if name not in known:
        raise ValueError(f"runtime.best_metric must be one of {known} without labels, got '{name}'")
