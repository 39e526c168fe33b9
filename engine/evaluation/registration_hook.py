"""Warnings about the calibration of the frames that are scored."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from dataset.registration import Crop, RegistrationWatch
from dataset.sample import Batch
from utils.geometry import VoxelGrid


class RegistrationHook(Hook):
    """Warns once of each thing about the calibration that cannot be right, on rank 0.

    Args:
        grid: Grid of the network.
        crop: Used part of the recorded images.
    """

    def __init__(self, grid: VoxelGrid, crop: Crop) -> None:
        self._watch = RegistrationWatch(grid, crop)

    def before_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Batch | None = None
    ) -> None:
        """Look at the frames of a batch."""
        if runner.rank != 0 or data_batch is None:
            return
        images, matrices, points = (
            [None] * len(data_batch) if values is None else values
            for values in (data_batch.images, data_batch.pixel_from_lidar, data_batch.points)
        )
        sensors = data_batch.sensors or ["both"] * len(data_batch)
        frames = zip(data_batch.stems, sensors, images, matrices, points, strict=True)
        for stem, left, image, matrix, cloud in frames:
            if left == "lidar":
                image = matrix = None
            self._watch.see(stem, image, matrix, None if left == "camera" else cloud)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Judge the frames seen."""
        if runner.rank == 0:
            self._watch.close()
