"""Rendering of volumes, Gaussians and label grids to the image plane: pure functions."""
