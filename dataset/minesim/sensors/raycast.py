"""Rays against a triangle mesh, on Embree; float32 throughout."""

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Bool, Float32, Int, Int32

NO_HIT = -1
"""Face of a ray that meets nothing."""


@dataclass(frozen=True)
class Hits:
    """What rays meet first.

    Attributes:
        face: Index of the face; ``NO_HIT`` where the ray meets none.
        distance: Steps of the ray's direction to it: metres along unit directions, camera depth
            along the camera's; very large where there is no hit.
        u: Weight of the face's second corner at the hit.
        v: Weight of its third corner.
    """

    face: Int32[np.ndarray, "R"]
    distance: Float32[np.ndarray, "R"]
    u: Float32[np.ndarray, "R"]
    v: Float32[np.ndarray, "R"]


class Caster:
    """A triangle mesh made ready for rays.

    Args:
        vertices: Corner points [m].
        faces: Vertex indices of each triangle.

    Raises:
        ValueError: If the mesh is empty or a face names a vertex that is not there.
    """

    def __init__(self, vertices: Float32[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> None:
        if len(faces) == 0:
            raise ValueError("cannot cast rays against a mesh without faces")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError(
                f"faces name vertices {faces.min()}…{faces.max()}, but there are {len(vertices)}"
            )
        self._scene = EmbreeScene()
        # Embree keeps no reference of its own to the mesh.
        self._mesh = TriangleMesh(
            self._scene, np.ascontiguousarray(vertices), np.ascontiguousarray(faces, dtype=np.int32)
        )

    def first_hits(
        self, origin: Float32[np.ndarray, "3"], directions: Float32[np.ndarray, "R 3"]
    ) -> Hits:
        """What rays from one point meet first; directions need not be unit vectors."""
        origins = np.broadcast_to(origin, directions.shape)
        found = self._scene.run(origins, directions, query="INTERSECT", output=True)
        return Hits(found["primID"], found["tfar"], found["u"], found["v"])

    def are_blocked(
        self, origins: Float32[np.ndarray, "R 3"], directions: Float32[np.ndarray, "R 3"]
    ) -> Bool[np.ndarray, "R"]:
        """Which rays meet anything at all."""
        return self._scene.run(origins, directions, query="OCCLUDED") == 0
