"""The loop that scores a network on a data loader."""

import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import BaseLoop, Runner
from mmengine.runner.amp import autocast
from torch.utils.data import DataLoader


class EvalLoop(BaseLoop):
    """Scores a network on a data loader; each process scores its own share of the frames.

    Args:
        runner: The runner.
        dataloader: Data loader of this process's frames.
        evaluator: The metrics.
        amp_dtype: Precision of the predictions; None for that of the weights.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader,
        evaluator: Evaluator,
        amp_dtype: torch.dtype | None = None,
    ):
        super().__init__(runner, dataloader)
        self.evaluator = evaluator
        self.amp_dtype = amp_dtype

    @torch.no_grad()
    def run(self) -> dict[str, float]:
        """Predict and score every frame.

        Returns:
            The scores by name.
        """
        self.runner.call_hook("before_val")
        self.runner.call_hook("before_val_epoch")
        self.runner.model.eval()
        for index, batch in enumerate(self.dataloader):
            self.runner.call_hook("before_val_iter", batch_idx=index, data_batch=batch)
            with autocast(dtype=self.amp_dtype, enabled=self.amp_dtype is not None):
                outputs = self.runner.model.val_step(batch)
            self.evaluator.process(data_samples=outputs, data_batch=batch)
            self.runner.call_hook(
                "after_val_iter", batch_idx=index, data_batch=batch, outputs=outputs
            )
        metrics: dict[str, float] = self.evaluator.evaluate(len(self.dataloader.dataset))
        self.runner.call_hook("after_val_epoch", metrics=metrics)
        self.runner.call_hook("after_val")
        return metrics
