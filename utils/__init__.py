"""Common ground: geometry, labels, configs, checkpoints, files, processes and the console."""
