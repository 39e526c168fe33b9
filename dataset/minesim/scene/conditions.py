"""Conditions of a scene: wet ground, dust plumes, a low sun, night, or dirt on the lens.

Each condition draws from a random stream of its own, so that the scene below it stays the same.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from dataset.minesim.scene.drive import Drive
from dataset.minesim.scene.dust import draw_puffs
from dataset.minesim.scene.environment import Condition, Environment, Sky
from dataset.minesim.scene.placer import SceneObject

_WORKING = ("excavator", "haul truck", "wide-body truck", "wheel loader", "machine")
_MAX_CLOUDS = 4
_CLOUD_REACH_M = 90.0
"""Machines this near to the drive may stand in dust."""
_SUN_AHEAD_DEG = 32.0
"""Largest angle between a low sun and the heading of the drive."""


def sky_of(condition: Condition, rng: np.random.Generator) -> Sky | None:
    """Return the sky that a condition needs; None for any."""
    if condition == "wet":
        return "overcast" if rng.random() < 0.6 else "clear"
    if condition == "dust":
        return "hazy" if rng.random() < 0.4 else "clear"
    if condition == "low_sun":
        return "low_sun"
    return "night" if condition == "night" else None


def snow_of(condition: Condition) -> bool | None:
    """Return whether a condition needs snow or its absence; None for either."""
    return False if condition in {"wet", "dust"} else None


def apply_condition(
    environment: Environment,
    condition: Condition,
    drive: Drive,
    objects: tuple[SceneObject, ...],
    rng: np.random.Generator,
) -> Environment:
    """Return the environment under a condition.

    Args:
        environment: Drawn with ``sky_of`` and ``snow_of`` of the condition.
        condition: The condition.
        drive: The drive, which the sun and the dust are placed along.
        objects: The objects of the scene, some of which raise dust.
        rng: Random generator.
    """
    poses = drive.world_from_vehicle
    found = replace(environment, condition=condition)
    if condition == "low_sun":
        heading = poses[:, :2, 0].sum(axis=0)
        turn = np.radians(rng.uniform(-_SUN_AHEAD_DEG, _SUN_AHEAD_DEG))
        azimuth = float(np.arctan2(heading[1], heading[0]) + turn)
        return replace(found, sun_direction=_turned(environment.sun_direction, azimuth))
    if condition == "dust":
        sources = _sources(objects, poses[:, :3, 3])
        haze = float(rng.uniform(0.2, 0.5))
        return replace(found, dust=haze, plumes=draw_puffs(rng, poses[:, :3, 3], sources))
    if condition == "lens_dirt":
        return replace(found, lens_seed=int(rng.integers(2**31)))
    return found


def _turned(direction: Float[np.ndarray, "3"], azimuth: float) -> Float[np.ndarray, "3"]:
    """Return a direction of the same elevation at another azimuth [rad]."""
    flat = float(np.hypot(direction[0], direction[1]))
    return np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), direction[2]])


def _sources(
    objects: tuple[SceneObject, ...], path_m: Float[np.ndarray, "T 3"]
) -> Float[np.ndarray, "S 3"]:
    """Return where machines near the drive stand on the ground, nearest first."""
    places = []
    for thing in objects:
        away = np.linalg.norm(path_m[:, :2] - thing.center_m[:2], axis=1).min()
        if thing.name in _WORKING and away < _CLOUD_REACH_M:
            foot = thing.center_m - [0.0, 0.0, 0.5 * thing.size_m[2]]
            places.append((float(away), foot))
    places.sort(key=lambda place: place[0])
    return np.array([foot for _, foot in places[:_MAX_CLOUDS]]).reshape(-1, 3)
