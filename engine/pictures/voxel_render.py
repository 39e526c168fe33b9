"""Software renderer of labeled voxels: shaded cubes from any viewpoint, without a display.

Faces are drawn from far to near into a buffer of face indices. This order is exact, so no depth
test is needed. Shading, edges and haze are then computed per pixel. Ambient occlusion has two
parts: dark corners from the voxels that touch them, and softer shade near walls and under vehicles
from all voxels in a box in front of the face.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32, UInt8

from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE
from utils.view import NEAR_M, Viewpoint

FACE_LIGHT = np.array([[0.80, 0.70], [0.62, 0.74], [0.55, 1.0]], dtype=np.float32)
"""Light on a face, by axis (x, y, z) and side (lower, upper)."""
CORNER_LIGHT = np.array([0.45, 0.65, 0.83, 1.0], dtype=np.float32)
"""Light at a face corner, by how many of the three voxels that can shade it are empty."""
SHADE_REACH = 5
"""Reach of the soft shade in front of a face and around its corner, in voxels."""
SHADE_STRENGTH = 2.0
"""Decay of the light with the share of those voxels that is occupied."""
EDGE_LIGHT = 0.55
"""Light on the line between two cubes."""
EDGE_PX = 0.5
"""Half the width of that line, in pixels of the final image."""
EDGE_FADE_PX = (3.0, 9.0)
"""Edges fade in between these apparent cube sizes [px]."""
SUPERSAMPLING = 2
"""Samples per pixel of the final image along each axis."""
SUBPIXEL_BITS = 4


class Faces(NamedTuple):
    """Faces of voxels, each on the lower or upper side of its voxel along one axis.

    Attributes:
        voxel: Index of the voxel.
        axis: Axis of the face normal.
        side: 0 on the voxel's lower side, 1 on its upper side.
    """

    voxel: Int[np.ndarray, "F 3"]
    axis: Int[np.ndarray, " F"]
    side: Int[np.ndarray, " F"]


def render_voxels(
    labels: UInt8[np.ndarray, "X Y Z"],
    grid: VoxelGrid,
    palette: UInt8[np.ndarray, "256 3"],
    view: Viewpoint,
    *,
    background: tuple[int, int, int] = (255, 255, 255),
    haze: float = 0.3,
) -> UInt8[np.ndarray, "height width 3"]:
    """Render every voxel that is neither free nor ignored as a cube.

    Args:
        labels: Label of each voxel.
        grid: Grid of the voxels.
        palette: RGB by label.
        view: Viewpoint.
        background: RGB of empty pixels.
        haze: Share of the background color in the farthest cube; it falls to 0 at the nearest.

    Returns:
        RGB image of the view's size.

    Raises:
        ValueError: If labels and grid differ in shape.
    """
    if labels.shape != grid.shape:
        raise ValueError(
            f"labels of shape {labels.shape} do not match the grid of {grid.shape} voxels"
        )
    fine = view.resize(view.width * SUPERSAMPLING, view.height * SUPERSAMPLING).in_voxels(grid)
    is_drawn = (labels != FREE) & (labels != IGNORE)
    faces = visible_faces(is_drawn, fine)
    buffer = draw_faces(faces, fine)
    empty = np.asarray(background, dtype=np.float32)
    image = np.tile(empty, (buffer.size, 1))
    pixels = np.flatnonzero(buffer >= 0)
    if len(pixels):
        face = buffer.ravel()[pixels]
        color = palette[labels[tuple(faces.voxel.T)]].astype(np.float32)
        color *= FACE_LIGHT[faces.axis, faces.side][:, None]
        cover = haze * _relative_depth(faces, fine, face)[:, None]
        corner_light = _corner_light(is_drawn, faces) * _soft_light(is_drawn, faces)
        light = _light(faces, face, pixels, fine, corner_light)
        image[pixels] = ((1 - cover) * color)[face] * light[:, None] + (cover * empty)[face]
    image = image.reshape(fine.height, fine.width, 3)
    smooth = cv2.resize(image, (view.width, view.height), interpolation=cv2.INTER_AREA)
    return np.rint(smooth).clip(0, 255).astype(np.uint8)


def visible_faces(is_drawn: Bool[np.ndarray, "X Y Z"], view: Viewpoint) -> Faces:
    """Return the faces that border an empty voxel and face the viewer, the farthest first.

    The order is exact. Voxel indices are monotonic along a line of sight, so of two voxels on it
    the nearer one is nearer along each axis, and in the sum over axes. Visible faces of one cube
    never occlude each other.

    Args:
        is_drawn: Voxels to draw as cubes.
        view: Viewpoint in voxel coordinates.
    """
    from_pixel = np.linalg.inv(view.pixel_from_lidar)
    eye, sight = from_pixel[:3, 3], from_pixel[:3, 2]
    padded = np.pad(is_drawn, 1)
    parts: list[Int[np.ndarray, "F 5"]] = []
    for axis in range(3):
        for side in (0, 1):
            outward = 2 * side - 1
            if not view.is_perspective and sight[axis] * outward >= 0:
                continue
            neighbor = np.roll(padded, -outward, axis)[1:-1, 1:-1, 1:-1]
            voxel = np.argwhere(is_drawn & ~neighbor)
            if view.is_perspective:
                voxel = voxel[(eye[axis] - voxel[:, axis] - side) * outward > 0]
            parts.append(np.pad(voxel, ((0, 0), (0, 2)), constant_values=((0, 0), (0, 0))))
            parts[-1][:, 3:] = axis, side
    faces = np.concatenate(parts)
    if view.is_perspective:
        distance = np.abs(faces[:, :3] - np.floor(eye).astype(np.int64)).sum(1)
    else:
        distance = (faces[:, :3] * np.sign(sight).astype(np.int64)).sum(1)
    faces = faces[np.argsort(-distance, kind="stable")]
    return Faces(faces[:, :3], faces[:, 3], faces[:, 4])


def draw_faces(faces: Faces, view: Viewpoint) -> Int32[np.ndarray, "height width"]:
    """Return the index of the face that each pixel shows; -1 if none.

    Args:
        faces: The farthest first; later faces are drawn over earlier ones.
        view: Viewpoint in voxel coordinates.
    """
    buffer = np.full((view.height, view.width), -1, dtype=np.int32)
    corners = _corners(faces)
    pixels, depth = view.project(corners)
    is_beyond = depth > NEAR_M if view.is_perspective else np.full(depth.shape, True)
    is_whole = np.all(is_beyond, axis=1)
    is_clipped = np.any(is_beyond, axis=1) & ~is_whole
    low, high = pixels.min(1), pixels.max(1)
    in_view = np.all((high > 0) & (low < [view.width, view.height]), axis=1)
    polygons = _fixed_point(pixels)
    for number in np.flatnonzero(is_clipped | (is_whole & in_view)).tolist():
        polygon = polygons[number]
        if is_clipped[number]:
            polygon = _fixed_point(view.project(_clip_near(corners[number], depth[number]))[0])
        cv2.fillConvexPoly(buffer, polygon, number, cv2.LINE_8, SUBPIXEL_BITS)
    return buffer


def _corners(faces: Faces) -> Float[np.ndarray, "F 4 3"]:
    """Return the corners around each face, in voxel coordinates."""
    corners = faces.voxel[:, None].repeat(4, axis=1).astype(np.float64)
    rows = np.arange(len(corners))
    corners[rows, :, faces.axis] += faces.side[:, None]
    corners[rows, :, (faces.axis + 1) % 3] += [0.0, 1.0, 1.0, 0.0]
    corners[rows, :, (faces.axis + 2) % 3] += [0.0, 0.0, 1.0, 1.0]
    return corners


def _fixed_point(pixels: Float[np.ndarray, "*any 2"]) -> Int32[np.ndarray, "*any 2"]:
    """Convert pixels to cv2's fixed-point format, with pixel centers at integers."""
    limit = 2.0**28  # cv2 computes in 32 bits
    return np.rint((pixels - 0.5) * 2**SUBPIXEL_BITS).clip(-limit, limit).astype(np.int32)


