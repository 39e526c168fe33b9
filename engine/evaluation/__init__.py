"""What scores a network on all frames of a split, one module a benchmark."""
