"""Training: the trainer, its loop, hooks and reports."""
