"""A small mesh toolkit: boxes, tapered boxes, cylinders, prisms and boulders.

Every solid is closed, and its faces are counterclockwise seen from outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, UInt8

from dataset.minesim.scene.materials import Color, material_index

Pair = tuple[float | int, float | int]
Vector = tuple[float | int, float | int, float | int]


@dataclass(frozen=True)
class Mesh:
    """Triangles with a material and a color each.

    Attributes:
        vertices: Vertex positions [m].
        faces: Vertex indices of each triangle.
        face_material: Index into ``MATERIALS``.
        face_color: Linear (not sRGB) RGB albedo, 0–1.
    """

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    face_material: UInt8[np.ndarray, "F"]
    face_color: Float[np.ndarray, "F 3"]

    def transformed(self, dst_from_src: Float[np.ndarray, "4 4"]) -> "Mesh":
        """Return the mesh in another frame."""
        moved = self.vertices @ dst_from_src[:3, :3].T + dst_from_src[:3, 3]
        return replace(self, vertices=moved)

    def moved(self, x: float, y: float, z: float) -> "Mesh":
        """Return the mesh translated by (x, y, z) [m]."""
        return replace(self, vertices=self.vertices + np.array([x, y, z]))

    def turned(self, axis: str, angle_rad: float, about: Vector = (0.0, 0.0, 0.0)) -> "Mesh":
        """Return the mesh rotated about the axis "x", "y" or "z" through a point."""
        pivot = np.array(about)
        rotation = axis_rotation(axis, angle_rad)
        return replace(self, vertices=(self.vertices - pivot) @ rotation.T + pivot)

    def scaled(self, x: float, y: float, z: float) -> "Mesh":
        """Return the mesh scaled along the axes by positive factors."""
        return replace(self, vertices=self.vertices * np.array([x, y, z]))

    def bounds(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Return the lower and upper corners of the bounding box [m]."""
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

    def volume(self) -> float:
        """Return the signed volume [m³]; positive if the faces point outward."""
        corners = self.vertices[self.faces]
        return float((corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum() / 6.0)


def axis_rotation(axis: str, angle_rad: float) -> Float[np.ndarray, "3 3"]:
    """Return the right-handed rotation about "x", "y" or "z".

    Raises:
        ValueError: If the axis is not one of these.
    """
    if axis not in {"x", "y", "z"}:
        raise ValueError(f"axis must be 'x', 'y' or 'z', got '{axis}'")
    first = {"x": 1, "y": 2, "z": 0}[axis]
    second = (first + 1) % 3
    rotation = np.eye(3)
    rotation[first, first] = rotation[second, second] = np.cos(angle_rad)
    rotation[second, first] = np.sin(angle_rad)
    rotation[first, second] = -np.sin(angle_rad)
    return rotation


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """Merge meshes into one.

    Raises:
        ValueError: If there are no meshes.
    """
    if not meshes:
        raise ValueError("merge needs at least one mesh")
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]),
        np.concatenate([mesh.face_material for mesh in meshes]),
        np.concatenate([mesh.face_color for mesh in meshes]),
    )


def solid(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], material: str, color: Color
) -> Mesh:
    """Build a mesh of a single material and color."""
    count = len(faces)
    return Mesh(
        np.asarray(vertices, dtype=np.float64),
        np.asarray(faces, dtype=np.int32),
        np.full(count, material_index(material), dtype=np.uint8),
        np.tile(np.asarray(color, dtype=np.float32), (count, 1)),
    )


_BOX_FACES = np.array(
    [
        [0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4],
        [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7],
    ]
)  # fmt: skip


def box(size: Vector, center: Vector, material: str, color: Color) -> Mesh:
    """Build a box of (length, width, height) around a center [m]."""
    return taper(size, size[:2], center, material, color)


def taper(
    size: Vector,
    top: Pair,
    center: Vector,
    material: str,
    color: Color,
    *,
    shift: Pair = (0.0, 0.0),
) -> Mesh:
    """Build a box whose top face measures (length, width) and is moved by ``shift`` (x, y) [m]."""
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    vertices = np.empty((8, 3))
    vertices[:4, :2] = corners * size[:2]
    vertices[4:, :2] = corners * top + shift
    vertices[:4, 2], vertices[4:, 2] = -size[2] / 2, size[2] / 2
    return solid(vertices + np.array(center), _BOX_FACES, material, color)


def slab(
    outline_xz: Sequence[Pair],
    y: Pair,
    material: str,
    color: Color,
) -> Mesh:
    """Sweep a convex outline (x, z), counterclockwise seen from −y, from y[0] to y[1] [m]."""
    outline = np.asarray(outline_xz, dtype=np.float64)
    count = len(outline)
    vertices = np.empty((2 * count, 3))
    vertices[:, [0, 2]] = np.concatenate([outline, outline])
    vertices[:count, 1], vertices[count:, 1] = y
    here = np.arange(count)
    after = (here + 1) % count
    inner = here[1:-1]
    zero = np.zeros_like(inner)
    faces = [
        np.stack([zero, inner, inner + 1], axis=1),
        np.stack([zero, inner + 1, inner], axis=1) + count,
        np.stack([here, here + count, after], axis=1),
        np.stack([after, here + count, after + count], axis=1),
    ]
    return solid(vertices, np.concatenate(faces), material, color)


