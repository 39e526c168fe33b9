"""The relief of the pit: benches and walls beside the road, berms, heaps, a far rim, noise."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from dataset.minesim.scene.locations import Location, SideKind
from dataset.minesim.scene.noise import Noise
from dataset.minesim.scene.road import Road

WINDROW_OUT_M = 1.0
"""Distance from the road edge to the line of rubble at the foot of a wall [m]."""


@dataclass(frozen=True)
class Side:
    """The cross-section on one side of the road.

    Attributes:
        kind: "wall" rises from the road, "floor" stays level for a while, "drop" falls away.
        out_m: Distance of the profile's knots from the road edge [m], increasing.
        up_m: Height of the knots above the road [m].
        flat_m: Width of drivable ground beyond the road edge [m].
        berm_out_m: Distance of the berm's crest from the road edge [m].
        berm_up_m: Height of the berm [m]; 0 for none.
    """

    kind: SideKind
    out_m: Float[np.ndarray, "K"]
    up_m: Float[np.ndarray, "K"]
    flat_m: float
    berm_out_m: float
    berm_up_m: float


@dataclass(frozen=True)
class Heap:
    """A dumped heap of loose material.

    Attributes:
        xy_m: Its center, world frame [m].
        height_m: Height [m].
        slope: Rise over run of its flanks.
    """

    xy_m: Float[np.ndarray, "2"]
    height_m: float
    slope: float


@dataclass(frozen=True)
class Survey:
    """Properties of the ground at some points; shares are 0–1.

    Attributes:
        height_m: Height [m].
        out_m: Distance beyond the road edge [m], negative on the road.
        flat_m: Width of drivable ground beyond the road edge on that side [m].
        body: Share of berm or heap.
        rubble: Share of rubble at the foot of a wall.
        rut_m: Height of the relief of deep ruts [m].
        wet: Share of wetness around puddles.
    """

    height_m: Float[np.ndarray, "*any"]
    out_m: Float[np.ndarray, "*any"]
    flat_m: Float[np.ndarray, "*any"]
    body: Float[np.ndarray, "*any"]
    rubble: Float[np.ndarray, "*any"]
    rut_m: Float[np.ndarray, "*any"]
    wet: Float[np.ndarray, "*any"]


class Terrain:
    """The relief of one scene, evaluated at any point.

    Args:
        rng: Random generator.
        region: Mine region to imitate.
        road: The haul road.
        x_range_m: World x range that the drive sees up close [m].
    """

    def __init__(
        self,
        rng: np.random.Generator,
        region: Location,
        road: Road,
        x_range_m: tuple[float, float],
    ) -> None:
        right, left = region.layouts[int(rng.integers(len(region.layouts)))]
        self.road = road
        self.right = draw_side(rng, right, region)
        self.left = draw_side(rng, left, region)
        self.noise = Noise(rng)
        self.heaps = draw_heaps(rng, road, (self.right, self.left), x_range_m)
        self._middle = road.place(sum(x_range_m) / 2, 0.0)
        steps = rng.uniform(8.0, 20.0, size=8)
        self._rim_out_m = rng.uniform(260.0, 400.0) + np.concatenate([[0.0], np.cumsum(steps)])
        self._rim_up_m = np.repeat(np.arange(5.0), 2)[1:] * rng.uniform(*region.rim_m)

    def survey(
        self,
        x: Float[np.ndarray, "*#any"],
        d: Float[np.ndarray, "*#any"],
        spacing_m: Float[np.ndarray, "*#any"] | float = 0.0,
    ) -> Survey:
        """Survey the ground at road coordinates; detail finer than ``spacing_m`` fades out."""
        road, noise = self.road, self.noise
        x, d = np.broadcast_arrays(np.asarray(x, dtype=np.float64), d)
        y = road.point(x, d)[..., 1]
        out, is_left = np.abs(d) - road.half_width(x), d > 0
        fine = noise.fractal(x, y, 9.0, 6, gain=0.55, spacing_m=spacing_m)
        broad = noise.fractal(x + 500.0, y, 170.0, 3, spacing_m=spacing_m)
        warp = noise.fractal(x, y + 900.0, 60.0, 3, spacing_m=spacing_m)
        bent = out + np.clip(out / 9.0, 0.0, 1.0) * 5.0 * warp
        reach = np.maximum(0.6, 0.4 * np.asarray(spacing_m))
        low, high = self._section(bent - reach, is_left), self._section(bent + reach, is_left)
        section = (low + self._section(bent, is_left) + high) / 3
        steep = np.clip(np.abs(high - low) / (2 * reach) - 0.25, 0.0, 1.0)
        away = np.clip((out - 30.0) / 90.0, 0.0, 1.0)
        roughness = 0.03 + 0.08 * np.clip(out / 4.0, 0.0, 1.0) + 0.5 * away
        # Excavator teeth leave slanted furrows in the walls: long up the face, narrow along it.
        rake = noise.fractal(x + 0.7 * section, 0.25 * section, 1.8, 2, spacing_m=spacing_m)
        roughness = roughness + 0.55 * steep
        height = road.profile.value(x) + section + road.relief(x, d) + self._rim(x, y)
        height = height + roughness * fine + (0.15 + 3.5 * away) * broad + 0.2 * steep * rake
        body = np.maximum(self._berm(out, is_left, fine, warp), self._heap(x, y, fine))
        rubble = self._rubble(x, out, is_left, spacing_m)
        rut, wet = np.zeros_like(height), np.zeros_like(height)
        for strip in road.ruts:
            rut += strip.relief(x, d)
        for puddle in road.puddles:
            height = height + puddle.relief(x, d)
            wet = np.maximum(wet, np.clip(2.6 - 1.6 * puddle.radius(x, d), 0.0, 1.0))
        flat = np.where(is_left, self.left.flat_m, self.right.flat_m)
        height = height + body + rut + rubble
        is_body = np.clip(body / 0.3, 0.0, 1.0)
        return Survey(height, out, flat, is_body, np.clip(rubble / 0.12, 0.0, 1.0), rut, wet)

    def _section(
        self, out: Float[np.ndarray, "*#any"], is_left: Bool[np.ndarray, "*#any"]
    ) -> Float[np.ndarray, "*#any"]:
        """Return the height of the cross-section [m]."""
        left = np.interp(out, self.left.out_m, self.left.up_m)
        return np.where(is_left, left, np.interp(out, self.right.out_m, self.right.up_m))

    def _berm(
        self,
        out: Float[np.ndarray, "*#any"],
        is_left: Bool[np.ndarray, "*#any"],
        fine: Float[np.ndarray, "*#any"],
        warp: Float[np.ndarray, "*#any"],
    ) -> Float[np.ndarray, "*#any"]:
        """Return the height of berms above the ground [m]: ridges, with gaps on level ground."""
        total = np.zeros_like(out)
        for side, here in ((self.right, ~is_left), (self.left, is_left)):
            if side.berm_up_m == 0.0:
                continue
            ridge = side.berm_up_m * (1.0 + 0.7 * fine)
            if side.kind == "floor":
                ridge = ridge * np.clip(6.0 * (warp + 0.28), 0.0, 1.0)
            crest = side.berm_out_m + (4.0 * warp if side.kind == "floor" else 0.3 * fine)
            flank = np.clip(1.0 - np.abs(out - crest) / (1.4 * side.berm_up_m + 0.4), 0.0, 1.0)
            total = total + here * ridge * np.minimum(flank * 1.25, 1.0)
        return total

    def _rubble(
        self,
        x: Float[np.ndarray, "*#any"],
        out: Float[np.ndarray, "*#any"],
        is_left: Bool[np.ndarray, "*#any"],
        spacing_m: Float[np.ndarray, "*#any"] | float,
    ) -> Float[np.ndarray, "*#any"]:
        """Return the height of rubble at the foot of walls [m]: patches of loose rocks."""
        foot = self.noise.smooth(x, np.full_like(x, 313.0) + 60.0 * is_left, 22.0)
        patch = np.clip(2.5 * foot - 0.1, 0.0, 1.0)
        strip = np.clip(1.0 - np.abs(out - WINDROW_OUT_M - 0.8 * foot) / 0.9, 0.0, 1.0)
        beside_wall = np.where(is_left, self.left.kind == "wall", self.right.kind == "wall")
        stones = self.noise.fractal(x - 77.0, out, 1.3, 2, spacing_m=spacing_m)
        return beside_wall * strip * patch * np.clip(0.22 + 0.6 * stones, 0.0, 1.0)

    def _heap(
        self,
        x: Float[np.ndarray, "*#any"],
        y: Float[np.ndarray, "*#any"],
        fine: Float[np.ndarray, "*#any"],
    ) -> Float[np.ndarray, "*#any"]:
        """Return the height of heaps above the ground [m]."""
        total = np.zeros_like(x)
        for heap in self.heaps:
            reach = 1.5 * heap.height_m / heap.slope
            near = np.abs(x - heap.xy_m[0]) < reach
            near &= np.abs(y - heap.xy_m[1]) < reach
            away = np.hypot(x[near] - heap.xy_m[0], y[near] - heap.xy_m[1])
            peak = heap.height_m * (1.0 + 0.25 * fine[near])
            total[near] = np.maximum(total[near], peak - heap.slope * away)
        return total

    def _rim(
        self, x: Float[np.ndarray, "*#any"], y: Float[np.ndarray, "*#any"]
    ) -> Float[np.ndarray, "*#any"]:
        """Return the height of the far rim [m], in benches around the middle of the drive."""
        far = np.hypot(x - self._middle[0], 1.25 * (y - self._middle[1]))
        return np.interp(far, self._rim_out_m, self._rim_up_m)


def draw_side(rng: np.random.Generator, kind: SideKind, region: Location) -> Side:
    """Draw a random cross-section of a kind."""
    if kind == "wall":
        apron = float(rng.uniform(1.5, 5.0))
        talus = [(apron, 0.05), (apron + rng.uniform(1.0, 3.0), rng.uniform(0.8, 1.8))]
        knots = [(0.0, 0.0), *talus, *_benches(rng, region, talus[-1], int(rng.integers(1, 4)))]
        return _side(kind, knots, flat_m=0.9 * apron, berm=(0.0, 0.0))
    if kind == "floor":
        flat = float(rng.uniform(60.0, 220.0))
        knots = [(0.0, 0.0), (flat, 0.4)]
        knots += _benches(rng, region, knots[-1], int(rng.integers(1, 4)), share=0.6)
        berm = (float(rng.uniform(9.0, 24.0)), float(rng.uniform(0.7, 1.3)))
        return _side(kind, knots, flat_m=flat, berm=berm)
    berm = (float(rng.uniform(1.6, 2.6)), float(rng.uniform(0.9, 1.5)))
    edge = berm[0] + 1.4 * berm[1] + 0.6
    knots = [(0.0, 0.0), (edge, 0.0)]
    levels = int(rng.integers(2, 5))
    knots += _benches(rng, region, knots[-1], levels, share=-1.0)
    foot = (knots[-1][0] + rng.uniform(60.0, 160.0), knots[-1][1] - 1.0)
    knots += [foot, *_benches(rng, region, foot, levels)]
    return _side(kind, knots, flat_m=berm[0] - berm[1], berm=berm)


def _side(
    kind: SideKind, knots: list[tuple[float, float]], *, flat_m: float, berm: tuple[float, float]
) -> Side:
    out, up = np.array(knots).T
    return Side(kind, out, up, flat_m, *berm)


def _benches(
    rng: np.random.Generator,
    region: Location,
    start: tuple[float, float],
    count: int,
    share: float = 1.0,
) -> list[tuple[float, float]]:
    """Return knots of ``count`` faces, each with a bench behind it; negative shares go down."""
    knots, (out, up) = [], start
    tangent = np.tan(np.radians(rng.uniform(48.0, 68.0)))
    for _ in range(count):
        face = share * float(rng.uniform(*region.wall_m))
        out, up = out + abs(face) / tangent, up + face
        knots.append((out, up))
        out, up = out + float(rng.uniform(8.0, 16.0)), up + 0.3
        knots.append((out, up))
    return knots


def draw_heaps(
    rng: np.random.Generator,
    road: Road,
    sides: tuple[Side, Side],
    x_range_m: tuple[float, float],
) -> tuple[Heap, ...]:
    """Draw rows of dumped heaps on level ground beside the road; sides are (right, left)."""
    heaps = []
    for side, sign in zip(sides, (-1.0, 1.0), strict=True):
        if side.kind != "floor":
            continue
        for _ in range(int(rng.integers(2, 6))):
            x = rng.uniform(x_range_m[0], x_range_m[1] + 150.0)
            out = rng.uniform(max(side.berm_out_m + 6.0, 22.0), 0.9 * side.flat_m)
            height = rng.uniform(1.2, 3.2)
            for step in range(int(rng.integers(2, 7))):
                shift = rng.normal(scale=0.8, size=2) + np.array([4.2 * step, 0.0])
                xy = road.place(x, sign * (road.width_m / 2 + out)) + shift
                size = height * rng.uniform(0.7, 1.1)
                heaps.append(Heap(xy, size, float(rng.uniform(0.6, 0.8))))
    return tuple(heaps)
