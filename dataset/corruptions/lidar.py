"""Corruptions of a point cloud by the sensor, its mounting and other sensors.

Points are relative to the LiDAR: x forward, y left, z up [m], intensity 0–1, and any other columns.
Weather is in ``weather.py`` and ``dust.py``.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

Cloud = Float32[np.ndarray, "P F"]
Kept = Float32[np.ndarray, "Q F"]

BIN_DEG = 0.02
"""Resolution at which beams are looked for."""
NUM_BANDS = 64
"""Bands of elevation that stand for the beams of a LiDAR without beams."""
_VALLEY = 0.4
"""Two beams have a bin between them with at most this share of the points of either."""


def missing(points: Cloud, rng: np.random.Generator, *, share: float) -> Kept:
    """Lose the cloud: it is empty with probability ``share``."""
    return points[:0] if rng.random() < share else points


def drop_beams(points: Cloud, rng: np.random.Generator, *, keep_every: int) -> Kept:
    """Keep one of ``keep_every`` beams (``beam_of_points``)."""
    phase = int(rng.integers(8))
    return points[(beam_of_points(points) + phase) % keep_every == 0]


def drop_points(points: Cloud, rng: np.random.Generator, *, share: float) -> Kept:
    """Lose each point with probability ``share``."""
    return points[rng.random(len(points)) >= share]


def narrow(points: Cloud, rng: np.random.Generator, *, share: float) -> Kept:
    """Keep the middle ``share`` of the horizontal field of view that the cloud covers."""
    del rng
    if not len(points):
        return points
    azimuth = np.abs(np.arctan2(points[:, 1], points[:, 0]))
    return points[azimuth <= share * np.quantile(azimuth, 0.995)]


def motion_blur(
    points: Cloud,
    rng: np.random.Generator,
    *,
    sigma_m: float,
    jitter: tuple[float, float, float] = (0.1, 0.1, 0.05),
) -> Cloud:
    """Move all points by one offset, and each by a smaller one of its own.

    Args:
        points: The cloud.
        rng: Draws the offsets.
        sigma_m: Standard deviation of the common offset along each axis.
        jitter: That of the own offsets along x, y and z, as a share of ``sigma_m``; they are
            limited to three times ``sigma_m``.
    """
    common = sigma_m * rng.standard_normal(3)
    own = rng.standard_normal((len(points), 3)) * (sigma_m * np.array(jitter))
    return _moved(points, common + own.clip(-3 * sigma_m, 3 * sigma_m))


def crosstalk(
    points: Cloud, rng: np.random.Generator, *, share: float, sigma_m: float = 3.0
) -> Cloud:
    """Misplace a share of the points, as pulses of other LiDARs do.

    Args:
        points: The cloud.
        rng: Draws the points and their offsets.
        share: Probability of each point.
        sigma_m: Standard deviation of the offsets along each axis.
    """
    is_hit = rng.random(len(points)) < share
    offset = sigma_m * rng.standard_normal((len(points), 3))
    return _moved(points, np.where(is_hit[:, None], offset, 0))


def drop_echoes(
    points: Cloud, rng: np.random.Generator, *, on_vehicle: Bool[np.ndarray, "P"], share: float
) -> Kept:
    """Lose each point on a vehicle with probability ``share``: dark paint absorbs pulses."""
    return points[~(on_vehicle & (rng.random(len(points)) < share))]


def beam_of_points(points: Cloud) -> Int64[np.ndarray, "P"]:
    """Return the beam of each point, counted from below, found from the elevation angles.

    Beams of a spinning LiDAR are peaks in the histogram of the angles. The angles of other sensors
    have no such peaks; ``NUM_BANDS`` bands of equal height stand for their beams.
    """
    flat = np.hypot(points[:, 0], points[:, 1])
    elevation = np.rad2deg(np.arctan2(points[:, 2], flat))
    if not len(points):
        return np.zeros(0, np.int64)
    # Where the lasers are apart, near points are off the angle of their beam.
    far = elevation[flat >= np.median(flat)]
    edges = _beam_edges(far)
    if not 3 < len(edges) + 1 < 300:
        low, high = np.quantile(elevation, (0.001, 0.999))
        edges = np.linspace(low, high, NUM_BANDS + 1)[1:-1]
    return np.searchsorted(edges, elevation)


def _beam_edges(elevation: Float[np.ndarray, "P"]) -> Float[np.ndarray, "E"]:
    """Return the angles between the peaks of a histogram; none if it has no clear peaks."""
    low = float(elevation.min()) - 5 * BIN_DEG
    bins = np.floor((elevation - low) / BIN_DEG).astype(int)
    counts = np.convolve(np.bincount(bins, minlength=8), [0.25, 0.5, 0.25], "same")
    peaks = _peaks(counts)
    is_between = np.ones(len(counts), bool)
    for peak in peaks:
        is_between[max(0, peak - 1) : peak + 2] = False
    # A comb has most points near its peaks. Noise on a smooth histogram has peaks, too.
    if len(peaks) < 2 or counts[is_between].sum() > 0.6 * counts.sum():
        return np.zeros(0)
    middle = [
        first + np.flatnonzero(counts[first:last] == counts[first:last].min()).mean()
        for first, last in pairwise(peaks)
    ]
    return low + (np.array(middle) + 0.5) * BIN_DEG


def _peaks(counts: Float[np.ndarray, "bins"]) -> list[int]:
    """Return the maxima that are separated by valleys, in order."""
    inner = counts[1:-1]
    is_peak = (inner >= counts[:-2]) & (inner > counts[2:])
    found: list[int] = []
    for place in np.flatnonzero(is_peak) + 1:
        if not found:
            found.append(int(place))
            continue
        valley = counts[found[-1] : place].min()
        if valley <= _VALLEY * min(counts[found[-1]], counts[place]):
            found.append(int(place))
        elif counts[place] > counts[found[-1]]:
            found[-1] = int(place)
    return found


def _moved(points: Cloud, offset: Float[np.ndarray, "P 3"]) -> Cloud:
    moved = points.copy()
    moved[:, :3] += offset
    return moved
