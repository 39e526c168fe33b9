"""Corruptions of a camera image: faults of the sensor, and of what is in front of it.

Lengths in pixels are those of an image that is ``REFERENCE_WIDTH`` wide; they shrink with the
image, as if it was corrupted first and resized then.
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from dataset.corruptions.noise_fields import line_kernel, plasma, unit_range

Image = UInt8[np.ndarray, "H W 3"]

REFERENCE_WIDTH = 1600
_OVERCAST = 0.9
"""Brightness of a scene under falling snow."""
_DIRT = np.array([96, 78, 58], np.float32)
"""Color of dirt on a lens in full light."""


def missing(image: Image, rng: np.random.Generator, *, share: float) -> Image:
    """Lose the image: it is black with probability ``share``."""
    return np.zeros_like(image) if rng.random() < share else image


def dark(
    image: Image, rng: np.random.Generator, *, top: float, photons: float, sigma: float
) -> Image:
    """Underexpose the image, with the noise of a sensor in low light.

    Args:
        image: The image.
        rng: Draws the noise.
        top: What white becomes, 0–1, before a gamma of 2.
        photons: Photons of a white pixel, for the shot noise.
        sigma: Standard deviation of the readout noise, 0–1.
    """
    light = (np.arange(256, dtype=np.float64) / 255 * top) ** 2
    shot = rng.poisson((light * photons)[image]).astype(np.float32) / photons
    return _to_uint8(shot + sigma * rng.standard_normal(image.shape, dtype=np.float32))


def bright(image: Image, rng: np.random.Generator, *, offset: float) -> Image:
    """Overexpose the image: raise the value of HSV by ``offset``, 0–1."""
    del rng
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    value = np.minimum(np.arange(256) + round(255 * offset), 255).astype(np.uint8)
    hsv[..., 2] = value[hsv[..., 2]]
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def motion_blur(
    image: Image, rng: np.random.Generator, *, radius_px: float, sigma_px: float
) -> Image:
    """Blur along a line, within 45° of the horizontal.

    Args:
        image: The image.
        rng: Draws the direction.
        radius_px: Half the length of the line.
        sigma_px: Standard deviation along the line.
    """
    scale = image.shape[1] / REFERENCE_WIDTH
    angle_deg = rng.uniform(-45.0, 45.0)
    kernel = line_kernel(radius_px * scale, sigma_px * scale, angle_deg)
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT)


def noise(image: Image, rng: np.random.Generator, *, sigma: float) -> Image:
    """Add white noise of standard deviation ``sigma``, 0–1."""
    drawn = rng.standard_normal(image.shape, dtype=np.float32)
    return _to_uint8(image / np.float32(255) + np.float32(sigma) * drawn)


def quantize(image: Image, rng: np.random.Generator, *, bits: int) -> Image:
    """Round each channel to ``2**bits`` evenly spaced levels from 0 to 255."""
    del rng
    step = 255 / (2**bits - 1)
    table = np.rint(np.rint(np.arange(256) / step) * step).astype(np.uint8)
    return table[image]


def snow(
    image: Image,
    rng: np.random.Generator,
    *,
    mean: float,
    zoom: float,
    threshold: float,
    blur_px: float,
    mix: float,
) -> Image:
    """Add falling flakes as streaks, and whiten the scene.

    Args:
        image: The image.
        rng: Draws the flakes and the direction that they fall in, within 45° of down.
        mean: Mean of the normal noise, of standard deviation 0.3, whose peaks are flakes.
        zoom: Size of a flake [px].
        threshold: Noise above this is a flake.
        blur_px: Half the length of a streak [px].
        mix: Weight of the scene's own colors; the rest is the whitened scene.

    Source: the snow of ``imagecorruptions`` (Hendrycks and Dietterich, ICLR 2019).
    """
    height, width = image.shape[:2]
    columns = round(REFERENCE_WIDTH / zoom)
    rows = max(1, round(columns * height / width))
    angle_deg = rng.uniform(-135.0, -45.0)
    drawn = mean + 0.3 * rng.standard_normal((rows, columns), dtype=np.float32)
    flakes = np.where(drawn < threshold, 0, np.clip(drawn, 0, 1))
    streak = blur_px / zoom
    streaks = cv2.filter2D(flakes, -1, line_kernel(streak, streak / 2, angle_deg))
    shrinks = width < columns
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    layer = cv2.resize(streaks, (width, height), interpolation=method)[..., None]
    scene = image / np.float32(255)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] / np.float32(255)
    whitened = np.maximum(scene, gray * 1.5 + 0.5)
    light = _OVERCAST * (mix * scene + (1 - mix) * whitened)
    return _to_uint8(light + layer + layer[::-1, ::-1])


def lens_dirt(image: Image, rng: np.random.Generator, *, cover: float) -> Image:
    """Cover a share of the lens with dried mud: blurred blots and drops, darker than the scene.

    Args:
        image: The image.
        rng: Draws where the dirt is; more ``cover`` lets the same blots grow.
        cover: Share of the image that is covered.
    """
    size = image.shape[:2]
    blots = plasma(rng, size, decay=1.5, cells=4)
    thickness = unit_range(blots + 0.35 * _drops(rng, size))
    edge = float(np.quantile(thickness, 1 - cover))
    # The lens is out of focus: the edge of a blot is soft.
    sharp = np.clip((thickness - edge) / 0.08 + 0.5, 0, 1)
    soft_px = max(0.5, 4 * image.shape[1] / REFERENCE_WIDTH)
    opacity = 0.92 * cv2.GaussianBlur(sharp, (0, 0), soft_px)[..., None]
    grain = 0.75 + 0.5 * plasma(rng, size, decay=1.2, cells=16)[..., None]
    light = min(1.0, float(image.mean()) / 110)
    return _to_uint8(((1 - opacity) * image + opacity * light * grain * _DIRT) / 255)


def _drops(rng: np.random.Generator, size: tuple[int, int]) -> Float32[np.ndarray, "H W"]:
    """Draw round drops of many sizes, 0–1."""
    height, width = size
    drops = np.zeros(size, np.float32)
    centers = rng.random((40, 2)) * (width, height)
    radii = width * rng.pareto(2.5, 40).clip(0.2, 4) * 0.008
    for (column, row), radius in zip(centers, radii, strict=True):
        center = (round(column), round(row))
        cv2.circle(drops, center, max(1, round(radius)), 1.0, -1, cv2.LINE_AA)
    return drops


def _to_uint8(image: Float32[np.ndarray, "H W 3"]) -> Image:
    """Convert 0–1 to 0–255."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
