"""What the lens adds to the image: glare of the sun, glow around lamps, and dirt."""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

_GLARE = ((0.10, 13.0), (0.55, 2.5))
"""Strength and width [°] of the veil around the sun: wide and faint, narrow and bright."""
_GLARE_STEPS = 2048
_DIRT_WIDTH = 640
"""Width at which dirt is drawn [px]; it is out of focus, so that this is enough."""
_DIRT_COLOR = (0.92, 0.83, 0.68)
_BLUR_WIDTH = 160
_GLOW_LEVEL = 228


@lru_cache(maxsize=1)
def _glare_table() -> Float32[np.ndarray, "T"]:
    """Tabulate the veil by 1 − cosine of the angle to the sun, which the index is the root of."""
    share = np.linspace(0.0, 1.0, _GLARE_STEPS) ** 2
    angle = np.rad2deg(np.arccos(1.0 - share))
    terms = [strength * np.exp(-angle / width) for strength, width in _GLARE]
    return np.sum(terms, axis=0).astype(np.float32)


def glare(
    rays: Float32[np.ndarray, "R 3"], sun_direction: Float32[np.ndarray, "3"]
) -> Float32[np.ndarray, "R"]:
    """Return the light that the lens scatters into unit directions, relative to the sun's.

    Args:
        rays: Unit directions.
        sun_direction: Unit direction of the sun, which shines onto the lens.
    """
    away = np.clip(1.0 - rays @ sun_direction, 0.0, 1.0)
    index = np.sqrt(away) * (_GLARE_STEPS - 1)
    return _glare_table()[index.astype(np.int32)]


def glow(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Add a glow around very bright spots."""
    height, width = image.shape[:2]
    size = (_BLUR_WIDTH, max(1, round(_BLUR_WIDTH * height / width)))
    bright = cv2.subtract(image, np.full_like(image, _GLOW_LEVEL))
    small = cv2.resize(bright, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    wide = 8.0 * cv2.GaussianBlur(small, (0, 0), 1.4) + 10.0 * cv2.GaussianBlur(small, (0, 0), 5.0)
    veil = np.clip(wide, 0.0, 255.0).astype(np.uint8)
    return cv2.add(image, cv2.resize(veil, (width, height), interpolation=cv2.INTER_LINEAR))


def soiled(image: UInt8[np.ndarray, "H W 3"], seed: int) -> UInt8[np.ndarray, "H W 3"]:
    """Return the image through a dirty lens; the same seed gives the same dirt.

    Dirt hides the scene and scatters the light of its surroundings, which it blurs.
    """
    height, width = image.shape[:2]
    cover = dirt(width, height, seed)
    size = (_BLUR_WIDTH, max(1, round(_BLUR_WIDTH * height / width)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    near = cv2.GaussianBlur(small, (0, 0), 2.0)
    far = cv2.GaussianBlur(small, (0, 0), 24.0)
    near = cv2.resize(near, (width, height), interpolation=cv2.INTER_LINEAR)
    mean = cv2.resize(far, (width, height), interpolation=cv2.INTER_LINEAR)
    gray = cv2.cvtColor(mean, cv2.COLOR_RGB2GRAY).astype(np.float32)
    film = np.minimum(1.6 * cover, 1.0)[..., None]
    light = gray[..., None] * np.array(_DIRT_COLOR, np.float32) * (1.0 - 0.45 * cover[..., None])
    soft = image + film * (near.astype(np.float32) - image)
    mixed = soft + cover[..., None] * (light - soft)
    return np.clip(mixed, 0.0, 255.0).astype(np.uint8)


@lru_cache(maxsize=8)
def dirt(width: int, height: int, seed: int) -> Float32[np.ndarray, "H W"]:
    """Return the share of the light that dirt on the lens blocks, 0–1.

    Args:
        width: Image width [px].
        height: Image height [px].
        seed: Seed of the dirt.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, round(_DIRT_WIDTH * height / width))
    clear = np.ones((rows, _DIRT_WIDTH), dtype=np.float32)
    haze = _clouds(rng, rows)
    clear *= 1.0 - float(rng.uniform(0.25, 0.6)) * haze
    for kind, count, radius, strength, softness in (
        ("specks", int(rng.integers(80, 220)), (0.8, 3.5), (0.25, 0.75), 1.2),
        ("splashes", int(rng.integers(8, 22)), (4.0, 24.0), (0.4, 0.97), 2.5),
    ):
        layer = np.zeros_like(clear)
        for _ in range(count):
            center = rng.uniform([0.0, 0.0], [_DIRT_WIDTH, rows])
            _blot(layer, rng, center, float(rng.uniform(*radius)), float(rng.uniform(*strength)))
            if kind == "splashes":
                _spray(layer, rng, center, radius[1])
        clear *= 1.0 - np.minimum(cv2.GaussianBlur(layer, (0, 0), softness), 1.0)
    cover = cv2.resize(1.0 - clear, (width, height), interpolation=cv2.INTER_LINEAR)
    cover.setflags(write=False)
    return cover


def _clouds(rng: np.random.Generator, rows: int) -> Float32[np.ndarray, "rows columns"]:
    """Return a dust film that is thicker in places and at the bottom, 0–1."""
    total = np.zeros((rows, _DIRT_WIDTH), dtype=np.float32)
    for octave in range(4):
        shape = (4 * 2**octave, 6 * 2**octave)
        coarse = rng.random(shape, dtype=np.float32)
        total += cv2.resize(coarse, (_DIRT_WIDTH, rows), interpolation=cv2.INTER_CUBIC) / 2**octave
    low, high = float(total.min()), float(total.max())
    bottom = np.linspace(0.6, 1.0, rows, dtype=np.float32)[:, None]
    return ((total - low) / (high - low)) ** 1.5 * bottom


def _blot(
    layer: Float32[np.ndarray, "H W"],
    rng: np.random.Generator,
    center: np.ndarray,
    radius: float,
    strength: float,
) -> None:
    """Draw an irregular blot."""
    angle = np.linspace(0.0, 2 * np.pi, 24, endpoint=False)
    shape = np.ones(24)
    for order in range(2, 6):
        shape += rng.normal(0.0, 0.30 / np.sqrt(order)) * np.cos(
            order * angle + rng.uniform(0.0, 2 * np.pi)
        )
    corners = center + radius * shape[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    cv2.fillPoly(layer, [np.rint(16.0 * corners).astype(np.int32)], strength, cv2.LINE_AA, 4)


def _spray(
    layer: Float32[np.ndarray, "H W"], rng: np.random.Generator, center: np.ndarray, reach: float
) -> None:
    """Draw droplets around a splash."""
    for _ in range(int(rng.integers(3, 10))):
        place = center + rng.normal(0.0, 1.6 * reach, size=2)
        _blot(layer, rng, place, float(rng.uniform(0.8, 4.0)), float(rng.uniform(0.4, 0.9)))
