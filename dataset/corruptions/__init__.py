"""Sensor corruptions for the robustness benchmark: pure functions, and transforms of Samples."""