def _clip_near(
    corners: Float[np.ndarray, "4 3"], depth: Float[np.ndarray, " 4"]
) -> Float[np.ndarray, "V 3"]:
    """Clip a face to the part beyond ``NEAR_M``."""
    kept: list[Float[np.ndarray, " 3"]] = []
    for here in range(4):
        after = (here + 1) % 4
        if depth[here] > NEAR_M:
            kept.append(corners[here])
        if (depth[here] > NEAR_M) != (depth[after] > NEAR_M):
            share = (NEAR_M - depth[here]) / (depth[after] - depth[here])
            kept.append(corners[here] + share * (corners[after] - corners[here]))
    return np.stack(kept)


def _relative_depth(
    faces: Faces, view: Viewpoint, shown: Int32[np.ndarray, " P"]
) -> Float32[np.ndarray, " F"]:
    """Return the depth of each face center, scaled to 0–1 over the visible faces."""
    _, depth = view.project(_corners(faces).mean(1))
    nearest, farthest = depth[shown].min(), depth[shown].max()
    relative = (depth - nearest) / max(farthest - nearest, 1e-6)
    return relative.clip(0, 1).astype(np.float32)


def _corner_light(is_drawn: Bool[np.ndarray, "X Y Z"], faces: Faces) -> Float32[np.ndarray, "F 4"]:
    """Return the light at the corners (0, 0), (0, 1), (1, 0), (1, 1) of each face, axis + 1 first.

    A corner is dimmed by the voxels in front of the face that touch it, like the corner of a room.
    """
    padded = np.pad(is_drawn, 1)
    flat = padded.ravel()
    stride = np.array(padded.strides)
    front = (faces.voxel + 1) @ stride + (2 * faces.side - 1) * stride[faces.axis]
    along = stride[(faces.axis + 1) % 3], stride[(faces.axis + 2) % 3]
    light = np.empty((len(front), 4), dtype=np.float32)
    for corner, (u, v) in enumerate(((-1, -1), (-1, 1), (1, -1), (1, 1))):
        beside_u, beside_v = flat[front + u * along[0]], flat[front + v * along[1]]
        beyond = flat[front + u * along[0] + v * along[1]]
        num_empty = 3 - beside_u.astype(np.int8) - beside_v - beyond
        light[:, corner] = CORNER_LIGHT[np.where(beside_u & beside_v, 0, num_empty)]
    return light


