"""Experiments: training and scoring of many configs and seeds, their records and tables."""