def tube(
    start: Vector, end: Vector, radius: float, material: str, color: Color, *, sides: int = 8
) -> Mesh:
    """Build a closed cylinder between two points [m]."""
    return cone(start, end, (radius, radius), material, color, sides=sides)


def cone(
    start: Vector,
    end: Vector,
    radii: Pair,
    material: str,
    color: Color,
    *,
    sides: int = 12,
) -> Mesh:
    """Build a closed cone frustum between two points, with a radius [m] at each."""
    first, last = np.array(start, dtype=np.float64), np.array(end, dtype=np.float64)
    along = (last - first) / np.linalg.norm(last - first)
    helper = np.eye(3)[np.argmin(np.abs(along))]
    u = np.cross(along, helper)
    u /= np.linalg.norm(u)
    v = np.cross(along, u)
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v
    vertices = np.concatenate([first + radii[0] * ring, last + radii[1] * ring, [first, last]])
    here = np.arange(sides)
    after = (here + 1) % sides
    faces = [
        np.stack([here, after, after + sides], axis=1),
        np.stack([here, after + sides, here + sides], axis=1),
        np.stack([np.full(sides, 2 * sides), after, here], axis=1),
        np.stack([np.full(sides, 2 * sides + 1), here + sides, after + sides], axis=1),
    ]
    return solid(vertices, np.concatenate(faces), material, color)


def wheel(
    center: Vector, radius: float, width: float, hub_color: Color, *, sides: int = 18
) -> Mesh:
    """Build a tire with its axle along y and a hub that shows on both sides."""
    x, y, z = center
    half = width / 2
    tire = cone((x, y - half, z), (x, y + half, z), (radius, radius), "rubber", _TIRE, sides=sides)
    hub = tube(
        (x, y - half - 0.03, z),
        (x, y + half + 0.03, z),
        0.48 * radius,
        "paint",
        hub_color,
        sides=12,
    )
    return merge([tire, hub])


_TIRE: Color = (0.045, 0.045, 0.048)


def ball(radius: Vector, center: Vector, material: str, color: Color) -> Mesh:
    """Build an ellipsoid of 80 triangles with semi-axes ``radius`` [m]."""
    vertices, faces = _sphere()
    return solid(vertices * np.array(radius) + np.array(center), faces, material, color)


def boulder(rng: np.random.Generator, size: Vector, color: Color, material: str = "rock") -> Mesh:
    """Build a fractured rock with semi-axes ``size`` [m] around the origin."""
    vertices, faces = _sphere()
    cuts = rng.normal(size=(9, 3))
    cuts /= np.linalg.norm(cuts, axis=1, keepdims=True)
    depth = rng.uniform(0.55, 0.85, size=9)
    # Fracture faces: push whatever lies beyond a cutting plane back onto it.
    for normal, limit in zip(cuts, depth, strict=True):
        beyond = np.maximum(vertices @ normal - limit, 0.0)
        vertices = vertices - beyond[:, None] * normal
    stone = solid(vertices * np.array(size), faces, material, color)
    shade = rng.uniform(0.85, 1.1, size=(len(faces), 1)).astype(np.float32)
    return replace(stone, face_color=np.clip(stone.face_color * shade, 0.0, 1.0))


def _sphere() -> tuple[Float[np.ndarray, "42 3"], Int[np.ndarray, "80 3"]]:
    """Build an icosahedron with every triangle split in four."""
    golden = (1 + 5**0.5) / 2
    base = [
        (-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0),
        (0, -1, golden), (0, 1, golden), (0, -1, -golden), (0, 1, -golden),
        (golden, 0, -1), (golden, 0, 1), (-golden, 0, -1), (-golden, 0, 1),
    ]  # fmt: skip
    triangles = [
        (0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4),
        (11, 10, 2), (10, 7, 6), (7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8),
        (3, 8, 9), (4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1),
    ]  # fmt: skip
    points = [np.array(p, dtype=np.float64) for p in base]
    middle: dict[tuple[int, int], int] = {}

    def between(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in middle:
            points.append((points[a] + points[b]) / 2)
            middle[key] = len(points) - 1
        return middle[key]

    faces = []
    for a, b, c in triangles:
        ab, bc, ca = between(a, b), between(b, c), between(c, a)
        faces += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    vertices = np.array(points)
    return vertices / np.linalg.norm(vertices, axis=1, keepdims=True), np.array(faces)
