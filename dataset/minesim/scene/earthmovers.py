"""Earthmoving machines as meshes: excavator, wheel loader, dozer, grader, roller.

Every builder returns a mesh in meters that stands on z = 0 around the origin and faces +x.
"""

import numpy as np
from jaxtyping import Float

from dataset.minesim.scene.machines import (
    BLACK,
    BLUE,
    GRAY,
    LAMP,
    ORANGE,
    RED,
    STEEL,
    WHITE,
    YELLOW,
    cabin,
    pick,
    railing,
)
from dataset.minesim.scene.materials import Color
from dataset.minesim.scene.mesh import Mesh, box, merge, slab, taper, tube, wheel


def crawler(length: float, height: float, width: float, y: float) -> Mesh:
    """Build one crawler track: shoes, rollers and frame."""
    half, low = length / 2, 0.3 * height
    shoe = [
        (-half + low, 0.0),
        (half - low, 0.0),
        (half, 0.5 * height),
        (half - low, height),
        (-half + low, height),
        (-half, 0.5 * height),
    ]
    parts = [slab(shoe, (y - width / 2, y + width / 2), "steel", BLACK)]
    for x in np.linspace(-half + 0.5 * height, half - 0.5 * height, 6):
        ends = (
            (float(x), y - 0.56 * width, 0.45 * height),
            (float(x), y + 0.56 * width, 0.45 * height),
        )
        parts.append(tube(ends[0], ends[1], 0.24 * height, "steel", STEEL, sides=10))
    for x in np.arange(-half + 0.3, half - 0.2, 0.45):
        parts.append(box((0.1, width, 0.06), (float(x), y, height + 0.03), "steel", STEEL))
    return merge(parts)


def beam(
    points: Float[np.ndarray, "K 2"],
    depths: tuple[float, ...],
    width: float,
    color: Color,
    y: float = 0.0,
) -> Mesh:
    """Build a bent girder through points (x, z), with its depth [m] at each point."""
    parts = []
    for k in range(len(points) - 1):
        along = points[k + 1] - points[k]
        normal = np.array([-along[1], along[0]]) / np.linalg.norm(along)
        corners = [
            points[k] - normal * depths[k] / 2,
            points[k + 1] - normal * depths[k + 1] / 2,
            points[k + 1] + normal * depths[k + 1] / 2,
            points[k] + normal * depths[k] / 2,
        ]
        outline = [(float(c[0]), float(c[1])) for c in corners]
        parts.append(slab(outline, (y - width / 2, y + width / 2), "paint", color))
    return merge(parts)


def _polar(
    start: Float[np.ndarray, "2"], length: float, angle_rad: float
) -> Float[np.ndarray, "2"]:
    return start + length * np.array([np.cos(angle_rad), np.sin(angle_rad)])


def excavator(rng: np.random.Generator) -> Mesh:
    """Build a mining excavator: crawlers, rotated house (about 6 m), boom, stick and bucket."""
    paint = pick(rng, (YELLOW, YELLOW, ORANGE))
    arm = pick(rng, (BLACK, BLACK, paint))
    under = merge(
        [
            crawler(6.0, 1.25, 0.8, 1.75),
            crawler(6.0, 1.25, 0.8, -1.75),
            box((3.0, 3.0, 0.7), (0.0, 0.0, 0.9), "steel", BLACK),
            tube((0.0, 0.0, 1.1), (0.0, 0.0, 1.6), 1.3, "steel", BLACK, sides=20),
        ]
    )
    house = merge(
        [
            box((5.4, 3.5, 0.45), (-0.9, 0.0, 1.8), "paint", BLACK),
            box((3.9, 3.5, 1.5), (-1.4, 0.0, 2.75), "paint", paint),
            taper((1.0, 3.5, 1.5), (0.7, 3.1), (-3.6, 0, 2.7), "paint", GRAY, shift=(0.15, 0)),
            box((1.2, 1.1, 1.2), (1.1, -1.15, 2.6), "paint", paint),
            cabin((1.9, 1.25, 2.3), (0.95, 1.15, 3.2), paint),
            railing(((-3.2, -1.65), (0.4, -1.65)), 3.5, 0.8),
            railing(((-3.2, 1.65), (-0.2, 1.65)), 3.5, 0.8),
            tube((-2.2, -0.8, 3.4), (-2.2, -0.8, 4.3), 0.14, "steel", BLACK),
            box((0.12, 0.5, 0.2), (1.9, 1.15, 4.42), "lamp", LAMP),
            _arm(rng, arm),
        ]
    )
    house = house.turned("z", float(rng.uniform(-0.9, 0.9)))
    scale = float(rng.uniform(0.95, 1.25))
    return merge([under, house]).scaled(scale, scale, scale)


