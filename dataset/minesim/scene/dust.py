"""Dust plumes: soft balls of dust, and the light that they absorb along rays.

The extinction coefficient of a puff is a Gaussian of the distance from its center. Its integral
along a ray, the optical depth, is an error function, so that neither sensor has to march through
the dust. Dust grains are far larger than the wavelength, so one coefficient serves camera and
LiDAR.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64

_REACH = 3.0
"""A puff ends at this many standard deviations."""
_LINEAR, _CUBIC = float(np.sqrt(2.0 / np.pi)), 0.044715
"""Page's approximation of the normal distribution by a tanh, within 2e-4 and easy to invert."""


@dataclass(frozen=True)
class Puffs:
    """Puffs of dust.

    Attributes:
        center_m: Centers, world frame [m].
        size_m: Standard deviation of each Gaussian [m].
        extinction_per_m: Extinction coefficient at each center [1/m].
    """

    center_m: Float32[np.ndarray, "P 3"]
    size_m: Float32[np.ndarray, "P"]
    extinction_per_m: Float32[np.ndarray, "P"]

    def optical_depth(
        self,
        origin: Float32[np.ndarray, "3"],
        rays: Float32[np.ndarray, "R 3"],
        distance_m: Float32[np.ndarray, "R"],
    ) -> Float32[np.ndarray, "R"]:
        """Return the integral of the extinction coefficient along rays from one point.

        Args:
            origin: Where the rays start, world frame [m].
            rays: Unit directions.
            distance_m: Length of each ray [m]; may be infinite.
        """
        total = np.zeros(len(rays), dtype=np.float32)
        for path in self._paths(origin, rays):
            total[path.ray] += path.depth * (_normal_cdf(path.step(distance_m)) - path.before)
        return total

    def first_scattering(
        self,
        origin: Float32[np.ndarray, "3"],
        rays: Float32[np.ndarray, "R 3"],
        distance_m: Float32[np.ndarray, "R"],
        rng: np.random.Generator,
    ) -> tuple[Float32[np.ndarray, "R"], Float32[np.ndarray, "R"]]:
        """Draw where pulses are scattered back first.

        Light that is scattered at distance t has crossed the dust twice: its density is
        proportional to σ(t)·exp(−2·τ(t)), as of the first event of a Poisson process with the rate
        2·σ(t). The first event of all puffs is the earliest of the first events of each.

        Args:
            origin: Where the pulses start, world frame [m].
            rays: Unit directions.
            distance_m: Where each pulse ends on a surface [m]; may be infinite.
            rng: Draws the events.

        Returns:
            Distance of the event [m], infinite if there is none before the surface, and the optical
            depth τ to the surface.
        """
        total = np.zeros(len(rays), dtype=np.float32)
        first = np.full(len(rays), np.inf, dtype=np.float32)
        for path in self._paths(origin, rays):
            share = _normal_cdf(path.step(distance_m)) - path.before
            total[path.ray] += path.depth * share
            drawn = rng.standard_exponential(len(share), dtype=np.float32) / (2.0 * path.depth)
            hit = np.flatnonzero(drawn < share)
            event = path.middle[hit] + path.size * _normal_quantile(path.before[hit] + drawn[hit])
            first[path.ray[hit]] = np.minimum(first[path.ray[hit]], event)
        return first, total

    def _paths(
        self, origin: Float32[np.ndarray, "3"], rays: Float32[np.ndarray, "R 3"]
    ) -> Iterator["_Path"]:
        """Yield the rays that pass each puff."""
        offsets = self.center_m - origin
        squares = (offsets * offsets).sum(axis=1)
        middles = offsets @ rays.T  # (P, R)
        for middle, square, size, extinction in zip(
            middles, squares, self.size_m, self.extinction_per_m, strict=True
        ):
            reach = (_REACH * size) ** 2
            # The sensor may be inside a puff; otherwise the ray has to point at it.
            least = np.sqrt(square - reach) if square > reach else -np.inf
            ray = np.flatnonzero(middle > least)
            if len(ray) == 0:
                continue
            near = middle[ray]
            miss = np.maximum(square - near * near, 0.0) / (2.0 * size * size)
            depth = np.float32(np.sqrt(2.0 * np.pi)) * extinction * size * np.exp(-miss)
            yield _Path(ray, near, depth, _normal_cdf(-near / size), size)


