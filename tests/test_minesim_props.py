"""People, cones, signs and other small objects."""

from collections.abc import Callable

import numpy as np
import pytest

from dataset.minesim.scene import props
from dataset.minesim.scene.materials import material_index
from dataset.minesim.scene.mesh import Mesh

# Ranges of the height [m].
HEIGHTS = {
    "person": (1.6, 1.9),
    "traffic_cone": (0.7, 1.15),
    "bollard": (1.0, 1.5),
    "sign_board": (2.3, 3.3),
    "hut": (2.8, 3.0),
    "block_wall": (0.9, 2.0),
    "fence": (1.6, 1.8),
    "power_pole": (9.0, 11.0),
    "tuft": (0.1, 0.45),
    "worn_tire": (0.7, 0.8),
}


def build(name: str, seed: int) -> Mesh:
    builder: Callable[[np.random.Generator], Mesh] = getattr(props, name)
    return builder(np.random.default_rng(seed))


@pytest.mark.parametrize("name", HEIGHTS)
@pytest.mark.parametrize("seed", range(4))
def test_heights(name: str, seed: int) -> None:
    mesh = build(name, seed)
    low, high = mesh.bounds()
    least, most = HEIGHTS[name]
    # Leaning objects reach one or two centimeters into the ground.
    assert low[2] == pytest.approx(0.0, abs=0.04)
    assert least <= high[2] <= most
    assert len(mesh.faces) <= 600


def test_stones_sit_in_the_ground() -> None:
    for seed in range(10):
        low, high = build("stone", seed).bounds()
        assert -0.5 < low[2] < 0.0 < high[2] < 1.1


def test_cones_and_vests_are_bright_in_the_lidar() -> None:
    for name in ("person", "traffic_cone", "bollard", "sign_board"):
        assert (build(name, 0).face_material == material_index("sign")).any()


def test_sign_faces_forward() -> None:
    """Its markings are in front of the board."""
    mesh = build("sign_board", 0)
    sign = mesh.vertices[mesh.faces[mesh.face_material == material_index("sign")]][..., 0]
    post = mesh.vertices[mesh.faces[mesh.face_material == material_index("steel")]][..., 0]
    assert sign.max() > 0.04
    assert post.max() < 0.0
