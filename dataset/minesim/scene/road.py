"""The haul road: its course, width, wheel ruts and puddles.

Road coordinates are x along the world x axis, and the lateral offset d: meters to the left of the
centerline. The course is a graph y(x) with a moderate slope, so that offset lines never fold over,
however far they are from the road.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dataset.minesim.scene.locations import Location

LANE_SHARE = 0.25
"""Offset of a lane's middle from the centerline, as a share of the road width; traffic keeps
right."""
WHEEL_OFFSET_M = 1.9
"""Half the track width of a haul truck [m]."""


@dataclass(frozen=True)
class Waves:
    """A sum of sines of x.

    Attributes:
        height: Amplitudes [m].
        length_m: Wavelengths [m].
        phase: Phases [rad].
    """

    height: Float[np.ndarray, "K"]
    length_m: Float[np.ndarray, "K"]
    phase: Float[np.ndarray, "K"]

    @classmethod
    def draw(cls, rng: np.random.Generator, lengths_m: tuple[float, ...], slope: float) -> "Waves":
        """Draw random waves whose slopes add up to at most ``slope``."""
        length = np.array(lengths_m) * rng.uniform(0.8, 1.25, size=len(lengths_m))
        share = rng.dirichlet(np.ones(len(lengths_m)))
        height = slope * share * length / (2 * np.pi)
        return cls(height, length, rng.uniform(0, 2 * np.pi, size=len(lengths_m)))

    def value(self, x: Float[np.ndarray, "*#any"]) -> Float[np.ndarray, "*#any"]:
        """Evaluate the sum at x."""
        angle = 2 * np.pi * np.asarray(x)[..., None] / self.length_m + self.phase
        return (self.height * np.sin(angle)).sum(axis=-1)

    def slope(self, x: Float[np.ndarray, "*#any"]) -> Float[np.ndarray, "*#any"]:
        """Evaluate the derivative at x."""
        frequency = 2 * np.pi / self.length_m
        angle = frequency * np.asarray(x)[..., None] + self.phase
        return (self.height * frequency * np.cos(angle)).sum(axis=-1)


@dataclass(frozen=True)
class RutStrip:
    """Parallel wheel ruts in soft ground along the edge of the road.

    Attributes:
        x_m: Range of x [m].
        offset_m: Lateral offset of each rut [m].
        depth_m: Depth of each rut below the ground [m].
        wander: Lateral deviation of the strip along x [m].
    """

    x_m: tuple[float, float]
    offset_m: Float[np.ndarray, "R"]
    depth_m: Float[np.ndarray, "R"]
    wander: Waves

    def presence(self, x: Float[np.ndarray, "*#any"]) -> Float[np.ndarray, "*#any"]:
        """Return 1 inside the strip, falling to 0 over its last 8 m."""
        start, end = self.x_m
        return np.clip(np.minimum(x - start, end - x) / 8.0, 0.0, 1.0)

    def relief(
        self, x: Float[np.ndarray, "*#any"], d: Float[np.ndarray, "*#any"]
    ) -> Float[np.ndarray, "*#any"]:
        """Return the height of the ruts and of the soil pushed up beside them [m]."""
        aside = d - self.wander.value(x)
        total = np.zeros(np.broadcast_shapes(aside.shape), dtype=np.float64)
        for offset, depth in zip(self.offset_m, self.depth_m, strict=True):
            across = np.square((aside - offset) / 0.28)
            shoulder = np.square((np.abs(aside - offset) - 0.55) / 0.22)
            total += depth * (0.45 * np.exp(-shoulder) - np.exp(-across))
        return total * self.presence(x)


@dataclass(frozen=True)
class Puddle:
    """A hollow filled with water.

    Attributes:
        x_m: Center along x [m].
        offset_m: Lateral offset of the center [m].
        half_size_m: Half the length along the road, and half the width [m].
        depth_m: Depth of the hollow [m].
        lobe_phase: Phases of the bulges of its shore [rad].
    """

    x_m: float
    offset_m: float
    half_size_m: tuple[float, float]
    depth_m: float
    lobe_phase: float

    def shore(self, angle: Float[np.ndarray, "*#any"]) -> Float[np.ndarray, "*#any"]:
        """Return the radius of the hollow by direction, as a factor on the ellipse."""
        phase = self.lobe_phase
        return 1.0 + 0.16 * np.sin(2 * angle + phase) + 0.1 * np.sin(5 * angle - 2 * phase)

    def radius(
        self, x: Float[np.ndarray, "*#any"], d: Float[np.ndarray, "*#any"]
    ) -> Float[np.ndarray, "*#any"]:
        """Return the distance from the center relative to the hollow's radius: 1 on its rim."""
        along = (x - self.x_m) / self.half_size_m[0]
        across = (d - self.offset_m) / self.half_size_m[1]
        return np.hypot(along, across) / self.shore(np.arctan2(across, along))

    def relief(
        self, x: Float[np.ndarray, "*#any"], d: Float[np.ndarray, "*#any"]
    ) -> Float[np.ndarray, "*#any"]:
        """Return the height of the hollow [m], 0 outside its rim."""
        inside = np.clip(1.0 - np.square(self.radius(x, d)), 0.0, 1.0)
        return -self.depth_m * inside * (2.0 - inside)


