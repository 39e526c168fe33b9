"""Evaluation of networks and saved predictions, one module per task or benchmark."""
