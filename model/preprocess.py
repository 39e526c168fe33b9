"""The data preprocessor: what stands between the data loader and the network."""

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
            training: mmengine says which loop asks; the answer is the same.

        Returns:
            The keyword arguments of the network's ``forward``, ``mode`` apart.
        """
        del training
        return {"batch": data.to(self.device)}
