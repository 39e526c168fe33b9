"""Tiling noise patterns for surface textures, generated once per process and always the same.

A pattern is stored as a mip pyramid, and a lookup reads the level whose texels are about as large
as the pixel footprint: fine grain fades with distance instead of flickering.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32, Int32, UInt32

_SEED = 20_230_721
_GRAIN_SIZE = 1024
_GRAIN_TEXEL_M = 0.016
_GRAIN_OCTAVES = (
    (0.06, 0.30, 0.24),
    (0.15, 0.22, 0.16),
    (0.5, 0.10, 0.12),
    (1.6, 0.05, 0.18),
    (4.9, 0.03, 0.26),
)
"""Wavelength [m], steepness of the relief, strength of the stains."""
_REMAP_WIDTH = 64
_QUANTUM = 1.0 / 96.0
_ZERO = 128


@dataclass(frozen=True)
class Grain:
    """Gravel, clods and stains on a plane: brightness and slopes of the relief.

    Attributes:
        texels: All levels in order. Each word packs four bytes: brightness, the slopes along the
            first and second axis, and pebbles.
        level_start: Index of each level's first texel.
        size: Texels along an edge of level 0; a power of two.
        texel_m: Edge of a texel of level 0 [m].
    """

    texels: UInt32[np.ndarray, "T"]
    level_start: Int32[np.ndarray, "L"]
    size: int
    texel_m: float

    def sample(
        self,
        first_m: Float32[np.ndarray, "M"],
        second_m: Float32[np.ndarray, "M"],
        footprint_m: Float32[np.ndarray, "M"],
    ) -> Float32[np.ndarray, "4 M"]:
        """Return brightness, two slopes and pebbles, each about -1…1, averaged over the footprint.

        Args:
            first_m: Coordinate along the pattern's first axis [m].
            second_m: Coordinate along its second axis [m].
            footprint_m: Width of the pixel's footprint on the surface [m].
        """
        scale = np.float32(1.0 / self.texel_m)
        # The exponent of the footprint in texels, biased toward the sharper level.
        _, level = np.frexp(footprint_m * (scale * np.float32(0.75)))
        level = np.clip(level, 0, len(self.level_start) - 1).astype(np.int32)
        mask = np.int32(self.size - 1)
        column = (np.floor(first_m * scale).astype(np.int32) & mask) >> level
        row = (np.floor(second_m * scale).astype(np.int32) & mask) >> level
        bits = np.int32(self.size.bit_length() - 1)
        index = self.level_start[level] + (row << (bits - level)) + column
        packed = self.texels.take(index).view(np.uint8).reshape(-1, 4)
        values = cv2.transpose(packed).astype(np.float32)
        values -= np.float32(_ZERO)
        values *= np.float32(_QUANTUM)
        return values


@lru_cache(maxsize=1)
def grain() -> Grain:
    """Return the ground's fine pattern: a 16 m tile, with features from 16 mm to 5 m."""
    rng = np.random.default_rng(_SEED)
    size, texel = _GRAIN_SIZE, _GRAIN_TEXEL_M
    height = np.zeros((size, size), np.float32)
    brightness = np.zeros_like(height)
    for wavelength, relief, stain in _GRAIN_OCTAVES:
        octave = _octave(rng, wavelength)
        height += octave * np.float32(wavelength * relief)
        brightness += np.float32(stain) * (0.5 * octave + _octave(rng, wavelength))
    stones = _octave(rng, 0.09)
    pebbles = np.clip((stones - 1.4) * 1.8, 0.0, 1.2)
    height += 0.03 * pebbles
    slope_first = (np.roll(height, -1, axis=1) - np.roll(height, 1, axis=1)) / (2 * texel)
    slope_second = (np.roll(height, -1, axis=0) - np.roll(height, 1, axis=0)) / (2 * texel)
    layers = np.stack([brightness, slope_first, slope_second, pebbles], axis=-1)
    levels, start = [], [0]
    while len(layers) >= 8:
        levels.append(_pack(layers))
        start.append(start[-1] + len(levels[-1]))
        layers = cv2.resize(layers, (len(layers) // 2,) * 2, interpolation=cv2.INTER_AREA)
    return Grain(np.concatenate(levels), np.array(start[:-1], dtype=np.int32), size, texel)


def _octave(rng: np.random.Generator, wavelength_m: float) -> Float32[np.ndarray, "S S"]:
    cells = max(4, round(_GRAIN_SIZE * _GRAIN_TEXEL_M / wavelength_m))
    return _tiling_noise(rng, (_GRAIN_SIZE, _GRAIN_SIZE), (cells, cells))


def _pack(layers: Float32[np.ndarray, "S S 4"]) -> UInt32[np.ndarray, "T"]:
    """Pack four values in -1.3…1.3 into the bytes of a word."""
    steps = np.clip(np.rint(layers / np.float32(_QUANTUM)) + _ZERO, 0, 255)
    return np.ascontiguousarray(steps.astype(np.uint8)).view(np.uint32).reshape(-1)


@dataclass(frozen=True)
class Tile:
    """A smooth pattern that tiles in both directions.

    Attributes:
        pattern: Pattern with about unit variance; the last row and column repeat the first. Without
            them, the number of rows and that of columns are powers of two.
        texel: Spacing of rows and of columns, in the unit of the sample coordinates.
    """

    pattern: Float32[np.ndarray, "rows cols"]
    texel: tuple[float, float]

    def sample(
        self, along: Float32[np.ndarray, "M"], across: Float32[np.ndarray, "M"]
    ) -> Float32[np.ndarray, "M"]:
        """Sample the pattern bilinearly at coordinates along its rows and its columns."""
        if len(along) == 0:
            return np.empty(0, np.float32)
        rows, columns = (edge - 1 for edge in self.pattern.shape)
        row = wrapped(along * np.float32(1.0 / self.texel[0]), rows)
        column = wrapped(across * np.float32(1.0 / self.texel[1]), columns)
        # OpenCV accepts images of fewer than 32768 rows.
        padding = -len(row) % _REMAP_WIDTH
        row, column = (np.pad(a, (0, padding)).reshape(-1, _REMAP_WIDTH) for a in (row, column))
        sampled = cv2.remap(self.pattern, column, row, cv2.INTER_LINEAR)
        return sampled.reshape(-1)[: len(along)]


def wrapped(value: Float32[np.ndarray, "M"], period: int) -> Float32[np.ndarray, "M"]:
    """Return the value modulo a power of two: as ``np.mod``, which is several times slower."""
    turns = np.floor(value * np.float32(1.0 / period))
    turns *= np.float32(period)
    return value - turns


@lru_cache(maxsize=1)
def streaks() -> Tile:
    """Return wheel tracks, with rows along the road and columns across it [m]."""
    octaves = ((12.0, 0.16, 0.35), (24.0, 0.45, 0.4), (60.0, 1.4, 0.4))
    return _tile(_SEED + 1, (512, 1024), (1.0, 0.05), octaves)


@lru_cache(maxsize=1)
def grooves() -> Tile:
    """Return bucket tooth marks on a wall, with rows down the wall and columns across it [m]."""
    octaves = ((7.0, 0.55, 0.6), (4.0, 0.28, 0.35), (1.5, 0.9, 0.25))
    return _tile(_SEED + 3, (256, 1024), (0.4, 0.07), octaves)


@lru_cache(maxsize=1)
def clouds() -> Tile:
    """Return cloud cover, in units of the cloud height."""
    octaves = ((4.0, 6.0, 0.7), (1.6, 2.2, 0.5), (0.6, 0.7, 0.3), (0.2, 0.25, 0.15))
    return _tile(_SEED + 2, (512, 512), (0.06, 0.06), octaves)


def _tile(
    seed: int,
    shape: tuple[int, int],
    texel: tuple[float, float],
    octaves: tuple[tuple[float, float, float], ...],
) -> Tile:
    """Sum noise of several octaves, each (length along, width across, weight)."""
    rng = np.random.default_rng(seed)
    pattern = np.zeros(shape, np.float32)
    for length, width, weight in octaves:
        cells = (round(shape[0] * texel[0] / length), round(shape[1] * texel[1] / width))
        pattern += np.float32(weight) * _tiling_noise(rng, shape, cells)
    return Tile(np.pad(pattern / pattern.std(), ((0, 1), (0, 1)), mode="wrap"), texel)


def _tiling_noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]
) -> Float32[np.ndarray, "rows cols"]:
    """Return tiling smooth noise with mean 0, variance 1 and ``cells`` bumps along each axis."""
    edge = 3
    lattice = np.pad(rng.standard_normal(cells, dtype=np.float32), edge, mode="wrap")
    row, column = (
        (np.arange(size, dtype=np.float32) + 0.5) * (count / size) + (edge - 0.5)
        for size, count in zip(shape, cells, strict=True)
    )
    columns, rows = np.meshgrid(column, row)
    smooth = cv2.remap(lattice, columns, rows, cv2.INTER_CUBIC)
    return (smooth - smooth.mean()) / smooth.std()