def _soft_light(is_drawn: Bool[np.ndarray, "X Y Z"], faces: Faces) -> Float32[np.ndarray, "F 4"]:
    """Return the soft light at the corners of each face, in the order of ``_corner_light``.

    Each corner sees a box in front of the face, ``SHADE_REACH`` voxels high and twice as wide. A
    summed-volume table gives the number of occupied voxels in it.
    """
    padded = np.pad(is_drawn, SHADE_REACH)
    sums = np.pad(padded, ((1, 0), (1, 0), (1, 0))).astype(np.int32)
    for axis in range(3):
        np.cumsum(sums, axis=axis, out=sums)
    flat = sums.ravel()
    stride = np.array(sums.strides) // sums.itemsize
    u_stride, v_stride = stride[(faces.axis + 1) % 3], stride[(faces.axis + 2) % 3]
    corner = (faces.voxel + SHADE_REACH) @ stride
    # The box starts at the face and extends away from it, which is down on the lower side.
    low = corner + np.where(faces.side, 1, -SHADE_REACH) * stride[faces.axis]
    layers = SHADE_REACH * stride[faces.axis]
    light = np.empty((len(corner), 4), dtype=np.float32)
    for number, (u, v) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        filled = np.zeros(len(corner), dtype=np.int32)
        for du, dv in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            at = low + (u + du * SHADE_REACH) * u_stride + (v + dv * SHADE_REACH) * v_stride
            filled += (du * dv) * (flat[at + layers] - flat[at])
        light[:, number] = np.exp(filled * np.float32(-SHADE_STRENGTH / (4 * SHADE_REACH**3)))
    return light


