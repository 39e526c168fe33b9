"""Simulated cameras of the ego vehicle: the color image and the depth of every pixel."""

from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from dataset.minesim.sensors.lamps import Lamps
from dataset.minesim.sensors.lens import glare, glow, soiled
from dataset.minesim.sensors.raycast import Hits
from dataset.minesim.sensors.shading import Shader, Spots
from dataset.minesim.sensors.sky import make_light
from dataset.minesim.sensors.stage import Stage

_BAND_PIXELS = 48 * 1024
"""Pixels shaded at once, so that their arrays fit in the CPU cache."""
_SUN_RADIUS_RAD = 0.0047
_EGO_SHADOW_M = 60.0
"""Maximum distance at which the ego truck casts a shadow."""
_TONE_STEPS = 4096
_TONE_MAX = 1.6
_NOISE = 1.5
"""Standard deviation of the sensor noise, in 8-bit steps."""
_BLUR_PX = 0.55
"""Lens blur in an image 1920 pixels wide."""
_GLARE_RAYS = 64
_GLARE_COLOR = np.array([1.0, 0.86, 0.62], dtype=np.float32)
_CAMERAS_KEPT = 8
"""Number of cameras whose lens tables are cached: enough for a whole rig."""


@runtime_checkable
class Pinhole(Protocol):
    """Camera interface of the renderer; equal cameras produce equal images."""

    @property
    def width(self) -> int:
        """Image width [px]."""

    @property
    def height(self) -> int:
        """Image height [px]."""

    @property
    def focal_px(self) -> tuple[float, float]:
        """Focal length along u and v [px]."""

    @property
    def vehicle_from_cam(self) -> Float[np.ndarray, "4 4"]:
        """Pose of the camera on the vehicle."""

    @property
    def rays(self) -> Float32[np.ndarray, "H W 3"]:
        """Ray through each pixel center in the camera frame, scaled to z = 1."""

    def __hash__(self) -> int:
        """Hash the camera: it is the cache key of the lens tables."""


@dataclass(frozen=True)
class CameraFrame:
    """A rendered camera frame.

    Attributes:
        image: RGB image.
        depth_m: Camera depth of the first surface in each pixel [m]; inf in the sky.
    """

    image: UInt8[np.ndarray, "H W 3"]
    depth_m: Float32[np.ndarray, "H W"]


