"""Shading: the color of the surface point that a camera ray hits."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from dataset.minesim.scene.materials import MATERIALS
from dataset.minesim.sensors.planes import rows, select, where
from dataset.minesim.sensors.sky import Light
from dataset.minesim.sensors.stage import Stage
from dataset.minesim.sensors.texture import grain, grooves, streaks
from utils.labels import UNSCENES3D

_SMOOTH_TEXTURES = frozenset({"ground", "rock", "mud", "snow"})
_TERRAIN = UNSCENES3D.index("terrain")
_CREASE_COS = 0.6
"""Edges sharper than this keep flat face normals."""
_PATH_STEP_M = 4.0
_PATH_TAIL_M = 400.0
_CHANNELS = 8
"""Sun cosine, sky share, meters along and across the road, steepness, red, green, blue."""
_DUST_TINT = np.array([[1.06], [1.0], [0.84]], dtype=np.float32)
"""Dust is lighter and yellower than the damp ground below it."""
_HEADLIGHT_COLOR = np.array([[1.0], [0.9], [0.7]], dtype=np.float32)


@dataclass(frozen=True)
class Spots:
    """Surface points hit by camera rays.

    Attributes:
        face: Face index.
        u: Barycentric weight of the second vertex.
        v: Barycentric weight of the third vertex.
        point: World frame [m].
        ray: Unit viewing direction, world frame.
        distance_m: Distance from the camera [m].
        sunlight: Share of the sun's disc that is visible, 0–1.
        lamplight: Irradiance of lamps at night; None by day.
    """

    face: Int32[np.ndarray, "M"]
    u: Float32[np.ndarray, "M"]
    v: Float32[np.ndarray, "M"]
    point: Float32[np.ndarray, "3 M"]
    ray: Float32[np.ndarray, "3 M"]
    distance_m: Float32[np.ndarray, "M"]
    sunlight: Float32[np.ndarray, "M"]
    lamplight: Float32[np.ndarray, "3 M"] | None = None


class Shader:
    """Shades the surfaces of one scene.

    Args:
        stage: The scene.
        light: Its lighting.
    """

    def __init__(self, stage: Stage, light: Light) -> None:
        self.light = light
        self._stage = stage
        normal, color = _corner_normals_and_colors(stage, _is_smooth(stage))
        self._rows = _corner_rows(stage, light, normal, color)
        film = stage.world.face_film
        self._film = None if film is None else _corner_film(stage, film)
        self._normals = normal if light.is_night or film is not None else None
        self._contrast = _by_face(stage, [material.contrast for material in MATERIALS])
        emission = _by_face(stage, [material.emission for material in MATERIALS])
        self._emission = emission if emission.any() else None
        heading = stage.world.drive.world_from_vehicle[:, :2, 0].sum(axis=0)
        heading /= max(float(np.linalg.norm(heading)), 1e-9)
        sun = light.sun_direction
        self._sun_on_ground = sun[:2]
        self._sun_on_wall = np.array([heading @ sun[:2], sun[2]], dtype=np.float32)

    def normal(
        self,
        face: Int32[np.ndarray, "M"],
        u: Float32[np.ndarray, "M"],
        v: Float32[np.ndarray, "M"],
    ) -> Float32[np.ndarray, "M 3"]:
        """Return the smooth unit normals of points on faces, at night and on wet ground only."""
        assert self._normals is not None, "normals are kept for lamps and films only"
        found = _interpolate(self._normals.take(face, axis=0), u, v)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)

    def color(self, spots: Spots, focal_px: float) -> Float32[np.ndarray, "3 M"]:
        """Return the linear RGB that reaches the camera.

        Args:
            spots: The surface points.
            focal_px: Focal length, which sets the footprint of a pixel on the surface.
        """
        surface = self._surface(spots)
        facing, sky_share, along, across, steepness = surface[:5]
        is_wall = steepness > 0.5
        contrast = self._contrast.take(spots.face)
        pattern, slope = self._pattern(spots, along, across, is_wall, focal_px)
        facing = np.maximum(facing - 0.55 * contrast * slope, 0.0) * spots.sunlight
        relief = contrast * pattern
        light = self.light
        albedo = np.maximum(1.0 + relief * _DUST_TINT, 0.15)
        albedo *= surface[5:]
        bounce = light.ambient * 0.35 + light.sun * 0.06
        shade = sky_share * (1.0 + 0.4 * contrast * pattern)
        color = facing * light.sun[:, None]
        color += shade * light.ambient[:, None]
        color += (1.0 - sky_share) * bounce[:, None]
        color *= albedo
        self._add_lamps(color, albedo, spots)
        self._add_reflections(color, spots)
        if self._film is not None:
            self._add_film(color, spots, self._film, pattern)
        self._pass_air(color, spots)
        return color

    def _surface(self, spots: Spots) -> Float32[np.ndarray, "8 M"]:
        """Interpolate the channels of ``_corner_rows`` at surface points."""
        planes: Float32[np.ndarray, "24 M"] = cv2.transpose(self._rows.take(spots.face, axis=0))
        surface, along_u, along_v = np.split(planes, 3)
        along_u *= spots.u
        surface += along_u
        along_v *= spots.v
        surface += along_v
        return surface

    def _pattern(
        self,
        spots: Spots,
        along: Float32[np.ndarray, "M"],
        across: Float32[np.ndarray, "M"],
        is_wall: Bool[np.ndarray, "M"],
        focal_px: float,
    ) -> tuple[Float32[np.ndarray, "M"], Float32[np.ndarray, "M"]]:
        """Return the brightness of the texture and how far its relief tilts away from the sun."""
        x, y, z = spots.point
        width = spots.distance_m * (1.0 / focal_px)
        # A pixel footprint stretches along the ray where the ray grazes the ground.
        grazing = np.where(is_wall, 0.7, np.abs(spots.ray[2]) + 0.02)
        footprint = width / np.sqrt(grazing)
        # Height shifts the pattern, so that it does not streak down rocks and machines.
        first_m = np.where(is_wall, along, x + 0.7 * z)
        second_m = np.where(is_wall, z, y + 0.5 * z)
        brightness, first, second, pebbles = grain().sample(first_m, second_m, footprint)
        on_flat = (~is_wall).astype(np.float32)
        pattern = brightness * (0.6 + 0.4 * on_flat) + pebbles * (0.3 + 0.7 * on_flat)
        flat, steep = where(~is_wall), np.flatnonzero(is_wall)
        track = streaks().sample(select(along, flat), select(across, flat))
        pattern[flat] += 0.25 * track * np.clip(1.5 - 5.0 * select(width, flat), 0.0, 1.0)
        if len(steep):
            # The teeth come down at a slant.
            aslant = along[steep] + 0.45 * z[steep]
            groove = grooves().sample(z[steep], aslant)
            groove *= np.clip(1.5 - 4.0 * width[steep], 0.0, 1.0)
            pattern[steep] += 0.45 * groove
        on_ground, on_wall = self._sun_on_ground, self._sun_on_wall
        slope = first * np.where(is_wall, on_wall[0], on_ground[0])
        slope += second * np.where(is_wall, on_wall[1], on_ground[1])
        return pattern, slope

    def _add_lamps(
        self,
        color: Float32[np.ndarray, "3 M"],
        albedo: Float32[np.ndarray, "3 M"],
        spots: Spots,
    ) -> None:
        """Add the light of lamps in the scene and, at dusk, of the ego truck's headlights."""
        if self._emission is not None:
            emission = self._emission.take(spots.face)
            color += albedo * (emission * (4.0 if self.light.is_dusk else 0.5))
        if spots.lamplight is not None:
            color += albedo * spots.lamplight
        elif self.light.is_dusk:
            reach = np.exp(spots.distance_m * (-1.0 / 28.0))
            beam = 0.30 * reach / (1.0 + (spots.distance_m * (1.0 / 30.0)) ** 2)
            color += albedo * beam * _HEADLIGHT_COLOR

    def _add_reflections(self, color: Float32[np.ndarray, "3 M"], spots: Spots) -> None:
        """Add reflections of sky and sun in water, glass, paint and steel."""
        gloss = self._stage.face_gloss.take(spots.face)
        glossy = np.flatnonzero(gloss > 0.05)
        if len(glossy) == 0:
            return
        normal = self._stage.face_normal[spots.face[glossy]]
        ray = rows(spots.ray.take(glossy, axis=1))
        cosine = np.einsum("mk,mk->m", normal, ray)
        reflection = self._mirrored(ray, normal, cosine, spots.sunlight[glossy])
        share = gloss[glossy] * (0.2 + 0.6 * (1.0 - np.minimum(np.abs(cosine), 1.0)) ** 3)
        color[:, glossy] += share * (reflection.T - color[:, glossy])

    def _mirrored(
        self,
        ray: Float32[np.ndarray, "K 3"],
        normal: Float32[np.ndarray, "K 3"],
        cosine: Float32[np.ndarray, "K"],
        sunlight: Float32[np.ndarray, "K"],
    ) -> Float32[np.ndarray, "K 3"]:
        """Return the light of sky, ground and sun that a mirror reflects along rays."""
        mirrored = ray - 2.0 * cosine[:, None] * normal
        sees_sky = np.clip(6.0 * mirrored[:, 2] + 0.5, 0.0, 1.0)
        ground = 0.35 * (self.light.ambient + 0.3 * self.light.sun)
        reflection = self.light.sky(mirrored) * sees_sky[:, None]
        reflection += (1.0 - sees_sky)[:, None] * ground
        highlight = np.maximum(mirrored @ self.light.sun_direction, 0.0) ** 80
        highlight *= 6.0 * sunlight
        reflection += highlight[:, None] * self.light.sun
        return reflection

    def _add_film(
        self,
        color: Float32[np.ndarray, "3 M"],
        spots: Spots,
        film: Float32[np.ndarray, "F 3"],
        pattern: Float32[np.ndarray, "M"],
    ) -> None:
        """Add reflections in films of water and oil, which collect between the clods."""
        corners = film.take(spots.face, axis=0)[..., None]
        cover = _interpolate(corners, spots.u, spots.v)[:, 0]
        covered = np.flatnonzero(cover > 0.05)
        if len(covered) == 0:
            return
        cover = np.clip(cover[covered] * (1.0 - 0.9 * pattern[covered]), 0.0, 1.0)
        normal = self.normal(spots.face[covered], spots.u[covered], spots.v[covered])
        ray = rows(spots.ray.take(covered, axis=1))
        cosine = np.einsum("mk,mk->m", normal, ray)
        reflection = self._mirrored(ray, normal, cosine, spots.sunlight[covered])
        share = cover * (0.03 + 0.8 * (1.0 - np.clip(np.abs(cosine), 0.1, 1.0)) ** 5)
        color[:, covered] += share * (reflection.T - color[:, covered])

    def _pass_air(self, color: Float32[np.ndarray, "3 M"], spots: Spots) -> None:
        """Fade to haze with distance, and to the dust above the road."""
        light = self.light
        haze = light.haze[:, None]
        color -= haze
        color *= np.exp(spots.distance_m * -light.haze_per_m)
        color += haze
        if light.dust > 0:
            level = light.ambient + light.sun * max(float(light.sun_direction[2]), 0.25)
            veil = 1.0 - np.exp(np.minimum(spots.distance_m, 400.0) * (-0.010 * light.dust))
            dust = level * np.array([0.62, 0.55, 0.44], np.float32)
            color += veil * (dust[:, None] - color)


