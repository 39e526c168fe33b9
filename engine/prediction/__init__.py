"""Prediction of frames: from samples or arrays to grids, and to files."""