@dataclass(frozen=True)
class Road:
    """The haul road.

    Attributes:
        width_m: Mean width [m].
        course: y of the centerline.
        profile: Height of the centerline.
        edge: Variation of the half width.
        ruts: Strips of deep ruts.
        puddles: Hollows filled with water.
    """

    width_m: float
    course: Waves
    profile: Waves
    edge: Waves
    ruts: tuple[RutStrip, ...] = ()
    puddles: tuple[Puddle, ...] = ()

    @property
    def lane_m(self) -> float:
        """Lateral offset of the middle of the ego lane [m]; negative is right."""
        return -LANE_SHARE * self.width_m

    def half_width(self, x: Float[np.ndarray, "*#any"]) -> Float[np.ndarray, "*#any"]:
        """Return half the width at x [m]."""
        return self.width_m / 2 + self.edge.value(x)

    def stretch(self, x: Float[np.ndarray, "*#any"]) -> Float[np.ndarray, "*#any"]:
        """Return the distance along y per unit of lateral offset at x."""
        return np.sqrt(1.0 + np.square(self.course.slope(x)))

    def point(
        self, x: Float[np.ndarray, "*#any"], d: Float[np.ndarray, "*#any"]
    ) -> Float[np.ndarray, "*#any 2"]:
        """Convert road coordinates to world x and y."""
        x, d = np.broadcast_arrays(np.asarray(x, float), np.asarray(d, float))
        return np.stack([x, self.course.value(x) + d * self.stretch(x)], axis=-1)

    def offset(self, xy: Float[np.ndarray, "*#any 2"]) -> Float[np.ndarray, "*#any"]:
        """Return the lateral offset d of world points."""
        return (xy[..., 1] - self.course.value(xy[..., 0])) / self.stretch(xy[..., 0])

    def place(self, x: float, d: float) -> Float[np.ndarray, "2"]:
        """Convert road coordinates of a single position to world x and y."""
        return self.point(np.array([x]), np.array([d]))[0]

    def half_width_at(self, x: float) -> float:
        """Return half the width at a single x [m]."""
        return float(self.half_width(np.array([x]))[0])

    def heading_at(self, x: float) -> float:
        """Return the direction of travel at a single x [rad]."""
        return float(np.arctan(self.course.slope(np.array([x])))[0])

    def relief(
        self, x: Float[np.ndarray, "*#any"], d: Float[np.ndarray, "*#any"]
    ) -> Float[np.ndarray, "*#any"]:
        """Return the height of crown and shallow wheel tracks relative to the profile [m]."""
        half = self.width_m / 2
        crown = -0.015 * np.clip(np.abs(d) - 0.5, 0.0, half)
        return crown - 0.045 * self.track_wear(d)

    def track_wear(self, d: Float[np.ndarray, "*#any"]) -> Float[np.ndarray, "*#any"]:
        """Return the wear by wheels, 0–1, at an offset: two tracks in each lane."""
        wear = np.zeros_like(d, dtype=np.float64)
        for lane in (self.lane_m, -self.lane_m):
            for wheel in (-WHEEL_OFFSET_M, WHEEL_OFFSET_M):
                wear += np.exp(-np.square((d - lane - wheel) / 0.55))
        return np.clip(wear, 0.0, 1.0)


def draw_road(rng: np.random.Generator, region: Location, x_range_m: tuple[float, float]) -> Road:
    """Draw a road of a region, with ruts and puddles in a range of x [m]."""
    width = float(rng.uniform(*region.road_width_m))
    course = Waves.draw(rng, (900.0, 420.0, 230.0), region.bend)
    profile = Waves.draw(rng, (800.0, 300.0, 120.0), region.grade)
    edge = Waves.draw(rng, (90.0, 37.0), 0.05)
    ruts = _draw_ruts(rng, width, x_range_m)
    puddles = _draw_puddles(rng, width, ruts, x_range_m)
    return Road(width, course, profile, edge, ruts, puddles)


def _draw_ruts(
    rng: np.random.Generator, width_m: float, x_range_m: tuple[float, float]
) -> tuple[RutStrip, ...]:
    strips = []
    for side in (-1.0, 1.0):
        if rng.random() > 0.6:
            continue
        start = rng.uniform(x_range_m[0] - 20, x_range_m[1] - 40)
        count = int(rng.integers(2, 5))
        spacing = rng.uniform(0.9, 1.5, size=count)
        offset = side * (width_m / 2 - 1.6 + np.cumsum(spacing) - spacing.sum() / 2)
        wander = Waves.draw(rng, (70.0, 25.0), 0.06)
        end = start + rng.uniform(25.0, 70.0)
        depth = rng.uniform(0.10, 0.30, size=count)
        strips.append(RutStrip((start, end), offset, depth, wander))
    return tuple(strips)


def _draw_puddles(
    rng: np.random.Generator,
    width_m: float,
    ruts: tuple[RutStrip, ...],
    x_range_m: tuple[float, float],
) -> tuple[Puddle, ...]:
    puddles = []
    for _ in range(int(rng.poisson(1.9))):
        long = rng.uniform(0.8, 2.4)
        offset = rng.uniform(-0.5, 0.5) * (width_m - 2.0)
        x = rng.uniform(*x_range_m)
        if ruts and rng.random() < 0.5:
            strip = ruts[int(rng.integers(len(ruts)))]
            x = rng.uniform(*strip.x_m)
            offset = float(rng.choice(strip.offset_m) + strip.wander.value(np.array([x]))[0])
        size = (long, long * rng.uniform(0.3, 0.7))
        depth = 0.10 + 0.05 * long
        puddles.append(Puddle(x, offset, size, depth, rng.uniform(0, 2 * np.pi)))
    return tuple(puddles)
