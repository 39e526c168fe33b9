"""Sunlight on surfaces, with the shadows of the mine and of the ego truck."""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int32, Int64

from dataset.minesim.sensors.planes import select, where
from dataset.minesim.sensors.sky import Light
from dataset.minesim.sensors.stage import Stage

_SUN_RADIUS_RAD = 0.0047
_JITTERS = 1 << 16
_MAX_JITTER = 6 * 0.5 * _SUN_RADIUS_RAD
"""No offset is this large, of 196,608 normally distributed ones."""
_EGO_SHADOW_M = 60.0
"""Maximum distance at which the ego truck casts a shadow."""


class Sunlight:
    """The sun of one scene.

    Args:
        stage: The scene.
        light: Its lighting.
    """

    def __init__(self, stage: Stage, light: Light) -> None:
        self._stage = stage
        self._sun = light.sun_direction
        self._shines = bool(light.sun.any())
        self._cosine = stage.face_normal @ light.sun_direction

    def visible(
        self,
        face: Int32[np.ndarray, "M"],
        point: Float32[np.ndarray, "3 M"],
        ray: Float32[np.ndarray, "3 M"],
        distance_m: Float32[np.ndarray, "M"],
        world_from_vehicle: Float[np.ndarray, "4 4"],
    ) -> Float32[np.ndarray, "M"]:
        """Return 1 where one random point of the sun is visible, 0 where it is hidden.

        Args:
            face: Face that each point lies on; one that faces away from the sun is in shade.
            point: World frame [m].
            ray: Unit viewing direction.
            distance_m: Distance from the camera [m].
            world_from_vehicle: Pose of the ego truck.
        """
        if not self._shines:
            return np.zeros(len(face), dtype=np.float32)
        sunny = where(self._cosine.take(face) > -0.2)
        point, ray, distance_m = (select(a, sunny) for a in (point, ray, distance_m))
        # One random point of the sun's disc per ray: shadows soften away from the occluder.
        toward_sun = self.disc_rays(len(distance_m))
        start = point - 0.02 * ray
        start += (0.04 + 0.001 * distance_m) * self._sun[:, None]
        hidden = self._stage.caster.are_blocked(start.T, toward_sun.T)
        near = np.flatnonzero((distance_m < _EGO_SHADOW_M) & ~hidden)
        if len(near):
            vehicle_from_world = world_from_vehicle[:3, :3].T.astype(np.float32)
            place = world_from_vehicle[:3, 3].astype(np.float32)
            local = vehicle_from_world @ (start.take(near, axis=1) - place[:, None])
            inside = self._near_ego(local, vehicle_from_world @ self._sun)
            near, local = near[inside], local.take(inside, axis=1)
            rays = vehicle_from_world @ toward_sun.take(near, axis=1)
            hidden[near] = self._stage.ego_shadow.are_blocked(local.T, rays.T)
        sunlight = np.zeros(len(face), dtype=np.float32)
        sunlight[sunny] = ~hidden
        return sunlight

    def disc_rays(self, count: int) -> Float32[np.ndarray, "3 M"]:
        """Return directions to random points of the sun's disc."""
        return self._sun[:, None] + _disc_jitter(count)

    def _near_ego(
        self, point: Float32[np.ndarray, "3 M"], sun: Float32[np.ndarray, "3"]
    ) -> Int64[np.ndarray, "K"]:
        """Return which points could be in the ego truck's shadow; both in the vehicle frame."""
        low, high = self._stage.ego_shadow.bounds
        rise = max(float(sun[2]) - _MAX_JITTER, 1e-3)
        reach = max(0.0, float(high[2] - point[2].min())) / rise
        inside = np.ones(point.shape[1], dtype=bool)
        for axis in range(2):
            least = reach * min(0.0, float(sun[axis]) - _MAX_JITTER)
            most = reach * max(0.0, float(sun[axis]) + _MAX_JITTER)
            inside &= (point[axis] > low[axis] - most) & (point[axis] < high[axis] - least)
        return np.flatnonzero(inside)


def soften(
    sunlight: Float32[np.ndarray, "H W"], is_surface: Float32[np.ndarray, "H W"] | None
) -> Float32[np.ndarray, "H W"]:
    """Average the sunlight of neighboring pixels, as one ray per pixel is a coarse sample.

    Args:
        sunlight: 0 in the sky.
        is_surface: 1 on surfaces and 0 in the sky, which does not count; None without any sky.
    """
    window = 5 if sunlight.shape[1] >= 1280 else 3
    size, border = (window, window), cv2.BORDER_REPLICATE
    light = cv2.boxFilter(sunlight, -1, size, borderType=border)
    if is_surface is None:
        return light
    return light / np.maximum(cv2.boxFilter(is_surface, -1, size, borderType=border), 1e-6)


@lru_cache(maxsize=1)
def _jitter_table() -> Float32[np.ndarray, "3 J"]:
    """Return random offsets within the sun's disc, in all directions."""
    offsets = np.random.default_rng(7).normal(size=(_JITTERS, 3))
    return np.ascontiguousarray((offsets * (0.5 * _SUN_RADIUS_RAD)).astype(np.float32).T)


def _disc_jitter(count: int) -> Float32[np.ndarray, "3 M"]:
    table = _jitter_table()
    if count <= _JITTERS:
        return table[:, :count]
    return np.tile(table, -(-count // _JITTERS))[:, :count]
