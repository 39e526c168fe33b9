import numpy as np
import pytest

from dataset.minesim.sensors.raycast import NO_HIT, Caster

VERTICES = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 2], [4, 0, 2], [0, 4, 2]], np.float32)
FACES = np.array([[0, 1, 2], [3, 4, 5]], np.int32)


def test_first_hit_gives_face_distance_and_weights():
    caster = Caster(VERTICES, FACES)
    origin = np.array([1.0, 2.0, 5.0], np.float32)
    directions = np.array([[0, 0, -1], [0, 0, -0.5], [0, 0, 1]], np.float32)
    hits = caster.first_hits(origin, directions)
    assert hits.face.tolist() == [1, 1, NO_HIT]
    # The upper triangle at height 2 is 3 m below; directions of length 0.5 double the distance.
    np.testing.assert_allclose(hits.distance[:2], [3.0, 6.0])
    np.testing.assert_allclose(hits.u[:2], 1 / 4)  # x = 4 u
    np.testing.assert_allclose(hits.v[:2], 2 / 4)  # y = 4 v


def test_blocked_rays():
    caster = Caster(VERTICES, FACES)
    origins = np.array([[1, 1, 1], [1, 1, 3], [9, 9, 1]], np.float32)
    up = np.tile(np.array([0, 0, 1], np.float32), (3, 1))
    assert caster.are_blocked(origins, up).tolist() == [True, False, False]


def test_rejects_an_empty_mesh():
    with pytest.raises(ValueError, match="without faces"):
        Caster(VERTICES, np.empty((0, 3), np.int32))


def test_rejects_faces_with_missing_vertices():
    with pytest.raises(ValueError, match="use vertices 0…6, but there are 6"):
        Caster(VERTICES, np.array([[0, 1, 6]], np.int32))