def _light(
    faces: Faces,
    face: Int32[np.ndarray, " P"],
    pixels: Int[np.ndarray, " P"],
    view: Viewpoint,
    corner_light: Float32[np.ndarray, "F 4"],
) -> Float32[np.ndarray, " P"]:
    """Return the light at each pixel's point on its face, with corner shade and edges."""
    light = np.empty(len(pixels), dtype=np.float32)
    axis_of_pixel = faces.axis.astype(np.int8)[face]
    for axis in range(3):
        chosen = np.flatnonzero(axis_of_pixel == axis)
        here = face[chosen]
        if not len(here):
            continue
        plane = (faces.voxel[:, axis] + faces.side).astype(np.float32)[here]
        points, shift = _intersect(view, pixels[chosen], axis, plane)
        origin = faces.voxel.T[[(axis + 1) % 3, (axis + 2) % 3]].astype(np.float32)
        inside = (points - origin[:, here]).clip(0, 1)
        light[chosen] = _bilinear(corner_light[here], inside) * _edge_light(inside, shift)
    return light


def _intersect(
    view: Viewpoint, pixels: Int[np.ndarray, " P"], axis: int, plane: Float32[np.ndarray, " P"]
) -> tuple[Float32[np.ndarray, "2 P"], Float32[np.ndarray, "2 P"]]:
    """Intersect the lines of sight of pixels (row · width + column) with planes across ``axis``.

    A line of sight is start + depth · step. In a perspective view it starts at the eye and the
    step depends on the pixel; in a parallel view it is the other way around.

    Returns:
        Coordinates of the points along the two other axes, axis + 1 first, and their shift from
        one pixel to the next; both in voxels.
    """
    from_pixel = np.linalg.inv(view.pixel_from_lidar)[:3].astype(np.float32)
    by_u, by_v, by_depth, constant = np.split(from_pixel, 4, axis=1)
    row, column = np.divmod(pixels, view.width)
    moved = by_u * (column.astype(np.float32) + np.float32(0.5))  # (3, P)
    moved += by_v * (row.astype(np.float32) + np.float32(0.5))
    start = constant if view.is_perspective else moved + constant
    step = moved + by_depth if view.is_perspective else by_depth
    # At the rim of a face seen edge-on, a line of sight may miss the plane: any value will do.
    toward = np.where(np.abs(step[axis]) < 1e-9, np.float32(1e-9), step[axis])
    depth = (plane - start[axis]) / toward
    others = [(axis + 1) % 3, (axis + 2) % 3]
    slope = step[others] / toward
    shift = np.hypot(by_u[others] - slope * by_u[axis], by_v[others] - slope * by_v[axis])
    shift = shift * (np.abs(depth) if view.is_perspective else np.ones_like(depth))
    return start[others] + depth * step[others], shift


def _bilinear(
    corners: Float32[np.ndarray, "P 4"], inside: Float32[np.ndarray, "2 P"]
) -> Float32[np.ndarray, " P"]:
    """Interpolate corner values bilinearly at points of faces."""
    u, v = inside
    low = corners[:, 0] + v * (corners[:, 1] - corners[:, 0])
    high = corners[:, 2] + v * (corners[:, 3] - corners[:, 2])
    return low + u * (high - low)


def _edge_light(
    inside: Float32[np.ndarray, "2 P"], shift: Float32[np.ndarray, "2 P"]
) -> Float32[np.ndarray, " P"]:
    """Return the light by distance to the face's edges: soft dark lines that fade on small cubes.

    Args:
        inside: Position within the face, 0–1.
        shift: Change of ``inside`` from one sample to the next.
    """
    cubes_per_px = np.maximum(shift * SUPERSAMPLING, 1e-6)
    line = EDGE_PX + 0.5 - np.minimum(inside, 1 - inside) / cubes_per_px
    small, large = EDGE_FADE_PX
    fade = (1 / cubes_per_px - small) / (large - small)
    return 1 - (1 - EDGE_LIGHT) * (line.clip(0, 1) * fade.clip(0, 1)).max(0)
