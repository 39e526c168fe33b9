"""Random fields: fractal noise, also around the full horizon, and the kernel of a moving camera."""

import cv2
import numpy as np
from jaxtyping import Float, Float32

OCTAVES = 5
FULL_TURN_DEG = 360


def plasma(
    rng: np.random.Generator, size: tuple[int, int], *, decay: float = 1.7, cells: int = 2
) -> Float32[np.ndarray, "H W"]:
    """Draw fractal noise, scaled to 0–1.

    Args:
        rng: Draws the same numbers for every size of the same aspect ratio.
        size: Height and width.
        decay: Ratio of the amplitudes of an octave and of the next, which is twice as fine.
        cells: Cells of the coarsest octave along the width.
    """
    height, width = size
    field = np.zeros(size, np.float32)
    for octave in range(OCTAVES):
        columns = cells * 2**octave
        rows = max(1, round(columns * height / width))
        noise = rng.random((rows + 1, columns + 1), dtype=np.float32)
        fine = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        field += fine.astype(np.float32) / decay**octave
    return unit_range(field)


def horizon_plasma(
    rng: np.random.Generator, rows: int, *, decay: float = 1.7
) -> Float32[np.ndarray, "rows 360"]:
    """Draw fractal noise, 0–1, with one column per degree of azimuth and no seam.

    Args:
        rng: Draws the noise.
        rows: Rows of the field.
        decay: As in ``plasma``.
    """
    field = np.zeros((rows, FULL_TURN_DEG), np.float32)
    for octave, columns in enumerate((4, 9, 18, 36, 72)):
        noise = rng.random((2 + octave, columns), dtype=np.float32)
        wrapped = np.hstack([noise[:, -1:], noise, noise[:, :1]])
        scale = FULL_TURN_DEG // columns
        wide = cv2.resize(wrapped, ((columns + 2) * scale, rows), interpolation=cv2.INTER_LINEAR)
        field += wide[:, scale:-scale].astype(np.float32) / decay**octave
    return unit_range(field)


def unit_range(field: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Scale a field to 0–1."""
    low, high = float(field.min()), float(field.max())
    return (field - low) / max(high - low, 1e-9)


def line_kernel(
    radius_px: float, sigma_px: float, angle_deg: float
) -> Float32[np.ndarray, "size size"]:
    """Return the kernel of a motion blur: a line with Gaussian weights that sum to 1.

    Args:
        radius_px: Half the length of the line.
        sigma_px: Standard deviation of the weights along the line.
        angle_deg: Direction, counter-clockwise from the right.
    """
    half = int(np.ceil(radius_px))
    along = np.linspace(-radius_px, radius_px, 8 * half + 1)
    weight = np.exp(-0.5 * (along / sigma_px) ** 2)
    column = half + along * np.cos(np.deg2rad(angle_deg))
    row = half - along * np.sin(np.deg2rad(angle_deg))
    kernel = np.zeros((2 * half + 2, 2 * half + 2))
    for down in (0, 1):
        for right in (0, 1):
            rows, columns = np.floor(row) + down, np.floor(column) + right
            share = (1 - np.abs(row - rows)) * (1 - np.abs(column - columns))
            np.add.at(kernel, (rows.astype(int), columns.astype(int)), weight * share)
    kernel = kernel[:-1, :-1]
    return (kernel / kernel.sum()).astype(np.float32)
