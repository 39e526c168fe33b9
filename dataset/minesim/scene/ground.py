"""The ground mesh: a grid along the road, fine near it, with a class and a color per cell.

Columns have fixed x and rows have fixed lateral offsets from the road, so that rows follow the
road and the mesh has no seams.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, UInt8

from dataset.minesim.scene.ground_color import paint_ground
from dataset.minesim.scene.locations import Location
from dataset.minesim.scene.mesh import Mesh, merge, solid
from dataset.minesim.scene.road import Puddle, Road
from dataset.minesim.scene.terrain import Survey, Terrain
from utils.labels import UNSCENES3D

DRIVEABLE = UNSCENES3D.index("driveable_surface")
TERRAIN = UNSCENES3D.index("terrain")
BARRIER = UNSCENES3D.index("barrier")
MUDDY = UNSCENES3D.index("muddy")
_BENCH_STEP, _BENCH_REACH_M = 11.0, 300.0  # Longest step, in fine steps, up to that distance.
DRIVEABLE_SLOPE = 0.30
"""Ground steeper than this is not drivable."""


@dataclass(frozen=True)
class Ground:
    """The ground of one scene.

    Attributes:
        road: The haul road that the grid rows follow.
        x_m: World x of the grid columns [m].
        offset_m: Lateral offset of the grid rows [m].
        height_m: Height of the grid points [m].
        label: Class of each cell.
        mesh: The ground and the surface of puddles as triangles.
        face_class: Class of each triangle.
    """

    road: Road
    x_m: Float[np.ndarray, "X"]
    offset_m: Float[np.ndarray, "D"]
    heights: Float[np.ndarray, "X D"]
    label: UInt8[np.ndarray, "X-1 D-1"]
    mesh: Mesh
    face_class: UInt8[np.ndarray, "F"]

    def cell(
        self, xy: Float[np.ndarray, "N 2"]
    ) -> tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"], Float[np.ndarray, "N 2"]]:
        """Find the column and row of the cell under each point, and the position in it, 0–1.

        Points outside the grid are assigned to its border cells.
        """
        place, indices = [], []
        for axis, value in ((self.x_m, xy[:, 0]), (self.offset_m, self.road.offset(xy))):
            index = np.clip(np.searchsorted(axis, value, side="right") - 1, 0, len(axis) - 2)
            share = (value - axis[index]) / (axis[index + 1] - axis[index])
            place.append(np.clip(share, 0.0, 1.0))
            indices.append(index)
        return indices[0], indices[1], np.stack(place, axis=-1)

    def height_m(self, xy: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N"]:
        """Return the height of the ground mesh at points [m], ignoring water."""
        i, j, place = self.cell(xy)
        a, b = place.T
        h = self.heights
        low, corner, high = h[i, j], h[i + 1, j], h[i + 1, j + 1]
        lower = low + a * (corner - low) + b * (high - corner)
        upper = low + b * (h[i, j + 1] - low) + a * (high - h[i, j + 1])
        return np.where(a >= b, lower, upper)

    def label_at(self, xy: Float[np.ndarray, "N 2"]) -> UInt8[np.ndarray, "N"]:
        """Return the ground class at points."""
        i, j, _ = self.cell(xy)
        return self.label[i, j]


def build_ground(
    terrain: Terrain,
    region: Location,
    x_range_m: tuple[float, float],
    *,
    cell_m: float,
    extent_m: float,
    snow: bool,
) -> Ground:
    """Build the ground mesh.

    Args:
        terrain: The relief.
        region: The mine region, which sets the colors.
        x_range_m: World x range that needs the fine mesh [m].
        cell_m: Edge of the finest cells [m].
        extent_m: How far the mesh extends beyond that range [m].
        snow: Whether the ground is snow-covered.
    """
    road = terrain.road
    x = _stations(x_range_m, cell_m, (min(150.0, extent_m), extent_m))
    offset = _rows(road, cell_m, extent_m)
    spacing = np.maximum(np.gradient(x)[:, None], np.gradient(offset)[None, :])
    survey = terrain.survey(x[:, None], offset[None, :], spacing)
    xy = road.point(x[:, None], offset[None, :])
    vertices = np.concatenate([xy, survey.height_m[..., None]], axis=-1)
    cells = _average(survey)
    slope = _slope(vertices)
    label = classify(cells, slope)
    center = np.stack([_mean(vertices[..., k]) for k in range(3)], axis=-1)
    material, color = paint_ground(
        terrain,
        region,
        center,
        cells,
        slope,
        offset_m=_mid(offset),
        spacing_m=spacing[1:, 1:],
        snow=snow,
    )
    faces = _grid_faces(len(x), len(offset))
    mesh = Mesh(
        vertices.reshape(-1, 3),
        faces,
        np.repeat(material.reshape(-1), 2),
        np.repeat(color.reshape(-1, 3), 2, axis=0),
    )
    ground = Ground(road, x, offset, survey.height_m, label, mesh, np.repeat(label.reshape(-1), 2))
    return _with_water(ground)


def classify(cells: Survey, slope: Float[np.ndarray, "X D"]) -> UInt8[np.ndarray, "X D"]:
    """Classify ground cells by surface and slope."""
    is_level = (cells.out_m < cells.flat_m) & (slope < DRIVEABLE_SLOPE) & (cells.body < 0.3)
    label = np.where(is_level | (cells.out_m < -1.5), DRIVEABLE, TERRAIN)
    label = np.where(np.abs(cells.rut_m) > 0.16, BARRIER, label)
    label = np.where(cells.rubble > 0.6, BARRIER, label)
    return np.where(cells.wet > 0.9, MUDDY, label).astype(np.uint8)


def _stations(
    fine_m: tuple[float, float], step_m: float, reach_m: tuple[float, float]
) -> Float[np.ndarray, "X"]:
    """Return x of the columns: evenly spaced in the fine part, ever wider before and after it."""
    count = int(np.ceil((fine_m[1] - fine_m[0]) / step_m))
    middle = fine_m[0] + step_m * np.arange(count + 1)
    before = fine_m[0] - _stretch(step_m, reach_m[0], 1.05)
    after = middle[-1] + _stretch(step_m, reach_m[1], 1.035)
    return np.concatenate([before[::-1], middle, after])


def _rows(road: Road, step_m: float, extent_m: float) -> Float[np.ndarray, "D"]:
    """Return row offsets: even on the road, twice as dense on ruts, wider far away."""
    half = road.width_m / 2 + 4.0
    count = int(np.ceil(2 * half / step_m))
    near = np.linspace(-half, half, count + 1)
    middle = (near[1:] + near[:-1]) / 2
    has_rut = np.zeros(len(middle), dtype=bool)
    for strip in road.ruts:
        low, high = strip.offset_m.min() - 1.4, strip.offset_m.max() + 1.4
        has_rut |= (middle > low) & (middle < high)
    far = half + _stretch(step_m, extent_m - half, 1.045)
    return np.concatenate([-far[::-1], np.sort(np.concatenate([near, middle[has_rut]])), far])


def _stretch(step_m: float, reach_m: float, growth: float) -> Float[np.ndarray, "N"]:
    """Return distances from 0 (excluded) to ``reach_m`` (included) in growing steps.

    Steps stay short out to where benches are clearly visible, so that benches keep their shape.
    """
    distance, step, steps = 0.0, step_m, []
    while distance < reach_m:
        step *= growth
        if distance < _BENCH_REACH_M:
            step = min(step, _BENCH_STEP * step_m)
        distance += step
        steps.append(distance)
    return np.array(steps) * (reach_m / distance)


def _grid_faces(columns: int, rows: int) -> Int[np.ndarray, "F 3"]:
    """Split each cell into two triangles along its diagonal from low x and d to high x and d."""
    index = np.arange(columns * rows, dtype=np.int32).reshape(columns, rows)
    low, right = index[:-1, :-1], index[1:, :-1]
    left, high = index[:-1, 1:], index[1:, 1:]
    faces = np.stack([low, right, high, low, high, left], axis=-1)
    return faces.reshape(-1, 3)


def _mean(values: Float[np.ndarray, "X D"]) -> Float[np.ndarray, "X-1 D-1"]:
    """Average the corners of each cell."""
    return (values[:-1, :-1] + values[1:, :-1] + values[:-1, 1:] + values[1:, 1:]) / 4


def _mid(values: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N-1"]:
    return (values[1:] + values[:-1]) / 2


def _average(survey: Survey) -> Survey:
    """Average a survey of grid points into one of the cells between them."""
    return Survey(**{name: _mean(value) for name, value in vars(survey).items()})


def _slope(vertices: Float[np.ndarray, "X D 3"]) -> Float[np.ndarray, "X-1 D-1"]:
    """Return rise over run of each cell, from its diagonals."""
    first = vertices[1:, 1:] - vertices[:-1, :-1]
    second = vertices[:-1, 1:] - vertices[1:, :-1]
    normal = np.cross(first, second)
    return np.hypot(normal[..., 0], normal[..., 1]) / np.maximum(np.abs(normal[..., 2]), 1e-9)


def _with_water(ground: Ground) -> Ground:
    """Add the water of puddles: a disc per hollow whose rim dips into the ground."""
    surfaces = [_water(ground, puddle) for puddle in ground.road.puddles]
    mesh = merge([ground.mesh, *surfaces])
    added = len(mesh.faces) - len(ground.face_class)
    face_class = np.concatenate([ground.face_class, np.full(added, MUDDY, dtype=np.uint8)])
    return replace(ground, mesh=mesh, face_class=face_class)


def _water(ground: Ground, puddle: Puddle, sides: int = 28) -> Mesh:
    angle = 2 * np.pi * np.arange(sides) / sides
    reach = puddle.shore(angle)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    place = np.array([puddle.x_m, puddle.offset_m]) + reach * np.array(puddle.half_size_m)
    rim = ground.road.point(place[:, 0], place[:, 1])
    level = ground.height_m(rim).min() - 0.015
    middle = ground.road.point(np.array([puddle.x_m]), np.array([puddle.offset_m]))
    xy = np.concatenate([rim, middle])
    vertices = np.concatenate([xy, np.full((sides + 1, 1), level)], axis=-1)
    here = np.arange(sides)
    faces = np.stack([here, (here + 1) % sides, np.full(sides, sides)], axis=-1)
    return solid(vertices, faces, "water", (0.10, 0.095, 0.08))