def _arm(rng: np.random.Generator, color: Color) -> Mesh:
    """Build the boom, stick, bucket and hydraulic cylinders in the plane y = 0."""
    raised = float(rng.uniform(0.75, 1.15))
    foot = np.array([1.0, 2.4])
    knee = _polar(foot, 3.2, raised)
    head = _polar(knee, 3.3, raised - 0.75)
    dipped = raised - float(rng.uniform(1.9, 2.4))
    back, wrist = _polar(head, -0.9, dipped), _polar(head, 3.2, dipped)
    middle = (knee + foot) / 2
    parts = [
        beam(np.stack([foot, knee, head]), (0.75, 1.05, 0.55), 0.75, color),
        beam(np.stack([back, head, wrist]), (0.5, 0.8, 0.4), 0.5, color),
        _bucket(rng).turned("y", -(dipped + 0.5)).moved(wrist[0], 0.0, wrist[1]),
    ]
    for y in (-0.55, 0.55):
        ram = ((1.9, y, 2.0), (middle[0] + 0.5, y, middle[1] + 0.2))
        parts.append(tube(ram[0], ram[1], 0.13, "steel", STEEL))
    top = (knee[0], 0.0, knee[1] + 0.55)
    parts.append(tube(top, (back[0], 0.0, back[1]), 0.13, "steel", STEEL))
    return merge(parts)


def _bucket(rng: np.random.Generator) -> Mesh:
    """Build a backhoe bucket that hangs from the origin: shell, side plates and teeth."""
    width = float(rng.uniform(1.7, 2.1))
    shell = np.array([[-0.2, 0.3], [0.9, 0.25], [1.45, -0.25], [1.3, -0.95], [0.6, -1.25]])
    parts = [beam(shell, (0.12,) * 5, width, STEEL)]
    cheek = [(-0.2, 0.3), (0.6, -1.25), (1.3, -0.95), (1.45, -0.25), (0.9, 0.25)]
    for y in (-width / 2, width / 2):
        parts.append(slab(cheek, (y - 0.05, y + 0.05), "steel", STEEL))
    for y in np.linspace(-width / 2 + 0.15, width / 2 - 0.15, 5):
        parts.append(box((0.4, 0.14, 0.12), (0.4, float(y), -1.3), "steel", GRAY))
    return merge(parts)


def wheel_loader(rng: np.random.Generator) -> Mesh:
    """Build an articulated wheel loader with its bucket in front, 8.5 m long."""
    paint = pick(rng, (YELLOW, YELLOW, ORANGE))
    radius = 0.95
    lift = float(rng.uniform(0.0, 0.9))
    rear = merge(
        [
            *(wheel((-1.9, y, radius), radius, 0.7, paint) for y in (-1.15, 1.15)),
            box((3.6, 1.2, 0.7), (-1.9, 0.0, 1.2), "steel", BLACK),
            taper((2.6, 1.9, 1.1), (2.3, 1.6), (-2.6, 0, 2.0), "paint", paint, shift=(0.15, 0)),
            box((0.5, 2.0, 0.9), (-3.8, 0.0, 1.3), "paint", GRAY),
            box((0.08, 1.3, 0.7), (-3.94, 0.0, 2.0), "steel", BLACK),
            cabin((1.5, 1.5, 1.8), (-0.5, 0.0, 2.75), paint),
            box((1.4, 1.5, 0.6), (-0.5, 0.0, 1.7), "paint", paint),
            tube((-1.9, 0.5, 2.5), (-1.9, 0.5, 3.3), 0.09, "steel", BLACK),
            *(box((1.7, 0.75, 0.12), (-1.9, y, 2.0), "paint", paint) for y in (-1.2, 1.2)),
        ]
    )
    bucket_z, hinge = 0.75 + lift, np.array([0.9, 2.0])
    tip = np.array([3.5, bucket_z])
    elbow = (hinge + tip) / 2 + np.array([0.1, 0.35])
    front = merge(
        [
            *(wheel((1.5, y, radius), radius, 0.7, paint) for y in (-1.15, 1.15)),
            box((2.0, 1.1, 1.2), (1.1, 0.0, 1.35), "paint", paint),
            *(
                beam(np.stack([hinge, elbow, tip]), (0.35, 0.5, 0.4), 0.28, paint, y)
                for y in (-0.62, 0.62)
            ),
            tube((1.2, 0.0, 2.0), (3.2, 0.0, bucket_z + 0.7), 0.12, "steel", STEEL),
            _scoop(3.3).moved(3.6, 0.0, bucket_z - 0.55),
            *(box((0.1, 0.3, 0.22), (1.9, y, 2.2), "lamp", LAMP) for y in (-0.7, 0.7)),
        ]
    )
    front = front.turned("z", float(rng.uniform(-0.45, 0.45)), (0.0, 0.0, 0.0))
    scale = float(rng.uniform(0.95, 1.2))
    return merge([rear, front]).scaled(scale, scale, scale)


def _scoop(width: float) -> Mesh:
    """Build a loader bucket that opens forward and stands on z = 0."""
    shell = np.array([[0.1, 1.3], [-0.15, 0.75], [0.05, 0.2], [0.45, 0.05], [1.4, 0.05]])
    parts = [beam(shell, (0.1,) * 5, width, STEEL)]
    cheek = [(-0.15, 0.75), (0.05, 0.2), (0.45, 0.05), (1.3, 0.05), (0.1, 1.3)]
    for y in (-width / 2, width / 2):
        parts.append(slab(cheek, (y - 0.05, y + 0.05), "steel", STEEL))
    for y in np.linspace(-width / 2 + 0.15, width / 2 - 0.15, 7):
        parts.append(box((0.3, 0.12, 0.09), (1.5, float(y), 0.05), "steel", GRAY))
    return merge(parts)


