"""The data preprocessor, between data loader and network."""

from mmengine.model import BaseDataPreprocessor

from dataset.sample import Batch
from utils.registry import MODELS


@MODELS.register_module()
class BatchPreprocessor(BaseDataPreprocessor):
    """Moves a batch to the network's device and names it for ``UnsOcc.forward``."""

    def forward(self, data: Batch, training: bool = False) -> dict[str, Batch]:
        """Move the batch.

        Args:
            data: A collated batch, on any device.
            training: Passed by mmengine's loops; makes no difference.

        Returns:
            The keyword arguments of the network's ``forward``, without ``mode``.
        """
        del training
        return {"batch": data.to(self.device)}
