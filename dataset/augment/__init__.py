"""Parts of the augmentation: each file has the ranges of one part, its drawn values, its code."""
