"""The registries that configs name classes from; filled by ``import model`` and ``dataset``."""

from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS

__all__ = ["DATASETS", "HOOKS", "METRICS", "MODELS"]
