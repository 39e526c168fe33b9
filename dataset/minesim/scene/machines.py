"""Mine trucks and cars as meshes: haul truck, wide-body dump truck, water truck, pickup.

Every builder returns a mesh in meters that stands on z = 0 around the origin and faces +x.
"""

from itertools import pairwise

import numpy as np

from dataset.minesim.scene.materials import Color, linear_rgb
from dataset.minesim.scene.mesh import Mesh, Vector, box, cone, merge, slab, taper, tube, wheel

YELLOW = linear_rgb(238, 178, 34)
ORANGE = linear_rgb(226, 112, 32)
WHITE = linear_rgb(228, 228, 222)
GRAY = linear_rgb(120, 122, 122)
GREEN = linear_rgb(70, 128, 92)
RED = linear_rgb(186, 34, 28)
BLUE = linear_rgb(40, 92, 160)
BLACK = linear_rgb(34, 34, 36)
STEEL = linear_rgb(110, 104, 96)
GLASS = linear_rgb(44, 56, 66)
LAMP = linear_rgb(255, 244, 214)
LOAD = linear_rgb(128, 116, 98)


def pick(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    """Draw one of the colors."""
    return colors[int(rng.integers(len(colors)))]


def cabin(size: Vector, center: Vector, color: Color) -> Mesh:
    """Build an operator's cab: painted roof and sill, windows on all sides."""
    length, width, height = size
    x, y, z = center
    glass_height = 0.52 * height
    glass_z = z + 0.10 * height
    parts = [
        box((length, width, 0.36 * height), (x, y, z - 0.32 * height), "paint", color),
        box((0.96 * length, 0.96 * width, glass_height), (x, y, glass_z), "glass", GLASS),
        box(
            (1.06 * length, 1.04 * width, 0.14 * height), (x, y, z + 0.43 * height), "paint", color
        ),
    ]
    for along in (-0.47, 0.02, 0.47):
        for across in (-0.47, 0.47):
            post = (0.07 * length, 0.07 * width, glass_height)
            place = (x + along * length, y + across * width, glass_z)
            parts.append(box(post, place, "paint", color))
    return merge(parts)


def ladder(foot: Vector, head: Vector, width: float) -> Mesh:
    """Build a ladder between two points, with rungs along y."""
    parts = []
    for side in (-width / 2, width / 2):
        start, end = ((p[0], p[1] + side, p[2]) for p in (foot, head))
        parts.append(tube(start, end, 0.04, "steel", WHITE, sides=6))
    rungs = max(2, int((head[2] - foot[2]) / 0.35))
    for share in np.linspace(0.0, 1.0, rungs):
        place = [float(a + share * (b - a)) for a, b in zip(foot, head, strict=True)]
        parts.append(box((0.14, width, 0.05), (place[0], place[1], place[2]), "steel", WHITE))
    return merge(parts)


def railing(corners: tuple[tuple[float, float], ...], floor: float, height: float) -> Mesh:
    """Build posts at the corners (x, y) and two rails from corner to corner."""
    parts = [
        tube((x, y, floor), (x, y, floor + height), 0.035, "steel", WHITE, sides=6)
        for x, y in corners
    ]
    for (x0, y0), (x1, y1) in pairwise(corners):
        for z in (floor + height, floor + height / 2):
            parts.append(tube((x0, y0, z), (x1, y1, z), 0.03, "steel", WHITE, sides=6))
    return merge(parts)


def haul_truck(rng: np.random.Generator) -> Mesh:
    """Build a rigid haul truck with a canopy over the cab, 9.5–13 m long, 5–7 m high."""
    paint = pick(rng, (YELLOW, YELLOW, WHITE, ORANGE))
    tray = paint if rng.random() < 0.6 else GRAY
    hub = pick(rng, (YELLOW, WHITE, GRAY))
    front_x, rear_x, radius = 3.05, -2.35, 1.28
    parts = [
        wheel((x, y, radius), radius, width, hub, sides=20)
        for x, y, width in (
            (front_x, 2.05, 0.85),
            (front_x, -2.05, 0.85),
            (rear_x, 1.65, 1.65),
            (rear_x, -1.65, 1.65),
        )
    ]
    parts += [
        box((9.2, 1.3, 0.6), (0.1, 0.0, 1.75), "steel", BLACK),
        tube((front_x, -1.7, radius), (front_x, 1.7, radius), 0.25, "steel", BLACK),
        tube((rear_x, -1.7, radius), (rear_x, 1.7, radius), 0.45, "steel", BLACK),
        box((2.2, 2.7, 1.5), (3.9, 0.0, 2.2), "paint", paint),
        box((0.12, 2.2, 1.2), (5.02, 0.0, 2.25), "steel", BLACK),
        box((0.55, 4.6, 0.45), (5.0, 0.0, 1.2), "paint", paint),
        box((2.7, 5.1, 0.14), (3.85, 0.0, 3.0), "paint", paint),
        box((1.9, 1.05, 0.9), (3.1, 2.0, 2.5), "paint", paint),
        box((1.9, 1.05, 0.9), (3.1, -2.0, 2.5), "paint", paint),
        box((1.5, 0.9, 1.0), (0.4, 1.75, 1.7), "paint", GRAY),
        tube((-0.4, -1.8, 1.7), (1.2, -1.8, 1.7), 0.45, "paint", paint, sides=12),
        cabin((1.6, 1.7, 1.65), (3.75, 1.45, 3.9), paint),
        ladder((5.35, -1.5, 0.6), (5.15, -1.5, 3.0), 0.7),
        railing(((2.7, -2.5), (5.15, -2.5), (5.15, 0.4)), 3.05, 0.95),
        box((0.9, 1.2, 0.9), (3.7, -1.5, 3.5), "paint", GRAY),
        _tray(tray, loaded=rng.random() < 0.5),
    ]
    for side in (-1.75, 1.75):
        parts.append(box((0.1, 0.6, 0.3), (5.3, side, 1.45), "lamp", LAMP))
    scale = float(rng.uniform(1.02, 1.28))
    return merge(parts).scaled(scale, scale, scale)


def _tray(color: Color, *, loaded: bool) -> Mesh:
    """Build the dump body: sloping floor, ribbed sides, front wall and canopy."""
    rim = 2.55
    floor = ((-5.2, 3.25), (-2.6, 2.25), (2.2, 2.45))
    side = [*floor, (2.7, 4.75), (-4.9, 4.35)]
    parts = []
    for y in (-rim, rim):
        parts.append(slab(side, (y - 0.08, y + 0.08), "paint", color))
        outer = y + 0.13 * np.sign(y)
        for x in (-3.8, -2.4, -1.0, 0.4, 1.8):
            low = 2.4 if x > -2.6 else 2.9
            parts.append(box((0.22, 0.22, 4.4 - low), (x, outer, (4.4 + low) / 2), "paint", color))
        parts.append(
            slab(
                [(-4.95, 4.3), (2.72, 4.72), (2.72, 4.92), (-4.95, 4.5)],
                (outer - 0.14, outer + 0.14),
                "paint",
                color,
            )
        )
    for (x0, z0), (x1, z1) in pairwise(floor):
        sheet = [(x0, z0 - 0.15), (x1, z1 - 0.15), (x1, z1 + 0.05), (x0, z0 + 0.05)]
        parts.append(slab(sheet, (-rim, rim), "paint", color))
    front = [(2.15, 2.4), (2.35, 2.4), (2.85, 4.75), (2.6, 4.75)]
    canopy = [(2.5, 4.7), (5.35, 4.95), (5.35, 5.12), (2.5, 4.92)]
    parts += [slab(front, (-rim, rim), "paint", color), slab(canopy, (-rim, rim), "paint", color)]
    if loaded:
        parts.append(
            taper((6.6, 4.9, 1.9), (2.6, 2.0), (-0.9, 0.0, 4.2), "soil", LOAD, shift=(0.4, 0.1))
        )
    return merge(parts)


def widebody_truck(rng: np.random.Generator) -> Mesh:
    """Build a wide-body dump truck: offset cab, three axles, ribbed body; about 9 × 3.5 × 4 m."""
    paint = pick(rng, (YELLOW, ORANGE, GREEN, RED, WHITE))
    tray = pick(rng, (paint, GRAY, BLACK))
    radius = 0.78
    parts = [
        wheel((x, y, radius), radius, width, GRAY)
        for x, width, offset in ((3.1, 0.5, 1.42), (-1.35, 0.95, 1.2), (-3.05, 0.95, 1.2))
        for y in (-offset, offset)
    ]
    parts += [
        box((8.4, 1.0, 0.45), (0.0, 0.0, 1.15), "steel", BLACK),
        box((1.9, 3.1, 0.9), (3.35, 0.0, 1.75), "paint", paint),
        box((0.5, 3.3, 0.5), (4.3, 0.0, 0.95), "paint", BLACK),
        box((0.1, 1.3, 0.8), (4.33, -0.75, 1.75), "steel", BLACK),
        box((1.7, 1.5, 0.75), (3.3, -0.78, 2.5), "paint", paint),
        cabin((1.75, 1.55, 1.7), (3.3, 0.75, 2.85), paint),
        box((0.9, 0.5, 0.7), (1.0, 1.3, 1.2), "steel", GRAY),
        tube((0.5, -1.35, 1.2), (1.6, -1.35, 1.2), 0.32, "steel", STEEL, sides=12),
    ]
    floor, rim, top = 1.75, 1.68, 3.25
    side = [(-4.4, floor + 0.25), (-3.6, floor), (1.9, floor), (2.1, top), (-4.3, top - 0.1)]
    for y in (-rim, rim):
        parts.append(slab(side, (y - 0.06, y + 0.06), "paint", tray))
        for x in np.linspace(-3.7, 1.7, 6):
            rib = (0.16, 0.14, top - floor - 0.1)
            place = (float(x), y + 0.1 * np.sign(y), (top + floor) / 2)
            parts.append(box(rib, place, "paint", tray))
        parts.append(box((6.4, 0.26, 0.16), (-1.1, y, top - 0.02), "paint", tray))
    canopy = [(1.9, top - 0.05), (4.0, top + 0.65), (4.0, top + 0.77), (1.9, top + 0.1)]
    parts += [
        box((6.2, 2 * rim, 0.14), (-1.1, 0.0, floor), "paint", tray),
        box((0.14, 2 * rim, top - floor), (2.0, 0.0, (top + floor) / 2), "paint", tray),
        slab(canopy, (-rim, rim), "paint", tray),
    ]
    if rng.random() < 0.5:
        parts.append(taper((5.9, 3.2, 1.9), (3.0, 1.4), (-1.1, 0.0, 2.8), "soil", LOAD))
    for y in (-1.3, 1.3):
        parts.append(box((0.08, 0.4, 0.22), (4.56, y, 1.0), "lamp", LAMP))
    scale = float(rng.uniform(0.95, 1.04))
    return merge(parts).scaled(scale, scale, scale)


def water_truck(rng: np.random.Generator) -> Mesh:
    """Build a water truck: cab over the front axle and a long tank, 9 m long."""
    paint = pick(rng, (WHITE, YELLOW, GREEN))
    parts = [
        wheel((x, y, 0.62), 0.62, width, GRAY)
        for x, width in ((3.2, 0.4), (-1.6, 0.7), (-3.0, 0.7))
        for y in (-1.15, 1.15)
    ]
    parts += [
        box((8.6, 0.9, 0.4), (0.0, 0.0, 1.05), "steel", BLACK),
        box((1.9, 2.5, 0.9), (3.5, 0.0, 1.35), "paint", paint),
        cabin((1.8, 2.4, 1.6), (3.5, 0.0, 2.5), paint),
        tube((-4.2, 0.0, 2.25), (2.2, 0.0, 2.25), 1.1, "paint", paint, sides=20),
        box((5.6, 0.5, 0.12), (-1.0, 0.0, 3.38), "steel", STEEL),
        tube((-4.5, -1.2, 1.0), (-4.5, 1.2, 1.0), 0.12, "steel", STEEL),
    ]
    for x in (-3.6, -1.0, 1.6):
        ends = ((x - 0.06, 0.0, 2.25), (x + 0.06, 0.0, 2.25))
        parts.append(tube(ends[0], ends[1], 1.14, "paint", BLUE, sides=20))
    return merge(parts)


def pickup(rng: np.random.Generator) -> Mesh:
    """Build a double-cab pickup with a light bar and a whip flag, 5.3 m long."""
    paint = pick(rng, (WHITE, WHITE, WHITE, GRAY, RED))
    parts = [
        wheel((x, y, 0.40), 0.40, 0.28, GRAY, sides=16) for x in (1.65, -1.6) for y in (-0.8, 0.8)
    ]
    hull = [(-2.6, 0.5), (2.4, 0.45), (2.62, 0.6), (2.6, 0.95), (1.2, 1.14), (-2.6, 1.12)]
    parts += [
        slab(hull, (-0.92, 0.92), "paint", paint),
        taper((2.55, 1.7, 0.6), (1.55, 1.45), (-0.02, 0, 1.42), "glass", GLASS, shift=(-0.15, 0)),
        taper((1.65, 1.5, 0.1), (1.45, 1.35), (-0.17, 0, 1.76), "paint", paint),
        box((1.25, 1.5, 0.05), (-1.95, 0.0, 1.13), "rubber", BLACK),
        box((0.1, 1.75, 0.3), (2.62, 0.0, 0.72), "steel", BLACK),
        box((0.14, 1.8, 0.18), (-2.66, 0.0, 0.55), "steel", BLACK),
        box((0.2, 1.1, 0.12), (-0.1, 0.0, 1.87), "lamp", RED),
        tube((-2.3, 0.7, 1.1), (-2.35, 0.72, 3.4), 0.025, "steel", WHITE, sides=5),
        box((0.5, 0.03, 0.34), (-2.6, 0.72, 3.2), "cloth", RED),
    ]
    for y in (-0.84, 0.84):
        for x in (0.52, -0.3, -1.02):
            lean = 0.38 if x > 0.3 else -0.2 if x < -0.9 else 0.0
            pillar = ((x + lean, y, 1.1), (x - 0.25 * (lean != 0), 0.86 * y, 1.74))
            parts.append(tube(pillar[0], pillar[1], 0.05, "paint", paint, sides=5))
        parts += [
            box((0.08, 0.36, 0.16), (2.58, 0.86 * y, 0.84), "lamp", LAMP),
            box((0.06, 0.16, 0.3), (-2.6, y, 0.92), "lamp", RED),
            box((0.12, 0.2, 0.16), (0.85, 1.28 * y, 1.2), "paint", BLACK),
        ]
    return merge(parts)


def light_mast(rng: np.random.Generator) -> Mesh:
    """Build a trailer with a telescoping light mast, 7–9 m high."""
    height = float(rng.uniform(7.0, 9.0))
    parts = [
        box((2.2, 1.2, 1.0), (0.0, 0.0, 1.0), "paint", YELLOW),
        cone((0.3, 0.0, 1.2), (0.3, 0.0, height), (0.1, 0.06), "steel", STEEL, sides=8),
        box((0.2, 2.0, 0.1), (0.3, 0.0, height), "steel", STEEL),
    ]
    for y in (-0.75, 0.75):
        parts.append(wheel((0.0, y, 0.34), 0.34, 0.2, GRAY, sides=14))
    for y in (-0.8, -0.3, 0.3, 0.8):
        parts.append(box((0.2, 0.34, 0.34), (0.45, y, height + 0.15), "lamp", LAMP))
    return merge(parts)
