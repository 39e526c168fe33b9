"""What differs between the scenes of a data set by option: condition, LiDAR and camera.

Each scene draws its own from its number and the seed, with a random stream for each option.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dataset.minesim.scene.environment import CONDITIONS, Condition
from dataset.minesim.scene.placement import KINDS
from dataset.minesim.sensors.lidar_models import LIDAR_MODELS, LIVOX_HAP
from dataset.minesim.sensors.rig import REFERENCE_SIZE, Camera, Rig

_CONDITION, _LIDAR, _CAMERA, _PATCHES = range(4)
_STREAM = 4
SCATTERED = tuple(sorted({kind.class_name for kind in KINDS} - {"free", "terrain"}))
"""Classes whose objects are scattered over a scene, in a number that can be changed."""
"""Separate from the streams that generate the scenes and the splits."""
_FOCAL_PX = (1150.0, 2300.0)
"""At the reference size: 80° to 45° wide."""
_CAMERA_X_M, _CAMERA_Y_M, _CAMERA_Z_M = (-1.5, 0.0), (-0.8, 0.8), (2.0, 6.2)
_HORIZON = (0.27, 0.47)
"""Height of the horizon in the image, as a share from the top; it sets the pitch."""
_YAW_DEG, _ROLL_DEG = 3.0, 1.5


@dataclass(frozen=True)
class Variation:
    """Options that make scenes differ; all off by default.

    Attributes:
        conditions: Conditions to draw from; none for the standard one. One that occurs twice is
            drawn twice as often.
        patches: Share of the scenes with patches of mud, water, oil and gravel on the ground.
        lidars: Names of the LiDAR models to draw from; none for the default.
        camera: Whether each scene has its own mounting and focal length of the camera.
        density: Factors of the mean number of objects, by class.

    Raises:
        ValueError: If a condition, a model or a class is unknown, or a number is out of range.
    """

    conditions: tuple[Condition, ...] = ()
    patches: float | int = 0.0
    lidars: tuple[str, ...] = ()
    camera: bool = False
    density: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate the names."""
        _require_known("condition", self.conditions, CONDITIONS)
        _require_known("LiDAR", self.lidars, tuple(LIDAR_MODELS))
        _require_known("class", tuple(self.density), SCATTERED)
        if not 0.0 <= self.patches <= 1.0:
            raise ValueError(f"patches must be a share from 0 to 1, got {self.patches}")
        if min(self.density.values(), default=1.0) < 0:
            raise ValueError(f"density must not be negative, got {dict(self.density)}")


def _require_known(what: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    wrong = [name for name in names if name not in known]
    if wrong:
        raise ValueError(f"unknown {what} {', '.join(wrong)}; known: {', '.join(known)}")


def draw_condition(variation: Variation, seed: int, number: int) -> Condition:
    """Draw the condition of a scene."""
    if not variation.conditions:
        return "standard"
    rng = _rng(seed, _CONDITION, number)
    return variation.conditions[int(rng.integers(len(variation.conditions)))]


def draw_patches(variation: Variation, seed: int, number: int) -> bool:
    """Draw whether a scene has patches on the ground."""
    return float(_rng(seed, _PATCHES, number).random()) < variation.patches


def draw_rig(variation: Variation, image_size: tuple[int, int], seed: int, number: int) -> Rig:
    """Draw the sensors of a scene."""
    camera = Camera(*image_size)
    if variation.camera:
        camera = _draw_camera(image_size, _rng(seed, _CAMERA, number))
    if not variation.lidars:
        return Rig(camera)
    rng = _rng(seed, _LIDAR, number)
    model = LIDAR_MODELS[variation.lidars[int(rng.integers(len(variation.lidars)))]]
    return Rig(camera, model, round(float(rng.uniform(*model.height_m)), 3))


def _draw_camera(image_size: tuple[int, int], rng: np.random.Generator) -> Camera:
    """Draw the mounting and the focal length; the horizon stays in the upper half."""
    low, high = np.log(_FOCAL_PX)
    focal = float(np.exp(rng.uniform(low, high)))
    position = [float(rng.uniform(*ends)) for ends in (_CAMERA_X_M, _CAMERA_Y_M, _CAMERA_Z_M)]
    below = (0.5 - float(rng.uniform(*_HORIZON))) * REFERENCE_SIZE[1]
    return Camera(
        *image_size,
        reference_focal_px=round(focal, 1),
        position_m=(round(position[0], 3), round(position[1], 3), round(position[2], 3)),
        yaw_deg=round(float(rng.uniform(-_YAW_DEG, _YAW_DEG)), 2),
        pitch_deg=round(float(np.rad2deg(np.arctan2(below, focal))), 2),
        roll_deg=round(float(rng.uniform(-_ROLL_DEG, _ROLL_DEG)), 2),
    )


def describe(condition: Condition, rig: Rig) -> dict[str, Any]:
    """Return the record of a scene's condition and sensors for ``minesim.json``."""
    camera = rig.camera
    return {
        "condition": condition,
        "lidar": rig.lidar.name,
        "lidar_height_m": rig.lidar_height_m,
        "camera_focal_px": camera.focal_px[0],
        "camera_position_m": camera.position_m,
        "camera_yaw_pitch_roll_deg": (camera.yaw_deg, camera.pitch_deg, camera.roll_deg),
    }


def sensor_sentence(rig: Rig) -> str:
    """Return a sentence that names the sensors that are not the usual ones; empty if none."""
    parts = []
    if rig.lidar != LIVOX_HAP:
        article = "an" if rig.lidar.title[0] in "AEIO" else "a"
        parts.append(f"the LiDAR is {article} {rig.lidar.title} at {rig.lidar_height_m:.1f} m")
    usual = Camera(rig.camera.width, rig.camera.height)
    if rig.camera != usual:
        wide = 2 * np.rad2deg(np.arctan(0.5 * rig.camera.width / rig.camera.focal_px[0]))
        parts.append(f"the camera sees {wide:.0f}° from {rig.camera.position_m[2]:.1f} m")
    if not parts:
        return ""
    text = " and ".join(parts)
    return f" {text[0].upper()}{text[1:]}."


def _rng(seed: int, purpose: int, number: int) -> np.random.Generator:
    return np.random.default_rng((seed, _STREAM, purpose, number))
