"""Gradient noise on a lattice: a smooth random relief that can be evaluated at any point."""

import numpy as np
from jaxtyping import Float, Int32

_PERIOD = 256  # Lattice cells until the pattern repeats; a power of two.


class Noise:
    """A smooth random function of the plane with values in about [-1, 1].

    Args:
        rng: Random generator that draws the lattice gradients.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        angle = rng.uniform(0, 2 * np.pi, size=_PERIOD * _PERIOD).astype(np.float32)
        # The factor scales the noise to about [-1, 1].
        self._slope_x, self._slope_y = 1.5 * np.cos(angle), 1.5 * np.sin(angle)

    def smooth(
        self,
        x: Float[np.ndarray, "*#any"],
        y: Float[np.ndarray, "*#any"],
        wavelength_m: float,
    ) -> Float[np.ndarray, "*#any"]:
        """Evaluate one octave of noise with features of ``wavelength_m``."""
        column, fx, blend_x = _lattice(x / wavelength_m)
        row, fy, blend_y = _lattice(y / wavelength_m)
        next_column = (column + 1) % _PERIOD

        def edge(line: np.ndarray, dy: np.ndarray) -> np.ndarray:
            """Return the noise on the lattice line below or above, blended along x."""
            low, high = column + line, next_column + line
            first = self._slope_x[low] * fx + self._slope_y[low] * dy
            last = self._slope_x[high] * (fx - 1) + self._slope_y[high] * dy
            return first + blend_x * (last - first)

        below = edge(row * _PERIOD, fy)
        above = edge((row + 1) % _PERIOD * _PERIOD, fy - 1)
        return below + blend_y * (above - below)

    def fractal(
        self,
        x: Float[np.ndarray, "*#any"],
        y: Float[np.ndarray, "*#any"],
        wavelength_m: float,
        octaves: int,
        *,
        gain: float = 0.5,
        spacing_m: Float[np.ndarray, "*#any"] | float = 0.0,
    ) -> Float[np.ndarray, "*#any"]:
        """Sum octaves of noise, each half as long as the previous one and ``gain`` times as high.

        Args:
            x: Where to evaluate [m].
            y: Where to evaluate [m].
            wavelength_m: Feature size of the first octave [m].
            octaves: Number of octaves.
            gain: Ratio of the heights of successive octaves.
            spacing_m: Distance between samples [m]; octaves too short for it fade out, so that a
                coarse mesh does not alias.

        Returns:
            Noise in about [-1, 1].
        """
        shape = np.broadcast_shapes(x.shape, y.shape)
        total = np.zeros(shape, dtype=np.float32)
        height = (1.0 - gain) / (1.0 - gain**octaves)
        for octave in range(octaves):
            length = wavelength_m / 2**octave
            # The offset per octave keeps the zeros of the lattices from coinciding.
            layer = self.smooth(x + 37.3 * octave, y - 61.7 * octave, length)
            total += np.float32(height) * _resolved_share(length, spacing_m) * layer
            height *= gain
        return total


def _resolved_share(
    length_m: float, spacing_m: Float[np.ndarray, "*#any"] | float
) -> Float[np.ndarray, "*#any"]:
    """Return the share of an octave that samples ``spacing_m`` apart can resolve."""
    spacing = np.maximum(np.atleast_1d(np.asarray(spacing_m, dtype=np.float32)), 1e-6)
    return np.clip(length_m / (2 * spacing) - 1, 0, 1)


def _lattice(
    place: Float[np.ndarray, "*#any"],
) -> tuple[Int32[np.ndarray, "*#any"], Float[np.ndarray, "*#any"], Float[np.ndarray, "*#any"]]:
    """Return the cell index, the position in the cell (0–1) and the weight of its far side."""
    start = np.floor(place)
    within = (place - start).astype(np.float32)
    blend = within * within * within * (within * (within * 6 - 15) + 10)
    return start.astype(np.int32) % _PERIOD, within, blend
