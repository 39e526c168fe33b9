"""Frames to show: sources of frames, and their annotations and Gaussians."""
