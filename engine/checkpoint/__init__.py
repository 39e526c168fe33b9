"""Checkpoints: their files, the weights in them, and the config that made the weights."""