def dozer(rng: np.random.Generator) -> Mesh:
    """Build a crawler dozer with blade and ripper, 7 m long."""
    paint = pick(rng, (YELLOW, YELLOW, ORANGE))
    blade_z = float(rng.uniform(0.0, 0.35))
    curve = np.array([[3.3, 1.6], [3.05, 1.1], [3.05, 0.55], [3.35, 0.05]])
    curve[:, 1] += blade_z
    parts = [
        crawler(4.6, 1.15, 0.65, 1.15),
        crawler(4.6, 1.15, 0.65, -1.15),
        box((4.4, 1.7, 0.9), (0.0, 0.0, 1.15), "paint", BLACK),
        box((2.0, 1.5, 1.0), (1.2, 0.0, 1.95), "paint", paint),
        box((0.08, 1.2, 0.8), (2.22, 0.0, 1.95), "steel", BLACK),
        box((1.2, 2.2, 0.7), (-1.5, 0.0, 1.75), "paint", paint),
        cabin((1.6, 1.6, 1.7), (-0.7, 0.0, 2.85), paint),
        tube((1.4, 0.4, 2.4), (1.4, 0.4, 3.2), 0.09, "steel", BLACK),
        beam(curve, (0.14,) * 4, 4.0, paint),
        beam(np.array([[-2.2, 1.4], [-3.2, 1.3], [-3.4, 0.3]]), (0.3, 0.3, 0.15), 0.4, STEEL),
    ]
    for y in (-1.6, 1.6):
        parts.append(tube((0.3, y, 0.6), (3.0, y, 0.5 + blade_z), 0.14, "paint", paint))
    for y in (-0.5, 0.5):
        parts.append(tube((1.8, y, 1.8), (3.0, y, 1.2 + blade_z), 0.09, "steel", STEEL))
    scale = float(rng.uniform(0.95, 1.2))
    return merge(parts).scaled(scale, scale, scale)


def grader(rng: np.random.Generator) -> Mesh:
    """Build a motor grader: six wheels, long nose, blade under the frame, 9 m long."""
    paint = pick(rng, (YELLOW, YELLOW, ORANGE))
    parts = [wheel((x, y, 0.7), 0.7, 0.45, paint) for x in (3.9, -1.6, -3.1) for y in (-1.0, 1.0)]
    parts += [
        beam(np.array([[4.1, 1.5], [2.8, 2.1], [-0.6, 2.0]]), (0.4, 0.45, 0.6), 0.45, paint),
        box((0.4, 2.0, 0.3), (3.9, 0.0, 0.9), "steel", BLACK),
        box((2.7, 1.5, 1.1), (-2.7, 0.0, 1.75), "paint", paint),
        box((0.08, 1.2, 0.8), (-4.08, 0.0, 1.75), "steel", BLACK),
        cabin((1.5, 1.5, 1.9), (-0.6, 0.0, 2.6), paint),
        tube((-2.4, 0.4, 2.2), (-2.4, 0.4, 3.0), 0.08, "steel", BLACK),
        tube((1.4, 0.0, 0.85), (1.4, 0.0, 1.05), 0.85, "steel", STEEL, sides=16),
        box((0.15, 3.9, 0.65), (1.3, 0.0, 0.45), "steel", STEEL).turned("z", 0.5, (1.3, 0, 0)),
        box((0.15, 2.6, 0.5), (4.75, 0.0, 0.7), "paint", paint),
    ]
    return merge(parts)


def roller(rng: np.random.Generator) -> Mesh:
    """Build a soil compactor: smooth drum in front, driven wheels behind, 6 m long."""
    paint = pick(rng, (YELLOW, ORANGE, WHITE, RED, BLUE))
    parts = [
        tube((1.7, -1.05, 0.78), (1.7, 1.05, 0.78), 0.78, "steel", STEEL, sides=24),
        *(box((2.2, 0.16, 0.4), (1.5, y, 0.95), "paint", paint) for y in (-1.2, 1.2)),
        box((0.2, 2.5, 0.4), (2.65, 0.0, 0.95), "paint", paint),
        box((0.2, 2.5, 0.5), (0.55, 0.0, 1.0), "paint", paint),
        *(wheel((-1.5, y, 0.75), 0.75, 0.5, paint) for y in (-0.85, 0.85)),
        taper((2.2, 1.6, 0.9), (1.9, 1.4), (-1.8, 0.0, 1.6), "paint", paint),
        box((1.2, 1.4, 0.5), (-0.2, 0.0, 1.2), "paint", BLACK),
        cabin((1.3, 1.5, 1.7), (-0.3, 0.0, 2.25), paint),
    ]
    return merge(parts)
