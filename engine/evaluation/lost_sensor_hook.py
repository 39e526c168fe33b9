"""Warnings about scored frames that lack the data of a sensor."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from dataset.lost_sensors import LossWatch
from dataset.sample import Batch


class LostSensorHook(Hook):
    """Warns once per cause of the frames of all processes that lack the data of a sensor.

    Args:
        allow_missing: Whether these frames are predicted from the other sensor.
    """

    def __init__(self, *, allow_missing: bool) -> None:
        self._watch = LossWatch(allow_missing=allow_missing)

    def before_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Batch | None = None
    ) -> None:
        """Look at the frames of a batch."""
        if data_batch is not None:
            losses = data_batch.lost or [()] * len(data_batch)
            for stem, lost in zip(data_batch.stems, losses, strict=True):
                self._watch.see(stem, lost)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Warn of the frames seen."""
        self._watch.close_all()
