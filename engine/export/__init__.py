"""Trained networks as single files that run without this repository."""
