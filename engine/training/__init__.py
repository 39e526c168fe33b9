"""What runs a training: the runner, its hooks and what it reports."""
