"""Frames to show: where they come from, and what belongs to one."""
