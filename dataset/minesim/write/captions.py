"""Captions: one or two English sentences that describe a frame."""

from collections import Counter

import numpy as np
from jaxtyping import Float, Float32

from dataset.minesim.scene.environment import Environment
from dataset.minesim.scene.world import World
from dataset.minesim.sensors.rig import Camera

IN_VIEW_M = 80.0
_HEIGHTS = (0.0, 0.2, 0.4)
"""Points of an object that are looked for: above its center, in heights of the object. The center
of a sign is between its posts."""
_WALL_M = 3.0
_SIDE_SHARE = 1 / 3
_NUMBERS = ("no", "a", "two", "three", "four", "five", "six")
_PLURALS = {"person": "people", "bush": "bushes"}


def caption(
    world: World,
    world_from_vehicle: Float[np.ndarray, "4 4"],
    depth_m: Float32[np.ndarray, "H W"],
    camera: Camera,
) -> str:
    """Describe the road and the weather, then the objects in view.

    Args:
        world: The scene.
        world_from_vehicle: Pose of the vehicle.
        depth_m: Camera depth of the first surface in each pixel, inf in the sky.
        camera: The camera that ``depth_m`` belongs to.
    """
    road = f"{_road(world, world_from_vehicle)} {_weather(world.environment)}."
    seen = objects_in_view(world, world_from_vehicle, depth_m, camera)
    if not seen:
        return f"{road} No objects are near."
    things = _join([_group(name, side, count) for (name, side), count in seen.items()])
    return f"{road} {things[0].upper()}{things[1:]} can be seen."


def objects_in_view(
    world: World,
    world_from_vehicle: Float[np.ndarray, "4 4"],
    depth_m: Float32[np.ndarray, "H W"],
    camera: Camera,
) -> Counter[tuple[str, str]]:
    """Count the visible objects of each name "on the left", "ahead" and "on the right".

    An object counts if it is within ``IN_VIEW_M``, and the depth at its center or a point above
    matches its own.
    """
    cam_from_world = np.linalg.inv(world_from_vehicle @ camera.vehicle_from_cam)
    seen: Counter[tuple[str, str]] = Counter()
    for thing in world.objects:
        reach = 0.5 * float(np.linalg.norm(thing.size_m)) + 0.5
        for height in _HEIGHTS:
            point = thing.center_m + np.array([0, 0, height * thing.size_m[2]])
            column, row, depth = _pixel(point, cam_from_world, camera)
            if not 2.0 < depth < IN_VIEW_M:
                continue
            if not (0 <= column < camera.width and 0 <= row < camera.height):
                continue
            if abs(float(depth_m[int(row), int(column)]) - depth) <= reach:
                seen[thing.name, _side(column / camera.width)] += 1
                break
    return seen


def _pixel(
    point: Float[np.ndarray, "3"], cam_from_world: Float[np.ndarray, "4 4"], camera: Camera
) -> tuple[float, float, float]:
    """Return column, row [px] and depth [m] of a point; pixels are invalid behind."""
    x, y, depth = (cam_from_world @ np.append(point, 1.0))[:3]
    pixel = camera.p2[:, :3] @ np.array([x, y, depth]) / max(depth, 0.1)
    return float(pixel[0]), float(pixel[1]), float(depth)


def _side(share: float) -> str:
    if share < _SIDE_SHARE:
        return "on the left"
    return "on the right" if share > 1 - _SIDE_SHARE else "ahead"


def _group(name: str, side: str, count: int) -> str:
    """Name a group of objects, such as "two haul trucks ahead"."""
    if count == 1:
        article = "an" if name[0] in "aeiou" else "a"
        return f"{article} {name} {side}"
    number = _NUMBERS[count] if count < len(_NUMBERS) else "several"
    return f"{number} {_PLURALS.get(name, name + 's')} {side}"


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _road(world: World, world_from_vehicle: Float[np.ndarray, "4 4"]) -> str:
    """Describe the road and what is beside it."""
    ahead_m, side_m = 40.0, 22.0
    local = np.array([[ahead_m, 0.0], [ahead_m, side_m], [ahead_m, -side_m]])
    points = local @ world_from_vehicle[:2, :2].T + world_from_vehicle[:2, 3]
    center, left, right = (float(height) for height in world.height_m(points))
    walls = [side for side, top in (("left", left), ("right", right)) if top - center > _WALL_M]
    beside = {
        0: "through open ground",
        1: f"along a high wall on the {walls[0]}" if walls else "",
        2: "between high walls",
    }[len(walls)]
    surface = "A snow-covered haul road" if world.environment.snow else "A haul road"
    return f"{surface} runs {beside}"


def _weather(environment: Environment) -> str:
    sky = {
        "clear": "under a clear sky",
        "hazy": "in hazy light",
        "overcast": "under an overcast sky",
        "dusk": "at dusk",
        "low_sun": "toward a low sun",
        "night": "at night, lit by headlights and light masts",
    }[environment.sky]
    if environment.condition == "dust":
        return f"{sky} through plumes of dust"
    if environment.condition == "wet":
        return f"{sky} after rain and is wet"
    if environment.dust > 0.3:
        sky = f"{sky} with dust in the air"
    return f"{sky}, seen through a dirty lens" if environment.lens_seed is not None else sky
