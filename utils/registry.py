"""Registries of the classes that configs can name; ``model`` and ``dataset`` fill them."""

from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS

__all__ = ["DATASETS", "HOOKS", "METRICS", "MODELS"]
