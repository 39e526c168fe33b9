"""Lamps at night: the headlights of the ego truck, and light masts."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from dataset.minesim.scene.world import SceneObject
from dataset.minesim.sensors.stage import Stage

_HEADLIGHTS_M = (0.3, 0.0, 2.0)
"""Middle of the headlights in the vehicle frame; both together are one lamp."""
_HEADLIGHT, _MAST = 800.0, 240.0
"""Irradiance one meter away on the axis, in display units."""
_SPREAD_DEG = 21.0
_UP_DEG, _DOWN_DEG, _AIM_DEG = 2.2, 6.0, -1.5
"""Headlights fade quickly above their aim and slowly below it."""
_WRAP = 0.25
"""Rough ground scatters grazing light back: the cosine is taken as that much larger."""
_MIN_LIGHT, _SHADOW_LIGHT = 0.01, 0.04
"""Light below the first is dropped; light below the second casts no shadow."""
_REACH_M = 80.0
_SHADOW_MARGIN_M = 0.25
_HOUSING_M = 2.5
"""What is nearer to a lamp than this is its own housing, and casts no shadow."""


@dataclass(frozen=True)
class _Lamp:
    """A lamp in the world frame.

    Attributes:
        position_m: Position [m].
        axis: Unit direction of the beam.
        color: Irradiance one meter away on the axis.
        is_headlight: Whether it is a narrow beam rather than a flood light.
    """

    position_m: Float32[np.ndarray, "3"]
    axis: Float32[np.ndarray, "3"]
    color: Float32[np.ndarray, "3"]
    is_headlight: bool


class Lamps:
    """All lamps of a scene.

    Args:
        stage: The scene.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._masts = [_mast(thing) for thing in stage.world.objects if thing.name == "light mast"]

    def irradiance(
        self,
        point: Float32[np.ndarray, "M 3"],
        normal: Float32[np.ndarray, "M 3"],
        world_from_vehicle: Float[np.ndarray, "4 4"],
    ) -> Float32[np.ndarray, "M 3"]:
        """Return the light of all lamps on surface points, with shadows.

        Args:
            point: World frame [m].
            normal: Unit normals.
            world_from_vehicle: Pose of the ego truck, which carries the headlights.
        """
        total = np.zeros_like(point)
        if len(point) == 0:
            return total
        near = point.min(axis=0), point.max(axis=0)
        for lamp in (*self._masts, _headlights(world_from_vehicle)):
            gap = np.maximum(np.maximum(near[0] - lamp.position_m, lamp.position_m - near[1]), 0.0)
            if np.linalg.norm(gap) < _REACH_M:
                self._add(total, lamp, point, normal)
        return total

    def _add(
        self,
        total: Float32[np.ndarray, "M 3"],
        lamp: _Lamp,
        point: Float32[np.ndarray, "M 3"],
        normal: Float32[np.ndarray, "M 3"],
    ) -> None:
        """Add the light of one lamp where it is bright enough and not in shadow."""
        away = point - lamp.position_m
        square = np.maximum(np.einsum("mk,mk->m", away, away), 1.0)
        reach = min(_REACH_M**2, float(lamp.color.max()) / _MIN_LIGHT)
        lit = np.flatnonzero(square < reach)
        away, square = away[lit], square[lit]
        distance = np.sqrt(square)
        ray = away / distance[:, None]
        cosine = -np.einsum("mk,mk->m", normal[lit], ray)
        cosine = np.maximum(cosine + _WRAP, 0.0) / (1.0 + _WRAP)
        light = _beam(lamp, ray) * cosine / square
        brightness = light * float(lamp.color.max())
        light[brightness < _MIN_LIGHT] = 0.0
        bright = np.flatnonzero(brightness > _SHADOW_LIGHT)
        if len(bright):
            hits = self._stage.caster.first_hits(lamp.position_m, ray[bright])
            margin = _SHADOW_MARGIN_M + 0.01 * distance[bright]
            hidden = hits.distance < distance[bright] - margin
            light[bright[hidden & (hits.distance > _HOUSING_M)]] = 0.0
        # The camera exposes for the lit ground: bright light is compressed.
        light = light / (1.0 + light * float(lamp.color.max()))
        total[lit] += light[:, None] * lamp.color


def _beam(lamp: _Lamp, ray: Float32[np.ndarray, "M 3"]) -> Float32[np.ndarray, "M"]:
    """Return the intensity of a lamp in unit directions, relative to its axis."""
    if not lamp.is_headlight:
        return (0.3 + 0.7 * np.clip(ray @ lamp.axis + 0.3, 0.0, 1.0)).astype(np.float32)
    forward = ray @ lamp.axis
    left = np.array([-lamp.axis[1], lamp.axis[0], 0.0], dtype=np.float32)
    azimuth = np.rad2deg(np.arctan2(ray @ left, forward))
    axis_up = float(np.rad2deg(np.arcsin(lamp.axis[2])))
    elevation = np.rad2deg(np.arcsin(np.clip(ray[:, 2], -1.0, 1.0))) - axis_up - _AIM_DEG
    spread = np.where(elevation > 0, np.float32(_UP_DEG), np.float32(_DOWN_DEG))
    shape = (azimuth / _SPREAD_DEG) ** 2 + (elevation / spread) ** 2
    # Stray light of the lens: a wide, faint cone around the beam.
    stray = 0.02 * np.maximum(forward, 0.0) ** 2
    return np.where(forward > 0, np.exp(-0.5 * shape) + stray, 0.0).astype(np.float32)


def _headlights(world_from_vehicle: Float[np.ndarray, "4 4"]) -> _Lamp:
    """Return the headlights of the ego truck."""
    rotation, place = world_from_vehicle[:3, :3], world_from_vehicle[:3, 3]
    color = _HEADLIGHT * np.array([0.96, 1.0, 0.98])
    return _Lamp(_f32(rotation @ _HEADLIGHTS_M + place), _f32(rotation[:, 0]), _f32(color), True)


def _mast(thing: SceneObject) -> _Lamp:
    """Return the lamps of a light mast as one flood light at its top."""
    axis = np.array([np.cos(thing.yaw_rad), np.sin(thing.yaw_rad), 0.0])
    top = thing.center_m + [0.0, 0.0, 0.5 * thing.size_m[2] + 0.5] + 0.7 * axis
    return _Lamp(_f32(top), _f32(axis), _f32(_MAST * np.array([1.0, 0.93, 0.80])), False)


def _f32(values: Float[np.ndarray, "3"]) -> Float32[np.ndarray, "3"]:
    return np.asarray(values, dtype=np.float32)
