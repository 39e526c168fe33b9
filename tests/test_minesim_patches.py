"""Patches and rain on the ground."""

import numpy as np
import pytest

from dataset.minesim.scene.mesh import Mesh
from dataset.minesim.scene.patches import Surface, add_patches, add_rain, dry_surface
from tests.minesim_world import DRIVEABLE, MUDDY, TERRAIN, TRUCK, tiny_world

WORLD = tiny_world()
PATH = WORLD.drive.world_from_vehicle[:, :3, 3]
MESH = Mesh(WORLD.vertices, WORLD.faces, WORLD.face_material, WORLD.face_color)


@pytest.fixture(name="patched", scope="module")
def _patched() -> Surface:
    dry = dry_surface(MESH, WORLD.face_class)
    return add_patches(dry, PATH, np.random.default_rng(2))


def test_patches_change_looks_on_level_ground_only(patched: Surface) -> None:
    changed = (patched.color != MESH.face_color).any(axis=1)
    assert 0.02 < changed.mean() < 0.6
    assert np.isin(WORLD.face_class[changed], (DRIVEABLE, TERRAIN)).all()
    corners = MESH.vertices[MESH.faces[changed]]
    assert np.ptp(corners[..., 2], axis=1).max() < 1e-6  # Not on the slope.
    assert (patched.film[WORLD.face_class == TRUCK] == 0).all()


def test_only_mud_changes_the_class(patched: Surface) -> None:
    relabeled = patched.label != WORLD.face_class
    assert relabeled.any()
    assert (patched.label[relabeled] == MUDDY).all()
    others = (patched.film > 0.5) & (patched.label == DRIVEABLE)
    assert others.any()  # Water and oil stay drivable.


def test_the_same_seed_gives_the_same_patches(patched: Surface) -> None:
    dry = dry_surface(MESH, WORLD.face_class)
    again = add_patches(dry, PATH, np.random.default_rng(2))
    np.testing.assert_array_equal(again.color, patched.color)
    other = add_patches(dry, PATH, np.random.default_rng(3))
    assert (other.color != patched.color).any()
    assert (dry.film == 0).all()  # The input does not change.


def test_rain_darkens_the_ground_and_lays_a_film_on_level_parts() -> None:
    wet = add_rain(dry_surface(MESH, WORLD.face_class), np.random.default_rng(0))
    ground = np.isin(WORLD.face_class, (DRIVEABLE, TERRAIN))
    ratio = wet.color[ground] / MESH.face_color[ground]
    assert 0.4 < ratio.mean() < 0.8
    is_level = np.ptp(MESH.vertices[MESH.faces][..., 2], axis=1) < 1e-6
    assert wet.film[ground & is_level].mean() > 0.15
    assert (wet.film[ground & ~is_level] == 0).all()
    np.testing.assert_array_equal(wet.label, WORLD.face_class)
    np.testing.assert_array_equal(wet.color[~ground], MESH.face_color[~ground])