def _by_face(stage: Stage, values: list[float]) -> Float32[np.ndarray, "F"]:
    """Look up a material property for each face."""
    return np.array(values, dtype=np.float32)[stage.world.face_material]


def _interpolate(
    corners: Float32[np.ndarray, "M 3 K"], u: Float32[np.ndarray, "M"], v: Float32[np.ndarray, "M"]
) -> Float32[np.ndarray, "M K"]:
    """Interpolate values at the corners of faces."""
    first, second, third = corners[:, 0], corners[:, 1], corners[:, 2]
    return first + u[:, None] * (second - first) + v[:, None] * (third - first)


def _is_smooth(stage: Stage) -> Bool[np.ndarray, "F"]:
    """Return which faces share normals and colors with their neighbors."""
    is_smooth = np.array([material.texture in _SMOOTH_TEXTURES for material in MATERIALS])
    return is_smooth[stage.world.face_material]


def _corner_film(stage: Stage, film: Float32[np.ndarray, "F"]) -> Float32[np.ndarray, "F 3"]:
    """Return the film at the corners of faces, averaged over the faces that share a corner."""
    faces = stage.world.faces
    total, count = _vertex_sum(faces, film[:, None], len(stage.world.vertices))
    return (total[:, 0] / np.maximum(count, 1)).astype(np.float32)[faces]


