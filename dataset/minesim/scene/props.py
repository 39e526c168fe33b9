"""Small objects of the mine as meshes: people, cones, signs, huts, walls, fences, poles, plants.

Every builder returns a mesh in meters that stands on z = 0 around the origin and faces +x.
"""

from itertools import pairwise

import numpy as np

from dataset.minesim.scene.machines import (
    BLACK,
    BLUE,
    GRAY,
    ORANGE,
    RED,
    STEEL,
    WHITE,
    YELLOW,
    pick,
)
from dataset.minesim.scene.materials import linear_rgb
from dataset.minesim.scene.mesh import Mesh, ball, boulder, box, cone, merge, taper, tube, wheel

_VEST = (linear_rgb(236, 96, 24), linear_rgb(206, 226, 40))
_TROUSERS = (linear_rgb(44, 52, 84), linear_rgb(60, 62, 64), linear_rgb(92, 84, 70))
_SKIN = linear_rgb(188, 138, 108)
_CONCRETE = linear_rgb(176, 174, 166)
_PLANTS = (linear_rgb(112, 116, 62), linear_rgb(134, 124, 76), linear_rgb(86, 100, 56))


def person(rng: np.random.Generator) -> Mesh:
    """Build a standing worker with helmet and hi-vis vest, 1.6–1.9 m tall."""
    vest, trousers = pick(rng, _VEST), pick(rng, _TROUSERS)
    stride = float(rng.uniform(0.02, 0.14))
    parts = []
    for side in (-1.0, 1.0):
        y = 0.10 * side
        hand = (0.16 * side * stride / 0.14 + 0.06, 0.30 * side, 0.86)
        parts += [
            cone(
                (stride * side, y, 0.05), (0.0, y, 0.88), (0.075, 0.10), "cloth", trousers, sides=8
            ),
            box((0.27, 0.1, 0.09), (stride * side + 0.05, y, 0.045), "rubber", BLACK),
            tube((0.0, 0.22 * side, 1.42), hand, 0.052, "cloth", vest, sides=8),
            ball((0.05, 0.05, 0.07), hand, "cloth", _SKIN),
        ]
    parts += [
        taper((0.22, 0.36, 0.58), (0.24, 0.44), (0.0, 0.0, 1.15), "cloth", vest),
        box((0.25, 0.42, 0.05), (0.0, 0.0, 1.08), "sign", WHITE),
        box((0.26, 0.44, 0.05), (0.0, 0.0, 1.28), "sign", WHITE),
        ball((0.10, 0.085, 0.13), (0.0, 0.0, 1.58), "cloth", _SKIN),
        ball((0.14, 0.12, 0.09), (0.01, 0.0, 1.67), "paint", pick(rng, (YELLOW, WHITE, RED))),
    ]
    scale = float(rng.uniform(1.6, 1.9)) / 1.76
    return merge(parts).scaled(scale, scale, scale)


def traffic_cone(rng: np.random.Generator) -> Mesh:
    """Build a traffic cone with white bands on a square base, 0.75–1.1 m tall."""
    body = pick(rng, (ORANGE, RED))
    parts = [box((0.62, 0.62, 0.08), (0.0, 0.0, 0.04), "rubber", BLACK)]
    edges = (0.08, 0.32, 0.46, 0.60, 0.74, 0.95)
    for k, (low, high) in enumerate(pairwise(edges)):
        radii = (0.26 - 0.21 * low, 0.26 - 0.21 * high)
        color, material = (WHITE, "sign") if k % 2 else (body, "cloth")
        parts.append(cone((0, 0, low), (0, 0, high), radii, material, color, sides=12))
    scale = float(rng.uniform(0.8, 1.15))
    return merge(parts).scaled(scale, scale, scale)


def bollard(rng: np.random.Generator) -> Mesh:
    """Build a heavy delineator block: white body, red cap, wide base; about 1.2 m tall."""
    band = pick(rng, (RED, ORANGE, BLUE))
    height = float(rng.uniform(1.0, 1.4))
    return merge(
        [
            taper((0.95, 0.95, 0.35), (0.7, 0.7), (0.0, 0.0, 0.175), "concrete", _CONCRETE),
            taper(
                (0.62, 0.62, height - 0.35), (0.36, 0.36), (0, 0, height / 2 + 0.175), "sign", WHITE
            ),
            box((0.52, 0.52, 0.2), (0.0, 0.0, height - 0.25), "sign", band),
        ]
    )


def sign_board(rng: np.random.Generator) -> Mesh:
    """Build a sign on posts that faces +x: speed limit, direction or warning sign."""
    wide = rng.random() < 0.5
    width, height = (2.2, 1.3) if wide else (0.9, 0.9)
    middle = float(rng.uniform(1.9, 2.6))
    field = pick(rng, (BLUE, YELLOW, WHITE, linear_rgb(30, 120, 70)))
    ink = WHITE if field != WHITE else RED
    parts = [
        box((0.05, width, height), (0.0, 0.0, middle), "sign", field),
        box((0.03, 0.8 * width, 0.16 * height), (0.035, 0.0, middle + 0.2 * height), "sign", ink),
        box((0.03, 0.55 * width, 0.14 * height), (0.035, 0.0, middle - 0.15 * height), "sign", ink),
    ]
    for y in (-0.35 * width, 0.35 * width) if wide else (0.0,):
        parts.append(tube((-0.06, y, 0.0), (-0.06, y, middle + height / 2), 0.05, "steel", STEEL))
    return merge(parts)


