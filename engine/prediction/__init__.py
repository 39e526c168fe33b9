"""Prediction: from samples or arrays to label grids and files."""
