"""The corruptions of the benchmark: names, sensors, and the numbers of three severities each."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from dataset.corruptions import camera, dust, lidar, weather
from dataset.corruptions.both import misalign_space, misalign_time
from dataset.corruptions.depth import pixel_rays
from dataset.corruptions.surroundings import Surroundings
from dataset.sample import Sample

CAMERA, LIDAR, BOTH = "camera", "lidar", "both"
SEVERITIES = (1, 2, 3)
SEED = 1000

Cloud = Float32[np.ndarray, "P F"]


@dataclass(frozen=True)
class Corruption:
    """One corruption.

    Attributes:
        name: Its name in results and on the command line.
        sensor: "camera", "lidar" or "both": the group that it counts in.
        changes: Fields of a Sample that it may change.
        apply: ``apply(sample, rng, surroundings, **level)`` returns the corrupted Sample.
        levels: Arguments of ``apply`` for the severities 1, 2 and 3.
        needs: Further fields of a Sample that it reads.
    """

    name: str
    sensor: str
    changes: frozenset[str]
    apply: Callable[..., Sample]
    levels: tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]
    needs: frozenset[str] = frozenset()


def corrupt(
    sample: Sample, corruption: Corruption, severity: int, around: Surroundings, seed: int = SEED
) -> Sample:
    """Corrupt a frame. Returns a new Sample; no tensor of ``sample`` changes.

    The result depends on the arguments only. The severities of a corruption share their random
    numbers, so that a higher one adds to a lower one.

    Args:
        sample: The frame, with the fields that the corruption changes and needs.
        corruption: One of ``CORRUPTIONS``.
        severity: 1, 2 or 3.
        around: What is around the frame.
        seed: Seed of the benchmark.

    Raises:
        ValueError: If the severity is unknown, or the sample lacks a field.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be one of {SEVERITIES}, got {severity}")
    missing = sorted(name for name in corruption.needs if getattr(sample, name) is None)
    if missing:
        raise ValueError(
            f"frame {sample.stem}: '{corruption.name}' needs {missing}, which are None"
        )
    name = f"{seed}/{corruption.name}/{sample.stem}"
    digest = hashlib.sha256(name.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return corruption.apply(sample, rng, around, **corruption.levels[severity - 1])


def _each_image(
    function: Callable[..., np.ndarray],
    sample: Sample,
    rng: np.random.Generator,
    around: Surroundings,
    **level: Any,
) -> Sample:
    """Corrupt each image by a function of the image alone."""
    del around
    return _with_images(sample, lambda image, _: function(image, rng, **level))


def _cloud(
    function: Callable[..., Cloud],
    sample: Sample,
    rng: np.random.Generator,
    around: Surroundings,
    **level: Any,
) -> Sample:
    """Corrupt the points by a function of the cloud relative to the LiDAR."""
    return _with_points(sample, around, lambda points: function(points, rng, **level))


def _incomplete_echo(
    sample: Sample, rng: np.random.Generator, around: Surroundings, *, share: float
) -> Sample:
    assert sample.points is not None, "among its needs"
    on_vehicle = around.on_vehicle(sample, sample.points.numpy())
    drop = partial(lidar.drop_echoes, rng=rng, on_vehicle=on_vehicle, share=share)
    return _with_points(sample, around, drop)


def _camera_fog(
    sample: Sample, rng: np.random.Generator, around: Surroundings, *, alpha: float
) -> Sample:
    del around

    def add_fog(image: np.ndarray, number: int) -> np.ndarray:
        distance_m, _ = _rays(sample, image, number)
        return dust.foggy_image(image, rng, distance_m, alpha=alpha)

    return _with_images(sample, add_fog)


def _dust(
    sample: Sample,
    rng: np.random.Generator,
    around: Surroundings,
    *,
    plume: float,
    site: float,
) -> Sample:
    """Dust in what the sample has of images and points, the same plume in both."""
    air = dust.Dust.draw(rng, plume=plume, site=site)
    dusty = _with_points(sample, around, lambda points: dust.dusty_cloud(points, rng, air))
    return _with_images(
        dusty, lambda image, number: dust.dusty_image(image, air, *_rays(sample, image, number))
    )


def _lidar_dust(
    sample: Sample,
    rng: np.random.Generator,
    around: Surroundings,
    *,
    plume: float,
    site: float,
) -> Sample:
    dusty = _dust(replace(sample, images=None), rng, around, plume=plume, site=site)
    return replace(sample, points=dusty.points)


def _rays(sample: Sample, image: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and directions of the pixels of an image; the points tell the depth."""
    assert sample.pixel_from_lidar is not None, "among the needs of the corruption"
    assert sample.points is not None, "among the needs of the corruption"
    matrix = sample.pixel_from_lidar[number].double().numpy()
    return pixel_rays(image.shape[:2], matrix, sample.points.numpy())


def _with_images(sample: Sample, change: Callable[[np.ndarray, int], np.ndarray]) -> Sample:
    if sample.images is None:
        return sample
    images = [
        change(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), number)
        for number, image in enumerate(sample.images)
    ]
    stacked = np.stack(images).transpose(0, 3, 1, 2)
    return replace(sample, images=torch.from_numpy(np.ascontiguousarray(stacked)))


def _with_points(sample: Sample, around: Surroundings, change: Callable[[Cloud], Cloud]) -> Sample:
    if sample.points is None:
        return sample
    position = np.zeros(sample.points.shape[1], np.float32)
    position[:3] = around.lidar_m
    points = sample.points.numpy()
    changed = change(points - position) + position
    return replace(sample, points=torch.from_numpy(changed))


_IMAGES, _POINTS = frozenset({"images"}), frozenset({"points"})
_DEPTH = frozenset({"points", "pixel_from_lidar"})
_DUST = (dict(plume=0.02, site=0.002), dict(plume=0.05, site=0.004), dict(plume=0.12, site=0.008))
_SHARES = (dict(share=0.2), dict(share=0.4), dict(share=0.6))

_ALL = (
    Corruption("camera_missing", CAMERA, _IMAGES, partial(_each_image, camera.missing), _SHARES),
    Corruption(
        "dark", CAMERA, _IMAGES, partial(_each_image, camera.dark),
        (
            dict(top=0.6, photons=250.0, sigma=0.008),
            dict(top=0.4, photons=120.0, sigma=0.018),
            dict(top=0.3, photons=50.0, sigma=0.026),
        ),
    ),
    Corruption(
        "bright", CAMERA, _IMAGES, partial(_each_image, camera.bright),
        (dict(offset=0.5), dict(offset=0.6), dict(offset=0.7)),
    ),
    Corruption(
        "camera_motion_blur", CAMERA, _IMAGES, partial(_each_image, camera.motion_blur),
        (
            dict(radius_px=15.0, sigma_px=6.0),
            dict(radius_px=15.0, sigma_px=10.0),
            dict(radius_px=15.0, sigma_px=13.0),
        ),
    ),
    Corruption(
        "camera_noise", CAMERA, _IMAGES, partial(_each_image, camera.noise),
        (dict(sigma=0.08), dict(sigma=0.18), dict(sigma=0.26)),
    ),
    Corruption(
        "color_quantization", CAMERA, _IMAGES, partial(_each_image, camera.quantize),
        (dict(bits=4), dict(bits=3), dict(bits=2)),
    ),
    Corruption(
        "camera_fog", CAMERA, _IMAGES, _camera_fog,
        (dict(alpha=0.02), dict(alpha=0.03), dict(alpha=0.06)), _DEPTH,
    ),
    Corruption(
        "camera_snow", CAMERA, _IMAGES, partial(_each_image, camera.snow),
        (
            dict(mean=0.3, zoom=5.0, threshold=0.9, blur_px=7.0, mix=0.9),
            dict(mean=0.4, zoom=4.0, threshold=0.85, blur_px=8.0, mix=0.85),
            dict(mean=0.5, zoom=3.0, threshold=0.8, blur_px=10.0, mix=0.8),
        ),
    ),
    Corruption(
        "lens_dirt", CAMERA, _IMAGES, partial(_each_image, camera.lens_dirt),
        (dict(cover=0.1), dict(cover=0.25), dict(cover=0.5)),
    ),
    Corruption("lidar_missing", LIDAR, _POINTS, partial(_cloud, lidar.missing), _SHARES),
    Corruption(
        "beams_missing", LIDAR, _POINTS, partial(_cloud, lidar.drop_beams),
        (dict(keep_every=2), dict(keep_every=4), dict(keep_every=8)),
    ),
    Corruption(
        "points_missing", LIDAR, _POINTS, partial(_cloud, lidar.drop_points),
        (dict(share=0.7), dict(share=0.8), dict(share=0.9)),
    ),
    Corruption(
        "field_of_view", LIDAR, _POINTS, partial(_cloud, lidar.narrow),
        (dict(share=0.75), dict(share=0.5), dict(share=0.25)),
    ),
    Corruption(
        "lidar_fog", LIDAR, _POINTS, partial(_cloud, weather.fog),
        (
            dict(alpha=0.02, beta=0.008),
            dict(alpha=0.03, beta=0.008),
            dict(alpha=0.06, beta=0.05),
        ),
    ),
    Corruption(
        "lidar_snow", LIDAR, _POINTS, partial(_cloud, weather.snow),
        (
            dict(rate_mm_h=0.5, velocity_m_s=1.2, floor=0.7),
            dict(rate_mm_h=2.5, velocity_m_s=1.6, floor=0.7),
            dict(rate_mm_h=1.5, velocity_m_s=0.4, floor=0.7),
        ),
    ),
    Corruption(
        "lidar_motion_blur", LIDAR, _POINTS, partial(_cloud, lidar.motion_blur),
        (dict(sigma_m=0.2), dict(sigma_m=0.25), dict(sigma_m=0.3)),
    ),
    Corruption(
        "crosstalk", LIDAR, _POINTS, partial(_cloud, lidar.crosstalk),
        (dict(share=0.006), dict(share=0.008), dict(share=0.01)),
    ),
    Corruption(
        "incomplete_echo", LIDAR, _POINTS, _incomplete_echo,
        (dict(share=0.75), dict(share=0.85), dict(share=0.95)), frozenset({"points", "occupancy"}),
    ),
    Corruption(
        "wet_ground", LIDAR, _POINTS, partial(_cloud, weather.wet_ground),
        (
            dict(water_mm=0.2, floor=0.3),
            dict(water_mm=1.0, floor=0.3),
            dict(water_mm=1.2, floor=0.7),
        ),
    ),
    Corruption("lidar_dust", LIDAR, _POINTS, _lidar_dust, _DUST),
    Corruption(
        "spatial_misalignment", BOTH, frozenset({"pixel_from_lidar"}), misalign_space,
        (
            dict(share=0.2, turn_deg=1.0, shift_m=2.0),
            dict(share=0.4, turn_deg=2.0, shift_m=2.0),
            dict(share=0.6, turn_deg=3.0, shift_m=2.0),
        ),
    ),
    Corruption("temporal_misalignment", BOTH, _IMAGES | _POINTS, misalign_time, _SHARES),
    Corruption("dust", BOTH, _IMAGES | _POINTS, _dust, _DUST, _DEPTH),
)  # fmt: skip

CORRUPTIONS = {corruption.name: corruption for corruption in _ALL}