class CameraRenderer:
    """Renders camera images of one scene.

    Args:
        stage: The scene.
        camera: The camera to render.
    """

    def __init__(self, stage: Stage, camera: Pinhole) -> None:
        self._stage = stage
        self._camera = camera
        self._light = make_light(stage.world.environment)
        self._shader = Shader(stage, self._light)
        self._lamps = Lamps(stage) if self._light.is_night else None

    def with_camera(self, camera: Pinhole) -> "CameraRenderer":
        """Return a copy that renders the same scene through another camera."""
        other = copy(self)
        other._camera = camera
        return other

    def take(
        self, world_from_vehicle: Float[np.ndarray, "4 4"], rng: np.random.Generator
    ) -> CameraFrame:
        """Render the image from a vehicle pose; ``rng`` draws the sensor noise."""
        camera, light = self._camera, self._light
        world_from_cam = world_from_vehicle @ camera.vehicle_from_cam
        rotation = world_from_cam[:3, :3].T.astype(np.float32)
        rows_per_band = max(1, _BAND_PIXELS // camera.width)
        image = np.empty((camera.height, camera.width, 3), dtype=np.uint8)
        depth = np.empty((camera.height, camera.width), dtype=np.float32)
        lengths, vignette = _ray_lengths(camera), _vignette(camera)
        sunshine = self._sunshine(world_from_cam)
        for start in range(0, camera.height, rows_per_band):
            band = slice(start, start + rows_per_band)
            directions = camera.rays[band].reshape(-1, 3) @ rotation
            length = lengths[band].reshape(-1)
            hits = self._stage.caster.first_hits(
                world_from_cam[:3, 3].astype(np.float32), directions
            )
            rays = directions / length[:, None]
            color = self._band(hits, rays, length, world_from_vehicle)
            if sunshine > 0:
                veil = sunshine * glare(rays, light.sun_direction)
                color += veil[:, None] * _GLARE_COLOR
            color *= vignette[band].reshape(-1, 1)
            image[band] = _tone(color).reshape(image[band].shape)
            depth[band] = np.where(hits.face < 0, np.inf, hits.distance).reshape(depth[band].shape)
        return CameraFrame(self._finish(image, rng), depth)

    def _sunshine(self, world_from_cam: Float[np.ndarray, "4 4"]) -> float:
        """Return the share of the sun that shines onto the lens, 0–1; 0 under a high sun."""
        light = self._light
        facing = float(world_from_cam[:3, 2] @ light.sun_direction)
        if light.disc <= 0 or facing <= 0:
            return 0.0
        toward_sun = light.sun_direction + _disc_jitter(_GLARE_RAYS)
        eye = np.tile(world_from_cam[:3, 3].astype(np.float32), (_GLARE_RAYS, 1))
        return float(1.0 - self._stage.caster.are_blocked(eye, toward_sun).mean())

    def _finish(
        self, image: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Apply the lens, with its dirt, and sensor noise, which is stronger at dusk."""
        height, width = image.shape[:2]
        soft = cv2.GaussianBlur(image, (0, 0), max(0.3, _BLUR_PX * width / 1920))
        if self._lamps is not None:
            soft = glow(soft)
        lens_seed = self._stage.world.environment.lens_seed
        if lens_seed is not None:
            soft = soiled(soft, lens_seed)
        strength = _NOISE * (2.5 if self._light.is_dusk else 1.0)
        table = np.rint(128.0 + strength * _noise_field()).astype(np.uint8)
        shift = rng.integers(0, 512, size=2)
        table = np.roll(table, shift, axis=(0, 1))
        repeats = (-(-height // 512), -(-width // 512), 1)
        noise = np.tile(table, repeats)[:height, :width]
        return cv2.addWeighted(soft, 1.0, noise, 1.0, -128.0)

    def _band(
        self,
        hits: Hits,
        rays: Float32[np.ndarray, "R 3"],
        length: Float32[np.ndarray, "R"],
        world_from_vehicle: Float[np.ndarray, "4 4"],
    ) -> Float32[np.ndarray, "R 3"]:
        """Return the linear RGB of unit rays; ``length`` is their distance per unit of depth."""
        color = np.empty_like(rays)
        is_sky = hits.face < 0
        in_sky = np.flatnonzero(is_sky)
        if len(in_sky):
            color[in_sky] = self._light.sky(rays[in_sky])
        on_ground = np.flatnonzero(~is_sky)
        if len(on_ground):
            spots = self._spots(hits, rays, length, on_ground, world_from_vehicle)
            color[on_ground] = self._shader.color(spots, self._camera.focal_px[0])
        plumes = self._stage.world.environment.plumes
        if plumes is not None:
            eye = (world_from_vehicle @ self._camera.vehicle_from_cam)[:3, 3].astype(np.float32)
            reach = np.where(is_sky, np.float32(np.inf), hits.distance * length)
            veil = 1.0 - np.exp(-plumes.optical_depth(eye, rays, reach))
            color += veil[:, None] * (self._light.dust_color(rays) - color)
        return color

    def _spots(
        self,
        hits: Hits,
        rays: Float32[np.ndarray, "R 3"],
        length: Float32[np.ndarray, "R"],
        index: Int64[np.ndarray, "M"],
        world_from_vehicle: Float[np.ndarray, "4 4"],
    ) -> Spots:
        """Return the surface points that rays ``index`` hit, with their share of sunlight."""
        face, ray = hits.face[index], rays[index]
        distance = hits.distance[index] * length[index]
        eye = (world_from_vehicle @ self._camera.vehicle_from_cam)[:3, 3].astype(np.float32)
        point = eye + distance[:, None] * ray
        sunlight = np.zeros(len(index), dtype=np.float32)
        if self._light.sun.any():
            sunny = np.flatnonzero(self._shader.sun_cosine(face) > -0.2)
            sunlight[sunny] = self._sunlight(
                point[sunny] - 0.02 * ray[sunny], distance[sunny], world_from_vehicle
            )
            sunlight = self._soften(sunlight, index, len(rays))
        lamplight = None
        if self._lamps is not None:
            normal = self._shader.normal(face, hits.u[index], hits.v[index])
            lamplight = self._lamps.irradiance(point, normal, world_from_vehicle)
        return Spots(face, hits.u[index], hits.v[index], point, ray, distance, sunlight, lamplight)

    def _soften(
        self, sunlight: Float32[np.ndarray, "M"], index: Int64[np.ndarray, "M"], num_rays: int
    ) -> Float32[np.ndarray, "M"]:
        """Average the sunlight of neighboring pixels, as one ray per pixel is a coarse sample."""
        window = 5 if self._camera.width >= 1280 else 3
        layers = np.zeros((num_rays, 2), dtype=np.float32)
        layers[index, 0], layers[index, 1] = sunlight, 1.0
        grid = layers.reshape(-1, self._camera.width, 2)
        total = cv2.boxFilter(grid, -1, (window, window), borderType=cv2.BORDER_REPLICATE)
        light, weight = total.reshape(-1, 2)[index].T
        return light / weight

    def _sunlight(
        self,
        point: Float32[np.ndarray, "M 3"],
        distance_m: Float32[np.ndarray, "M"],
        world_from_vehicle: Float[np.ndarray, "4 4"],
    ) -> Float32[np.ndarray, "M"]:
        """Return 1 where the sun is visible, 0 where the mine or the ego truck hides it."""
        sun = self._light.sun_direction
        # One random point of the sun's disc per ray: shadows soften away from the occluder.
        toward_sun = sun + _disc_jitter(len(point))
        start = point + (0.04 + 0.001 * distance_m)[:, None] * sun
        hidden = self._stage.caster.are_blocked(start, toward_sun)
        near = np.flatnonzero((distance_m < _EGO_SHADOW_M) & ~hidden)
        if len(near):
            to_vehicle = world_from_vehicle[:3, :3].astype(np.float32)
            local = (start[near] - world_from_vehicle[:3, 3].astype(np.float32)) @ to_vehicle
            hidden[near] = self._stage.ego_shadow.are_blocked(local, toward_sun[near] @ to_vehicle)
        return (~hidden).astype(np.float32)


@lru_cache(maxsize=_CAMERAS_KEPT)
def _ray_lengths(camera: Pinhole) -> Float32[np.ndarray, "H W"]:
    """Return the distance per unit of depth of each pixel."""
    return np.sqrt((camera.rays * camera.rays).sum(axis=-1))


@lru_cache(maxsize=_CAMERAS_KEPT)
def _vignette(camera: Pinhole) -> Float32[np.ndarray, "H W"]:
    """Return the brightness factor of each pixel, which falls toward the corners."""
    return _ray_lengths(camera) ** -1.0


@lru_cache(maxsize=1)
def _jitter_table() -> Float32[np.ndarray, "J 3"]:
    """Return random offsets within the sun's disc, in all directions."""
    offsets = np.random.default_rng(7).normal(size=(1 << 16, 3))
    return (offsets * (0.5 * _SUN_RADIUS_RAD)).astype(np.float32)


def _disc_jitter(count: int) -> Float32[np.ndarray, "M 3"]:
    table = _jitter_table()
    return np.resize(table, (count, 3)) if count > len(table) else table[:count]


@lru_cache(maxsize=1)
def _tone_table() -> UInt8[np.ndarray, "4096"]:
    """Tabulate the display value of linear light: sRGB with a highlight rolloff."""
    linear = np.linspace(0.0, _TONE_MAX, _TONE_STEPS)
    soft = np.where(linear < 0.7, linear, 0.7 + 0.3 * (1.0 - np.exp(-(linear - 0.7) / 0.3)))
    low, high = 12.92 * soft, 1.055 * np.maximum(soft, 1e-6) ** (1 / 2.4) - 0.055
    return np.rint(255.0 * np.clip(np.where(soft < 0.0031308, low, high), 0, 1)).astype(np.uint8)


def _tone(color: Float32[np.ndarray, "R 3"]) -> UInt8[np.ndarray, "R 3"]:
    """Convert linear light to display values."""
    step = color * ((_TONE_STEPS - 1) / _TONE_MAX)
    return _tone_table()[np.clip(step, 0, _TONE_STEPS - 1).astype(np.int32)]


@lru_cache(maxsize=1)
def _noise_field() -> Float32[np.ndarray, "512 512 3"]:
    """Return unit-variance Gaussian noise."""
    return np.random.default_rng(11).standard_normal((512, 512, 3), dtype=np.float32)
