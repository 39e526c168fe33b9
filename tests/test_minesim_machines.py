"""Trucks and cars."""

from collections.abc import Callable

import numpy as np
import pytest

from dataset.minesim.scene import machines
from dataset.minesim.scene.materials import material_index
from dataset.minesim.scene.mesh import Mesh

# Ranges of length, width and height [m].
SIZES = {
    "haul_truck": ((9.0, 13.5), (5.0, 7.5), (4.9, 7.0)),
    "widebody_truck": ((8.0, 9.8), (3.2, 3.9), (3.5, 4.4)),
    "water_truck": ((8.0, 10.0), (2.3, 3.2), (3.0, 4.0)),
    "pickup": ((5.0, 5.8), (1.7, 2.5), (1.7, 3.6)),
    "light_mast": ((2.0, 3.0), (1.1, 2.2), (7.0, 9.5)),
}


def build(name: str, seed: int) -> Mesh:
    builder: Callable[[np.random.Generator], Mesh] = getattr(machines, name)
    return builder(np.random.default_rng(seed))


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sizes_and_detail(name: str, seed: int) -> None:
    mesh = build(name, seed)
    low, high = mesh.bounds()
    for extent, (least, most) in zip(high - low, SIZES[name], strict=True):
        assert least <= extent <= most
    assert low[2] == pytest.approx(0.0, abs=0.02)
    assert 200 <= len(mesh.faces) <= 2000
    assert mesh.volume() > 0.0
    assert (mesh.face_color >= 0).all()
    assert (mesh.face_color <= 1).all()


@pytest.mark.parametrize("name", SIZES)
def test_same_seed_same_machine(name: str) -> None:
    first, again = build(name, 7), build(name, 7)
    assert np.array_equal(first.vertices, again.vertices)
    assert np.array_equal(first.face_color, again.face_color)


@pytest.mark.parametrize("name", ["haul_truck", "widebody_truck", "water_truck", "pickup"])
def test_vehicles_have_tires_and_windows(name: str) -> None:
    mesh = build(name, 0)
    assert (mesh.face_material == material_index("rubber")).sum() >= 4 * 32
    assert (mesh.face_material == material_index("glass")).any()


def test_haul_truck_faces_forward() -> None:
    """The cab's windows are in front; the dump body's tail is behind, with space below."""
    mesh = build("haul_truck", 0)
    glass = mesh.faces[mesh.face_material == material_index("glass")]
    assert mesh.vertices[glass][..., 0].min() > 2.0


def test_pick_returns_one_of_the_colors() -> None:
    colors = (machines.RED, machines.BLUE)
    drawn = {machines.pick(np.random.default_rng(k), colors) for k in range(10)}
    assert drawn == set(colors)
