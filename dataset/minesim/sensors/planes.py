"""Rays and colors as planes, one per component: (3, R).

Arithmetic along planes is several times faster than along rows of three.
"""

import numpy as np
from jaxtyping import Bool, Int64

Index = Int64[np.ndarray, "M"] | slice


def where(mask: Bool[np.ndarray, "R"]) -> Index:
    """Return the index of what a mask selects; a slice if that is all, which costs no copy."""
    return slice(None) if mask.all() else np.flatnonzero(mask)


def select(array: np.ndarray, index: Index) -> np.ndarray:
    """Return the selected part of an array's last axis; a view if it is everything."""
    return array if isinstance(index, slice) else array.take(index, axis=-1)


def rows(planes: np.ndarray) -> np.ndarray:
    """Return planes (K, M) as contiguous rows (M, K)."""
    return np.ascontiguousarray(planes.T)
