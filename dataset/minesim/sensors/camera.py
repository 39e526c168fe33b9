"""Simulated cameras of the ego vehicle: the color image and the depth of every pixel."""

from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from dataset.minesim.sensors.lamps import Lamps
from dataset.minesim.sensors.lens import glare, glow, soiled
from dataset.minesim.sensors.planes import Index, rows, select, where
from dataset.minesim.sensors.raycast import Hits
from dataset.minesim.sensors.shading import Shader, Spots
from dataset.minesim.sensors.sky import make_light
from dataset.minesim.sensors.stage import Stage
from dataset.minesim.sensors.sunlight import Sunlight, soften

_BAND_PIXELS = 48 * 1024
"""Pixels shaded at once, so that their arrays fit in the CPU cache."""
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
    def rays(self) -> Float32[np.ndarray, "3 H W"]:
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
        self._sunlight = Sunlight(stage, self._light)
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
        width, height = camera.width, camera.height
        world_from_cam = world_from_vehicle @ camera.vehicle_from_cam
        rotation, eye = (part.astype(np.float32) for part in np.split(world_from_cam[:3], [3], 1))
        rays_per_band = max(1, _BAND_PIXELS // width) * width
        image = np.empty((height, width, 3), dtype=np.uint8)
        depth = np.empty(height * width, dtype=np.float32)
        all_rays, lengths = camera.rays.reshape(3, -1), _ray_lengths(camera).reshape(-1)
        vignette = _vignette(camera).reshape(-1)
        sunshine = self._sunshine(world_from_cam)
        for start in range(0, height * width, rays_per_band):
            band = slice(start, start + rays_per_band)
            directions = rotation @ all_rays[:, band]
            hits = self._stage.caster.first_hits(eye[:, 0], directions.T)
            view = _View(directions / lengths[band], lengths[band], eye, world_from_vehicle)
            color = self._band(hits, view)
            if sunshine > 0:
                veil = sunshine * glare(rows(view.ray), light.sun_direction)
                color += veil * _GLARE_COLOR[:, None]
            color *= vignette[band]
            lines = slice(start // width, (start + rays_per_band) // width)
            image[lines] = _tone(color).reshape(3, -1, width).transpose(1, 2, 0)
            depth[band] = np.where(hits.face < 0, np.inf, hits.distance)
        return CameraFrame(self._finish(image, rng), depth.reshape(height, width))

    def _sunshine(self, world_from_cam: Float[np.ndarray, "4 4"]) -> float:
        """Return the share of the sun that shines onto the lens, 0–1; 0 under a high sun."""
        light = self._light
        facing = float(world_from_cam[:3, 2] @ light.sun_direction)
        if light.disc <= 0 or facing <= 0:
            return 0.0
        eyes = np.tile(world_from_cam[:3, 3].astype(np.float32), (_GLARE_RAYS, 1))
        toward_sun = self._sunlight.disc_rays(_GLARE_RAYS)
        return float(1.0 - self._stage.caster.are_blocked(eyes, toward_sun.T).mean())

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

    def _band(self, hits: Hits, view: "_View") -> Float32[np.ndarray, "3 R"]:
        """Return the linear RGB that each ray sees."""
        color = np.empty_like(view.ray)
        is_sky = hits.face < 0
        in_sky = np.flatnonzero(is_sky)
        if len(in_sky):
            color[:, in_sky] = self._light.sky(rows(view.ray.take(in_sky, axis=1))).T
        if len(in_sky) < len(is_sky):
            on_surface = where(~is_sky)
            spots = self._spots(hits, view, is_sky, on_surface)
            color[:, on_surface] = self._shader.color(spots, self._camera.focal_px[0])
        plumes = self._stage.world.environment.plumes
        if plumes is not None:
            reach = np.where(is_sky, np.float32(np.inf), hits.distance * view.length)
            unit_rays = rows(view.ray)
            veil = 1.0 - np.exp(-plumes.optical_depth(view.eye[:, 0], unit_rays, reach))
            color += veil * (self._light.dust_color(unit_rays).T - color)
        return color

    def _spots(
        self, hits: Hits, view: "_View", is_sky: Bool[np.ndarray, "R"], index: Index
    ) -> Spots:
        """Return the surface points that rays ``index`` hit, with their share of sunlight."""
        face, u, v, ray = (select(a, index) for a in (hits.face, hits.u, hits.v, view.ray))
        distance = select(hits.distance, index) * select(view.length, index)
        point = view.eye + distance * ray
        pose = view.world_from_vehicle
        sunlight = self._sunlight.visible(face, point, ray, distance, pose)
        if self._light.sun.any():
            sunlight = self._soften(sunlight, is_sky, index)
        lamplight = None
        if self._lamps is not None:
            normal = self._shader.normal(face, u, v)
            lamplight = rows(self._lamps.irradiance(rows(point), normal, pose))
        return Spots(face, u, v, point, ray, distance, sunlight, lamplight)

    def _soften(
        self, sunlight: Float32[np.ndarray, "M"], is_sky: Bool[np.ndarray, "R"], index: Index
    ) -> Float32[np.ndarray, "M"]:
        width = self._camera.width
        if isinstance(index, slice):
            return soften(sunlight.reshape(-1, width), None).reshape(-1)
        everywhere = np.zeros(len(is_sky), dtype=np.float32)
        everywhere[index] = sunlight
        is_surface = (~is_sky).astype(np.float32).reshape(-1, width)
        return soften(everywhere.reshape(-1, width), is_surface).reshape(-1).take(index)


@dataclass(frozen=True)
class _View:
    """Rays through some pixels.

    Attributes:
        ray: Unit directions, world frame.
        length: Distance per unit of camera depth.
        eye: Position of the camera, world frame [m].
        world_from_vehicle: Pose of the vehicle.
    """

    ray: Float32[np.ndarray, "3 R"]
    length: Float32[np.ndarray, "R"]
    eye: Float32[np.ndarray, "3 1"]
    world_from_vehicle: Float[np.ndarray, "4 4"]


@lru_cache(maxsize=_CAMERAS_KEPT)
def _ray_lengths(camera: Pinhole) -> Float32[np.ndarray, "H W"]:
    """Return the distance per unit of depth of each pixel."""
    return np.sqrt((camera.rays * camera.rays).sum(axis=0))


@lru_cache(maxsize=_CAMERAS_KEPT)
def _vignette(camera: Pinhole) -> Float32[np.ndarray, "H W"]:
    """Return the brightness factor of each pixel, which falls toward the corners."""
    return _ray_lengths(camera) ** -1.0


@lru_cache(maxsize=1)
def _tone_table() -> UInt8[np.ndarray, "4096"]:
    """Tabulate the display value of linear light: sRGB with a highlight rolloff."""
    linear = np.linspace(0.0, _TONE_MAX, _TONE_STEPS)
    soft = np.where(linear < 0.7, linear, 0.7 + 0.3 * (1.0 - np.exp(-(linear - 0.7) / 0.3)))
    low, high = 12.92 * soft, 1.055 * np.maximum(soft, 1e-6) ** (1 / 2.4) - 0.055
    return np.rint(255.0 * np.clip(np.where(soft < 0.0031308, low, high), 0, 1)).astype(np.uint8)


def _tone(color: Float32[np.ndarray, "3 R"]) -> UInt8[np.ndarray, "3 R"]:
    """Convert linear light to display values."""
    step = color * ((_TONE_STEPS - 1) / _TONE_MAX)
    np.clip(step, 0, _TONE_STEPS - 1, out=step)
    return _tone_table().take(step.astype(np.int32))


@lru_cache(maxsize=1)
def _noise_field() -> Float32[np.ndarray, "512 512 3"]:
    """Return unit-variance Gaussian noise."""
    return np.random.default_rng(11).standard_normal((512, 512, 3), dtype=np.float32)
