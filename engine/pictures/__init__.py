"""Figures of frames: pages and panels, rendered without a display."""
