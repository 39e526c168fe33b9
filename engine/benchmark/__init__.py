"""Benchmarks of networks: speed, memory and lower bounds of the runtime."""
