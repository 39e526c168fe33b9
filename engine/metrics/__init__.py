"""Metrics: sum integer counts over frames and ranks, then divide once."""
