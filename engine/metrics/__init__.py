"""Metrics: integer counts over frames and ranks first, one division at the end."""