def _corner_rows(
    stage: Stage,
    light: Light,
    normal: Float32[np.ndarray, "F 3 3"],
    color: Float32[np.ndarray, "F 3 3"],
) -> Float32[np.ndarray, "F 24"]:
    """Return the values that shading interpolates on each face: first vertex, then two edges."""
    world = stage.world
    is_wall = _is_smooth(stage) & (world.face_class == _TERRAIN)
    along, across = road_coordinates(world.vertices, world.drive.world_from_vehicle)
    corners = np.empty((len(world.faces), 3, _CHANNELS), dtype=np.float32)
    corners[..., 0] = normal @ light.sun_direction
    corners[..., 1] = 0.5 + 0.5 * normal[..., 2]
    corners[..., 2], corners[..., 3] = along.take(world.faces), across.take(world.faces)
    corners[..., 4] = np.clip((0.92 - normal[..., 2]) * 4.0, 0.0, 1.0) * is_wall[:, None]
    corners[..., 5:] = color
    corners[:, 1:] -= corners[:, :1]
    return corners.reshape(len(corners), -1)


def _corner_normals_and_colors(
    stage: Stage, smooth: Bool[np.ndarray, "F"]
) -> tuple[Float32[np.ndarray, "F 3 3"], Float32[np.ndarray, "F 3 3"]]:
    """Return smooth normals and colors on the ground, and flat ones elsewhere."""
    own_normal = np.repeat(stage.face_normal[:, None], 3, axis=1)
    own_color = np.repeat(stage.world.face_color[:, None], 3, axis=1)
    rows = np.flatnonzero(smooth)
    faces = stage.world.faces[rows]
    own = np.column_stack([stage.face_normal[rows], stage.world.face_color[rows]])
    total, count = _vertex_sum(faces, own, len(stage.world.vertices))
    shared = (total / np.maximum(count, 1.0)[:, None]).astype(np.float32)
    shared[:, :3] /= np.maximum(np.linalg.norm(shared[:, :3], axis=1, keepdims=True), 1e-6)
    at_corner = shared.take(faces, axis=0)  # (smooth faces, 3, 6)
    is_bent = np.einsum("fck,fk->fc", at_corner[..., :3], own[:, :3]) < _CREASE_COS
    own_normal[rows] = np.where(is_bent[..., None], own_normal[rows], at_corner[..., :3])
    own_color[rows] = at_corner[..., 3:]
    return own_normal, own_color