def stone(rng: np.random.Generator) -> Mesh:
    """Build a fallen rock, 0.3–1.2 m across, a third of it in the ground."""
    size = float(np.exp(rng.uniform(np.log(0.18), np.log(0.62))))
    shape = rng.uniform(0.7, 1.25, size=3) * size
    tint = float(rng.uniform(0.8, 1.1))
    color = tuple(tint * c for c in linear_rgb(164, 156, 140))
    rock = boulder(rng, (shape[0], shape[1], 0.8 * shape[2]), (color[0], color[1], color[2]))
    return rock.moved(0.0, 0.0, 0.4 * shape[2])


def hut(rng: np.random.Generator) -> Mesh:
    """Build a container office with door and windows, 6–12 m long."""
    length = float(rng.choice([6.0, 9.0, 12.0]))
    wall = pick(rng, (WHITE, BLUE, GRAY))
    parts = [
        box((length, 2.5, 2.6), (0.0, 0.0, 1.45), "paint", wall),
        box((length + 0.3, 2.8, 0.15), (0.0, 0.0, 2.82), "steel", GRAY),
        box((length, 2.3, 0.2), (0.0, 0.0, 0.1), "concrete", _CONCRETE),
    ]
    for y in (-1.25, 1.25):
        for x in np.arange(-length / 2 + 1.2, length / 2 - 0.8, 2.4):
            parts.append(box((1.1, 0.06, 0.9), (float(x), y, 1.75), "glass", STEEL))
        parts.append(box((0.9, 0.07, 2.0), (length / 2 - 0.7, y, 1.2), "paint", STEEL))
    return merge(parts)


def block_wall(rng: np.random.Generator) -> Mesh:
    """Build a retaining wall of concrete blocks along x, 8–14 m long, one or two courses high."""
    count, courses = int(rng.integers(4, 8)), int(rng.integers(1, 3))
    parts = []
    for course in range(courses):
        for k in range(count - course):
            x = 2.0 * (k - (count - course - 1) / 2)
            size = (1.94, 0.9, 0.95)
            parts.append(box(size, (x, 0.0, 0.475 + 0.96 * course), "concrete", _CONCRETE))
    return merge(parts)


def fence(rng: np.random.Generator) -> Mesh:
    """Build a fence along x of posts, rails and a mesh panel, 12–20 m long."""
    bays = int(rng.integers(5, 9))
    parts = []
    for k in range(bays + 1):
        x = 2.4 * (k - bays / 2)
        parts.append(tube((x, 0.0, 0.0), (x, 0.0, 1.7), 0.05, "steel", WHITE, sides=6))
    for z in (0.25, 0.6, 0.95, 1.3, 1.62):
        parts.append(box((2.4 * bays, 0.05, 0.05), (0.0, 0.0, z), "steel", STEEL))
    return merge(parts)


def power_pole(rng: np.random.Generator) -> Mesh:
    """Build a power pole with a cross-arm along y, 9–11 m high."""
    height = float(rng.uniform(9.0, 11.0))
    parts = [
        cone((0.0, 0.0, 0.0), (0.0, 0.0, height), (0.17, 0.11), "concrete", _CONCRETE, sides=8),
        box((0.12, 2.2, 0.12), (0.0, 0.0, height - 0.6), "steel", STEEL),
    ]
    for y in (-1.0, 0.0, 1.0):
        parts.append(
            tube((0, y, height - 0.55), (0, y, height - 0.2), 0.05, "paint", WHITE, sides=6)
        )
    return merge(parts)


def tuft(rng: np.random.Generator) -> Mesh:
    """Build a tuft of dry grass: a few leaning blades."""
    color = pick(rng, _PLANTS)
    parts = []
    for _ in range(9):
        angle, lean = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.25)
        height = float(rng.uniform(0.12, 0.38))
        foot = 0.1 * rng.normal(size=2)
        tip = foot + lean * np.array([np.cos(angle), np.sin(angle)])
        blade = (float(foot[0]), float(foot[1]), 0.0), (float(tip[0]), float(tip[1]), height)
        parts.append(cone(blade[0], blade[1], (0.03, 0.006), "plant", color, sides=4))
    return merge(parts)


def worn_tire(rng: np.random.Generator) -> Mesh:
    """Build a worn haul truck tire lying on its side."""
    radius = float(rng.uniform(0.8, 1.2))
    lying = wheel((0.0, 0.0, 0.0), radius, 0.7, BLACK).turned("x", np.pi / 2)
    return lying.moved(0.0, 0.0, 0.38)
