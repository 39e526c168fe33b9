"""Geometry that the viewer draws, as NumPy arrays: cube, elevation, cameras, colors."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int, UInt8

from dataset import layout
from engine.pictures.color_maps import TURBO
from model.render.splat import split_projection

BEVEL = 0.07
"""Width of the bevel, as a share of the cube's edge."""


class TriangleMesh(NamedTuple):
    """A triangle mesh.

    Attributes:
        vertices: Vertex positions [m].
        faces: Vertex indices of each triangle, counterclockwise seen from outside.
    """

    vertices: Float32[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]


class CameraShape(NamedTuple):
    """A camera in the LiDAR frame.

    Attributes:
        lidar_from_cam: Its pose; x right, y down, z forward.
        corners_m: Corners of its image plane in the camera frame, clockwise from the upper left.
        fov_rad: Vertical field of view.
    """

    lidar_from_cam: Float64[np.ndarray, "4 4"]
    corners_m: Float64[np.ndarray, "4 3"]
    fov_rad: float

    def center_m(self) -> Float64[np.ndarray, " 3"]:
        """Return the center of the image plane in the LiDAR frame."""
        return self.lidar_from_cam[:3, :3] @ self.corners_m.mean(0) + self.lidar_from_cam[:3, 3]

    def edges_m(self) -> Float32[np.ndarray, "8 2 3"]:
        """Return the frustum's edges: four from the eye to the corners, four around the image."""
        eye = self.lidar_from_cam[:3, 3]
        corners = self.corners_m @ self.lidar_from_cam[:3, :3].T + eye
        rays = np.stack([np.broadcast_to(eye, (4, 3)), corners], axis=1)
        frame = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)
        return np.concatenate([rays, frame]).astype(np.float32)


def beveled_cube(edge_m: float) -> TriangleMesh:
    """Build a cube around the origin with beveled edges, so that neighbors stand out.

    It is the convex hull of 24 vertices: 6 squares, 12 rectangles, 8 triangles.
    """
    long, short = 0.5, 0.5 - BEVEL
    signs = np.array(np.meshgrid((-1, 1), (-1, 1), (-1, 1), indexing="ij")).reshape(3, 8).T
    axes = np.repeat(np.arange(3), 8)  # Axis along which a vertex reaches the full half edge.
    reach = np.where(np.arange(3) == axes[:, None], long, short)
    vertices = np.tile(signs, (3, 1)) * reach
    faces = [_fan(vertices, 8 * axis + np.flatnonzero(signs[:, axis] == side))
             for axis in range(3) for side in (-1, 1)]  # fmt: skip
    for first, second in ((0, 1), (0, 2), (1, 2)):
        for a in (-1, 1):
            for b in (-1, 1):
                pair = np.flatnonzero((signs[:, first] == a) & (signs[:, second] == b))
                faces.append(_fan(vertices, np.concatenate([8 * first + pair, 8 * second + pair])))
    faces += [_fan(vertices, corner + np.array([0, 8, 16])) for corner in range(8)]
    return TriangleMesh((vertices * edge_m).astype(np.float32), np.concatenate(faces))


def elevation_mesh(elevation_m: Float[np.ndarray, "rows cols"]) -> TriangleMesh:
    """Build the surface through the cell centers of an elevation label, open at unknown cells.

    Args:
        elevation_m: Mean height of each cell [m]; NaN where unknown. Row 0 is the far end, column
            0 the left side.
    """
    rows, cols = elevation_m.shape
    centers_m = layout.elevation_grid((rows, cols)).centers_m().numpy()
    corners = np.concatenate([centers_m, elevation_m[..., None]], axis=-1).reshape(-1, 3)
    index = np.arange(rows * cols).reshape(rows, cols)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    faces = faces[np.isfinite(corners[faces, 2]).all(1)]
    used, renumbered = np.unique(faces, return_inverse=True)
    return TriangleMesh(
        corners[used].astype(np.float32), renumbered.reshape(-1, 3).astype(np.int64)
    )


def camera_shape(
    pixel_from_lidar: Float[np.ndarray, "4 4"], width: int, height: int, *, distance_m: float
) -> CameraShape:
    """Return the shape of a camera; exact for off-center crops too.

    Args:
        pixel_from_lidar: Maps (x, y, z, 1) [m] to (u·d, v·d, d, 1).
        width: Columns of the image.
        height: Rows of the image.
        distance_m: Distance of the image plane from the camera [m].
    """
    parts = split_projection(torch.from_numpy(np.asarray(pixel_from_lidar, dtype=np.float32)))
    pixel_from_cam, cam_from_lidar = (part.double().numpy() for part in parts)
    pixels = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1.0]])
    corners = distance_m * pixels @ np.linalg.inv(pixel_from_cam).T
    fov = 2 * np.arctan(0.5 * height / pixel_from_cam[1, 1])
    return CameraShape(np.linalg.inv(cam_from_lidar), corners, float(fov))


def height_colors(heights_m: Float[np.ndarray, " N"]) -> UInt8[np.ndarray, "N 3"]:
    """Color heights from blue through green to red; the range is the 2nd to 98th percentile."""
    if not len(heights_m):
        return np.zeros((0, 3), dtype=np.uint8)
    low, high = np.percentile(heights_m, (2, 98))
    share = ((heights_m - low) / max(high - low, 1e-6)).clip(0, 1)
    return TURBO[
        np.rint(30 + 205 * share).astype(np.uint8)
    ]  # The ends of the color map are too dark.


def _fan(
    vertices: Float64[np.ndarray, "V 3"], corners: Int[np.ndarray, " C"]
) -> Int[np.ndarray, "F 3"]:
    """Triangulate a convex polygon with unordered corners, facing away from the origin."""
    places = vertices[corners]
    outward = places.mean(0)
    across = places[0] - outward
    along = np.cross(outward, across)
    angle = np.arctan2((places - outward) @ along / np.linalg.norm(along),
                       (places - outward) @ across / np.linalg.norm(across))  # fmt: skip
    ring = corners[np.argsort(angle)]
    return np.array([[ring[0], ring[i], ring[i + 1]] for i in range(1, len(ring) - 1)])