@dataclass(frozen=True)
class _Path:
    """Rays through one puff.

    Attributes:
        ray: Index of each ray.
        middle: Distance at which the ray is nearest to the center [m].
        depth: Optical depth of the puff along the whole line.
        before: Share of that depth behind the origin.
        size: Standard deviation of the puff [m].
    """

    ray: Int64[np.ndarray, "M"]
    middle: Float32[np.ndarray, "M"]
    depth: Float32[np.ndarray, "M"]
    before: Float32[np.ndarray, "M"]
    size: np.float32

    def step(self, distance_m: Float32[np.ndarray, "R"]) -> Float32[np.ndarray, "M"]:
        """Return how far behind the middle each ray ends, in standard deviations."""
        return (distance_m[self.ray] - self.middle) / self.size


def _normal_cdf(value: Float32[np.ndarray, "M"]) -> Float32[np.ndarray, "M"]:
    """Return the cumulative normal distribution."""
    bounded = np.clip(value, np.float32(-6.0), np.float32(6.0))
    scaled = _LINEAR * bounded * (1.0 + _CUBIC * bounded * bounded)
    return (0.5 * (1.0 + np.tanh(scaled))).astype(np.float32)


def _normal_quantile(share: Float32[np.ndarray, "M"]) -> Float32[np.ndarray, "M"]:
    """Return the inverse of ``_normal_cdf``: the real root of its cubic."""
    inner = np.clip(2.0 * share.astype(np.float64) - 1.0, -1.0 + 1e-7, 1.0 - 1e-7)
    width = np.sqrt(3.0 * _CUBIC)
    root = np.sinh(np.arcsinh(1.5 * width * np.arctanh(inner) / _LINEAR) / 3.0)
    return (2.0 / width * root).astype(np.float32)


def draw_puffs(
    rng: np.random.Generator,
    path_m: Float[np.ndarray, "T 3"],
    sources_m: Float[np.ndarray, "S 3"],
) -> Puffs:
    """Draw the dust of a scene: trails above the road, and clouds around working machines.

    Args:
        rng: Random generator.
        path_m: Positions of the drive, world frame [m].
        sources_m: Positions of machines on the ground, world frame [m].
    """
    rows = [_trail(rng, path_m) for _ in range(int(rng.integers(1, 3)))]
    rows += [_cloud(rng, source) for source in sources_m]
    table = np.concatenate(rows).astype(np.float32)
    return Puffs(table[:, :3].copy(), table[:, 3].copy(), table[:, 4].copy())


def _trail(rng: np.random.Generator, path_m: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, "P 5"]:
    """Return the dust that a truck left above the road: it grows, rises and thins out."""
    steps = np.linalg.norm(np.diff(path_m[:, :2], axis=0), axis=1)
    traveled = np.concatenate([[0.0], np.cumsum(steps)])
    length = float(rng.uniform(22.0, 45.0))
    start = float(rng.uniform(8.0, traveled[-1] + 20.0))
    age = np.arange(0.0, 1.0, 2.2 / length)  # From the truck (0) to the oldest dust (1).
    place = start + length * (age if rng.random() < 0.5 else 1.0 - age)
    heading = path_m[-1] - path_m[max(0, len(path_m) - 5)]
    heading = heading / max(float(np.linalg.norm(heading)), 1e-9)
    xyz = np.stack([np.interp(place, traveled, path_m[:, k]) for k in range(3)], axis=1)
    xyz += np.maximum(place - traveled[-1], 0.0)[:, None] * heading
    left = np.array([-heading[1], heading[0], 0.0])
    drift = rng.uniform(-4.0, 8.0) + rng.uniform(-4.0, 4.0) * age
    size = (0.7 + 1.5 * age) * rng.uniform(0.75, 1.3, size=len(age))
    xyz += (drift + rng.normal(0.0, 0.6 + 0.8 * age))[:, None] * left
    xyz[:, 2] += 0.8 * size + 1.2 * age * rng.uniform(0.2, 1.0, size=len(age))
    extinction = float(rng.uniform(0.10, 0.22)) * (1.0 - 0.7 * age)
    extinction = extinction * rng.uniform(0.6, 1.4, size=len(age))
    return np.column_stack([xyz, size, extinction])


def _cloud(rng: np.random.Generator, source_m: Float[np.ndarray, "3"]) -> Float[np.ndarray, "P 5"]:
    """Return the dust around a machine."""
    count = int(rng.integers(10, 18))
    wind = rng.uniform(-6.0, 6.0, size=2)
    age = np.sort(rng.random(count))
    xy = source_m[:2] + age[:, None] * wind + rng.normal(0.0, 2.2, size=(count, 2))
    size = (0.8 + 1.2 * age) * rng.uniform(0.7, 1.3, size=count)
    z = source_m[2] + 0.8 * size + rng.uniform(0.0, 2.0, size=count)
    extinction = float(rng.uniform(0.10, 0.25)) * (1.0 - 0.6 * age)
    return np.column_stack([xy, z, size, extinction])
