"""Ray casting against a triangle mesh with Embree, in float32."""

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Bool, Float32, Int, Int32

NO_HIT = -1
"""Face index of a ray that hits nothing."""


@dataclass(frozen=True)
class Hits:
    """First hits of rays.

    Attributes:
        face: Index of the face; ``NO_HIT`` if there is none.
        distance: Distance in units of the ray direction: meters for unit directions, depth for
            camera rays; very large if there is no hit.
        u: Barycentric weight of the face's second vertex at the hit.
        v: Barycentric weight of its third vertex.
    """

    face: Int32[np.ndarray, "R"]
    distance: Float32[np.ndarray, "R"]
    u: Float32[np.ndarray, "R"]
    v: Float32[np.ndarray, "R"]


class Caster:
    """A triangle mesh prepared for ray casting.

    Args:
        vertices: Vertex positions [m].
        faces: Vertex indices of each triangle.

    Attributes:
        bounds: Lower and upper corner of the bounding box [m].

    Raises:
        ValueError: If the mesh is empty or a face refers to a missing vertex.
    """

    def __init__(self, vertices: Float32[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> None:
        if len(faces) == 0:
            raise ValueError("cannot cast rays against a mesh without faces")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError(
                f"faces use vertices {faces.min()}…{faces.max()}, but there are {len(vertices)}"
            )
        self.bounds = vertices.min(axis=0), vertices.max(axis=0)
        self._scene = EmbreeScene()
        # Embree does not keep a reference to the mesh.
        self._mesh = TriangleMesh(
            self._scene, np.ascontiguousarray(vertices), np.ascontiguousarray(faces, dtype=np.int32)
        )

    def first_hits(
        self, origin: Float32[np.ndarray, "3"], directions: Float32[np.ndarray, "R 3"]
    ) -> Hits:
        """Return the first hits of rays from one point; directions need not be unit vectors."""
        origins = np.broadcast_to(origin, directions.shape)
        found = self._scene.run(origins, directions, query="INTERSECT", output=True)
        return Hits(found["primID"], found["tfar"], found["u"], found["v"])

    def are_blocked(
        self, origins: Float32[np.ndarray, "R 3"], directions: Float32[np.ndarray, "R 3"]
    ) -> Bool[np.ndarray, "R"]:
        """Return which rays hit anything."""
        return self._scene.run(origins, directions, query="OCCLUDED") == 0