def _vertex_sum(
    faces: Int32[np.ndarray, "F 3"], values: Float32[np.ndarray, "F K"], num_vertices: int
) -> tuple[Float[np.ndarray, "V K"], Int[np.ndarray, "V"]]:
    """Sum the values of the faces around each vertex, and count these faces."""
    corners = faces.T.reshape(-1)
    sums = np.empty((num_vertices, values.shape[1]))
    for column, value in enumerate(values.T):
        sums[:, column] = np.bincount(corners, np.tile(value, 3), minlength=num_vertices)
    return sums, np.bincount(corners, minlength=num_vertices)


def road_coordinates(
    vertices: Float32[np.ndarray, "V 3"], world_from_vehicle: Float[np.ndarray, "T 4 4"]
) -> tuple[Float32[np.ndarray, "V"], Float32[np.ndarray, "V"]]:
    """Return each vertex's distance along the drive (extended straight) and to its left [m]."""
    path = world_from_vehicle[:, :2, 3]
    traveled = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    length = traveled[-1]
    stations = np.arange(-_PATH_TAIL_M, length + _PATH_TAIL_M, _PATH_STEP_M)
    inside = np.clip(stations, 0.0, length)
    nodes = np.stack([np.interp(inside, traveled, path[:, k]) for k in range(2)], axis=1)
    heading = world_from_vehicle[[0, -1], :2, 0]
    nodes += np.minimum(stations, 0.0)[:, None] * heading[0]
    nodes += np.maximum(stations - length, 0.0)[:, None] * heading[1]
    tangent = np.gradient(nodes, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    center = nodes.mean(axis=0)
    xy = (vertices[:, :2] - center).astype(np.float32)
    local = (nodes - center).astype(np.float32)
    squared = (local * local).sum(axis=1)
    nearest = np.concatenate(
        [np.argmin(squared - 2.0 * (chunk @ local.T), axis=1) for chunk in _chunks(xy, 16_384)]
    )
    offset, direction = xy - local[nearest], tangent[nearest]
    along = stations[nearest] + (offset * direction).sum(axis=1)
    across = offset[:, 1] * direction[:, 0] - offset[:, 0] * direction[:, 1]
    return along.astype(np.float32), across.astype(np.float32)


def _chunks(array: Float32[np.ndarray, "N K"], size: int) -> list[Float32[np.ndarray, "n K"]]:
    return [array[start : start + size] for start in range(0, len(array), size)]
