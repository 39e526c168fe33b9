"""Prediction: from samples or arrays to label grids and files."""

import utils.compat  # noqa: F401  Before anything that imports torchvision.
