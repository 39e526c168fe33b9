"""A hand-made world for the sensor tests: a road, a wall, two boxes, a puddle, a pole."""

from collections.abc import Callable

import numpy as np

from dataset.minesim.scene.drive import Drive
from dataset.minesim.scene.environment import Environment, Sky
from dataset.minesim.scene.mesh import Color, Mesh, box, merge, solid
from dataset.minesim.scene.world import SceneObject, World

DRIVEABLE, TERRAIN, TRUCK, CONE, MUDDY = 11, 10, 2, 8, 9
SPEED_MPS = 6.0
TRUCK_BOX = ((30.0, 4.0, 1.5), (8.0, 3.0, 3.0))
"""Center and size [m] of the haul truck."""


def tiny_world(
    *, sky: Sky = "clear", dust: float = 0.0, snow: bool = False, seconds: float = 8.0
) -> World:
    """Build a drive at 6 m/s along x, from (0, 0), over flat ground at height 0."""
    sand = (0.44, 0.41, 0.31)
    parts: list[tuple[Mesh, int]] = [
        (_plane((-30.0, 220.0), (-6.0, 9.0), "road", sand), DRIVEABLE),
        (_plane((-30.0, 220.0), (9.0, 80.0), "soil", sand), TERRAIN),
        (_plane((-30.0, 220.0), (-10.0, -6.0), "soil", sand), TERRAIN),
        (_slope(-10.0, -16.0, 9.0, sand), TERRAIN),
        (box(TRUCK_BOX[1], TRUCK_BOX[0], "paint", (0.8, 0.5, 0.05)), TRUCK),
        (box((0.5, 0.5, 1.0), (22.0, -3.0, 0.5), "sign", (0.8, 0.3, 0.1)), CONE),
        (_plane((14.0, 18.0), (2.0, 5.0), "water", (0.1, 0.1, 0.1), height=0.01), MUDDY),
        (box((0.3, 0.3, 4.0), (26.0, 10.0, 2.0), "steel", (0.3, 0.3, 0.3)), 0),
    ]
    mesh = merge([part for part, _ in parts])
    labels = [np.full(len(part.faces), label, np.uint8) for part, label in parts]
    objects = (
        _object("haul truck", TRUCK, TRUCK_BOX[0], TRUCK_BOX[1]),
        _object("traffic cone", CONE, (22.0, -3.0, 0.5), (0.5, 0.5, 1.0)),
    )
    sun = np.array([-0.5, -0.6, 0.6]) / np.linalg.norm([0.5, 0.6, 0.6])
    return World(
        vertices=mesh.vertices.astype(np.float32),
        faces=mesh.faces.astype(np.int32),
        face_class=np.concatenate(labels),
        face_material=mesh.face_material,
        face_color=mesh.face_color.astype(np.float32),
        objects=objects,
        drive=straight_drive(seconds),
        environment=Environment(sun, sky, haze_m=4000.0, dust=dust, snow=snow),
        location="location_1",
        height_m=lambda xy: np.zeros(len(xy)),
    )


def straight_drive(seconds: float) -> Drive:
    """Drive along x at constant speed."""
    time = 0.1 * np.arange(round(10 * seconds))
    poses = np.tile(np.eye(4), (len(time), 1, 1))
    poses[:, 0, 3] = SPEED_MPS * time
    velocity = np.tile([SPEED_MPS, 0.0, 0.0], (len(time), 1))
    return Drive(poses, time, velocity, np.zeros_like(velocity))


def _object(
    name: str,
    label: int,
    center: tuple[float, float, float],
    size: tuple[float, float, float],
) -> SceneObject:
    return SceneObject(name, label, np.array(center), np.array(size), 0.0)


def _plane(
    x: tuple[float, float],
    y: tuple[float, float],
    material: str,
    color: Color,
    *,
    height: float = 0.0,
) -> Mesh:
    """Build level ground of triangles about one meter wide."""
    return _sheet(x, y, lambda y: np.full_like(y, height), material, color)


def _slope(y_foot: float, y_top: float, height: float, color: Color) -> Mesh:
    """Build a wall that leans away from the road."""
    return _sheet(
        (-30.0, 220.0),
        (y_top, y_foot),
        lambda y: height * (y - y_foot) / (y_top - y_foot),
        "rock",
        color,
    )


def _sheet(
    x: tuple[float, float],
    y: tuple[float, float],
    height: Callable[[np.ndarray], np.ndarray],
    material: str,
    color: Color,
) -> Mesh:
    """Build triangles about one meter wide at ``height(y)``."""
    columns = np.linspace(x[0], x[1], round(x[1] - x[0]) + 1)
    rows = np.linspace(y[0], y[1], max(2, round(y[1] - y[0]) + 1))
    grid_x, grid_y = np.meshgrid(columns, rows, indexing="ij")
    vertices = np.stack([grid_x, grid_y, height(grid_y)], axis=-1).reshape(-1, 3)
    index = np.arange(len(vertices)).reshape(grid_x.shape)
    a, b = index[:-1, :-1].reshape(-1), index[1:, :-1].reshape(-1)
    c, d = index[1:, 1:].reshape(-1), index[:-1, 1:].reshape(-1)
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    return solid(vertices, faces, material, color)
