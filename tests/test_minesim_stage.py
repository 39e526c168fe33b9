import numpy as np

from dataset.minesim.scene.materials import MATERIALS
from dataset.minesim.sensors.stage import face_normals, make_stage
from tests.minesim_world import TRUCK, tiny_world


def test_normals_point_out_of_boxes_and_up_from_the_ground():
    world = tiny_world()
    normal = face_normals(world)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1.0, atol=1e-6)
    truck = np.flatnonzero(world.face_class == TRUCK)
    corners = world.vertices[world.faces[truck]]
    outward = corners.mean(axis=1) - corners.mean(axis=(0, 1))
    assert ((outward * normal[truck]).sum(axis=1) > 0).all()
    assert (normal[world.face_class == 11] == [0, 0, 1]).all()


def test_normal_of_a_degenerate_face_points_up():
    world = tiny_world()
    world.faces[0] = world.faces[0, 0]
    assert face_normals(world)[0].tolist() == [0.0, 0.0, 1.0]


def test_tables_follow_the_materials():
    world = tiny_world()
    stage = make_stage(world)
    face = int(np.flatnonzero(world.face_class == TRUCK)[0])
    paint = MATERIALS[int(world.face_material[face])]
    assert paint.name == "paint"
    assert stage.face_reflectance[face] == np.float32(paint.lidar_reflectance)
    assert stage.face_gloss[face] == np.float32(paint.gloss)
