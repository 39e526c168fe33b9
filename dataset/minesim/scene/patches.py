"""Surfaces that only look different: mud, water, oil and gravel on the ground.

They change color, film and, for mud, the class of ground faces. Geometry and material stay, so
the LiDAR hardly tells them apart: a film takes a tenth of its intensity.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from dataset.minesim.scene.ground import DRIVEABLE, MUDDY, TERRAIN
from dataset.minesim.scene.materials import Color, linear_rgb, material_index
from dataset.minesim.scene.mesh import Mesh
from dataset.minesim.scene.noise import Noise

_GROUND = tuple(material_index(name) for name in ("soil", "road"))
_LEVEL_COS = 0.96
"""Least vertical component of the normal of a face that a patch may cover."""
_WET_SHADE = 0.5
"""How much darker wet ground is than dry ground."""


@dataclass(frozen=True)
class Surface:
    """Look and class of the faces of a mesh.

    Attributes:
        mesh: The mesh, which does not change.
        label: Class of each face.
        color: Linear RGB albedo of each face.
        film: Share of each face that water or oil covers, 0–1.
    """

    mesh: Mesh
    label: UInt8[np.ndarray, "F"]
    color: Float[np.ndarray, "F 3"]
    film: Float32[np.ndarray, "F"]


@dataclass(frozen=True)
class Patch:
    """A kind of patch.

    Attributes:
        colors: Albedos to choose from; none to darken the ground below.
        opacity: How much of the ground below the patch hides, 0–1.
        film: Share of the patch that water or oil covers, 0–1.
        radius_m: Range of its radius across the road [m].
        per_100_m: Mean number along 100 m of road.
        label: Class of its faces; None keeps that of the ground.
    """

    colors: tuple[Color, ...]
    opacity: float
    film: float
    radius_m: tuple[float, float]
    per_100_m: float
    label: int | None = None


PATCHES = {
    "gravel": Patch(
        (linear_rgb(150, 112, 92), linear_rgb(104, 106, 112), linear_rgb(212, 204, 186)),
        opacity=0.8,
        film=0.0,
        radius_m=(2.0, 6.0),
        per_100_m=4.0,
    ),
    "water": Patch((), opacity=1.0, film=0.7, radius_m=(1.5, 5.0), per_100_m=4.0),
    "mud": Patch(
        (linear_rgb(96, 76, 56), linear_rgb(78, 66, 54)),
        opacity=0.95,
        film=0.12,
        radius_m=(1.2, 3.5),
        per_100_m=4.0,
        label=MUDDY,
    ),
    "oil": Patch(
        (linear_rgb(30, 28, 32),), opacity=0.85, film=0.7, radius_m=(0.6, 1.8), per_100_m=2.5
    ),
}
"""All kinds, in the order in which they are laid over each other."""


def dry_surface(mesh: Mesh, label: UInt8[np.ndarray, "F"]) -> Surface:
    """Return the surface of a mesh without patches."""
    return Surface(mesh, label, mesh.face_color, np.zeros(len(label), dtype=np.float32))


def add_patches(
    surface: Surface, path_m: Float[np.ndarray, "T 3"], rng: np.random.Generator
) -> Surface:
    """Lay patches on level ground along a drive.

    Args:
        surface: The surface.
        path_m: Positions of the drive, world frame [m].
        rng: Random generator.
    """
    mesh = surface.mesh
    faces = np.flatnonzero(_is_open_ground(mesh, surface.label))
    center = _centers(mesh, faces)
    noise = Noise(rng)
    steps = np.linalg.norm(np.diff(path_m[:, :2], axis=0), axis=1)
    traveled = np.concatenate([[0.0], np.cumsum(steps)])
    heading = path_m[-1, :2] - path_m[0, :2]
    heading = heading / max(float(np.linalg.norm(heading)), 1e-9)
    label, color = surface.label.copy(), surface.color.copy()
    film = surface.film.copy()
    stretch_m = traveled[-1] + 70.0
    for patch in PATCHES.values():
        for _ in range(int(rng.poisson(patch.per_100_m * stretch_m / 100.0))):
            station = float(rng.uniform(4.0, stretch_m))
            xy = np.array([np.interp(station, traveled, path_m[:, k]) for k in range(2)])
            xy += max(station - traveled[-1], 0.0) * heading
            xy += float(rng.uniform(-10.0, 16.0)) * np.array([-heading[1], heading[0]])
            share, near = _cover(rng, patch, center - xy.astype(np.float32), noise, heading)
            index = faces[near]
            tint = _tint(rng, patch, color[index])
            weight = (patch.opacity * share)[:, None]
            color[index] = color[index] * (1.0 - weight) + tint * weight
            film[index] = film[index] * (1.0 - share) + patch.film * share
            if patch.label is not None:
                label[index[share > 0.5]] = patch.label
    return replace(surface, label=label, color=color.astype(np.float32), film=film)


def add_rain(surface: Surface, rng: np.random.Generator) -> Surface:
    """Wet the whole ground as after rain: darker, with a film that is thicker in places."""
    mesh = surface.mesh
    is_ground = np.isin(mesh.face_material, [*_GROUND, material_index("rock")])
    faces = np.flatnonzero(is_ground)
    x, y = _centers(mesh, faces).T
    depth = Noise(rng).fractal(x, y, 14.0, 3, gain=0.6)
    upward = np.clip(5.0 * _normal_z(mesh, faces) - 4.0, 0.0, 1.0)
    film, color = surface.film.copy(), surface.color.copy()
    film[faces] = np.maximum(film[faces], upward * np.clip(0.30 + 1.5 * depth, 0.05, 1.0))
    wet = np.clip(0.85 + 0.4 * depth, 0.5, 1.0)
    color[faces] *= (1.0 - _WET_SHADE * wet)[:, None].astype(np.float32)
    return replace(surface, color=color, film=film)


def _is_open_ground(mesh: Mesh, label: UInt8[np.ndarray, "F"]) -> Bool[np.ndarray, "F"]:
    """Return which faces are level ground without anything on it."""
    found = np.isin(mesh.face_material, _GROUND) & np.isin(label, (DRIVEABLE, TERRAIN))
    faces = np.flatnonzero(found)
    found[faces] = _normal_z(mesh, faces) > _LEVEL_COS
    return found


def _centers(mesh: Mesh, faces: np.ndarray) -> Float32[np.ndarray, "M 2"]:
    """Return the centers of faces in the plane, world frame [m]."""
    return mesh.vertices[:, :2][mesh.faces[faces]].mean(axis=1).astype(np.float32)


def _normal_z(mesh: Mesh, faces: np.ndarray) -> Float[np.ndarray, "M"]:
    """Return the vertical component of the normals of faces."""
    first, second, third = (mesh.vertices[mesh.faces[faces, corner]] for corner in range(3))
    normal = np.cross(second - first, third - first)
    return normal[:, 2] / np.maximum(np.linalg.norm(normal, axis=1), 1e-20)


def _cover(
    rng: np.random.Generator,
    patch: Patch,
    offset: Float32[np.ndarray, "N 2"],
    noise: Noise,
    heading: Float[np.ndarray, "2"],
) -> tuple[Float[np.ndarray, "M"], np.ndarray]:
    """Return how much of the nearby faces a patch covers, 0–1, and their indices."""
    across = float(rng.uniform(*patch.radius_m))
    along = across * float(rng.uniform(1.0, 2.5))
    shift = rng.uniform(0.0, 1000.0, size=2)
    near = np.flatnonzero((np.abs(offset) < 1.6 * along).all(axis=1))
    x, y = offset[near].T
    radius = np.hypot(
        (x * heading[0] + y * heading[1]) / along, (y * heading[0] - x * heading[1]) / across
    )
    radius = radius + 0.8 * noise.fractal(x + shift[0], y + shift[1], 1.3 * across, 4, gain=0.6)
    return np.clip((1.0 - radius) / 0.25, 0.0, 1.0), near


def _tint(
    rng: np.random.Generator, patch: Patch, below: Float[np.ndarray, "M 3"]
) -> Float[np.ndarray, "M 3"]:
    """Return the color of a patch; it keeps some of the mottling of the ground below."""
    if not patch.colors:
        return below * (1.0 - _WET_SHADE)
    color = np.array(patch.colors[int(rng.integers(len(patch.colors)))])
    gray = below.mean(axis=1, keepdims=True)
    return color * (0.6 + 0.4 * gray / max(float(gray.mean()) if len(gray) else 1.0, 1e-3))
