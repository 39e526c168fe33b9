"""Geometry, label sets, metrics, checkpoints and pictures: what every other package stands on."""
