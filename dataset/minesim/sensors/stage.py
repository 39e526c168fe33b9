"""Stage: a world prepared for the sensors, with per-face lookup tables."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from dataset.minesim.scene.materials import MATERIALS
from dataset.minesim.scene.world import World
from dataset.minesim.sensors.raycast import Caster
from dataset.minesim.sensors.rig import ego_truck

_FILM_LOSS = 0.1
"""Share of the LiDAR's light that a film of water or oil takes."""


@dataclass(frozen=True)
class Stage:
    """A world and its lookup tables.

    Attributes:
        world: The world.
        caster: Ray casting against the world's mesh.
        ego_shadow: Ray casting against the ego truck, in the vehicle frame.
        face_normal: Unit normals, pointing outward.
        face_label: Class of each face; 0 is background.
        face_reflectance: Diffuse reflectance of each face at the LiDAR wavelength.
        face_gloss: Share of specular reflection of each face, without any film on it.
    """

    world: World
    caster: Caster
    ego_shadow: Caster
    face_normal: Float32[np.ndarray, "F 3"]
    face_label: UInt8[np.ndarray, "F"]
    face_reflectance: Float32[np.ndarray, "F"]
    face_gloss: Float32[np.ndarray, "F"]


def make_stage(world: World) -> Stage:
    """Build the ray caster and tables of a world."""
    reflectance = np.array([m.lidar_reflectance for m in MATERIALS], dtype=np.float32)
    face_reflectance = reflectance[world.face_material]
    if world.face_film is not None:
        face_reflectance = face_reflectance * (1.0 - _FILM_LOSS * world.face_film)
    gloss = np.array([m.gloss for m in MATERIALS], dtype=np.float32)
    return Stage(
        world=world,
        caster=Caster(world.vertices, world.faces),
        ego_shadow=Caster(*ego_truck()),
        face_normal=face_normals(world),
        face_label=world.face_class,
        face_reflectance=face_reflectance,
        face_gloss=gloss[world.face_material],
    )


def face_normals(world: World) -> Float32[np.ndarray, "F 3"]:
    """Return the unit normal of each face; (0, 0, 1) for degenerate faces."""
    first, second, third = (world.vertices.take(corner, axis=0) for corner in world.faces.T)
    normal = np.cross(second - first, third - first)
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    up = np.array([0.0, 0.0, 1.0], dtype=np.float32)
    return np.where(length > 0, normal / np.maximum(length, 1e-20), up).astype(np.float32)
