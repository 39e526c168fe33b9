"""The Gaussians of a frame in numpy, as a splat renderer takes them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from model.render.splat import Gaussians, rotation_matrices


class Splats(NamedTuple):
    """Gaussians as a splat renderer takes them.

    Attributes:
        centers_m: Means [m].
        covariances_m2: Covariances [m²].
        colors: RGB, 0–1.
        opacities: 0–1.
    """

    centers_m: Float32[np.ndarray, "G 3"]
    covariances_m2: Float32[np.ndarray, "G 3 3"]
    colors: Float32[np.ndarray, "G 3"]
    opacities: Float32[np.ndarray, "G 1"]


def splats_of(gaussians: Gaussians, class_colors: UInt8[np.ndarray, "C 3"]) -> Splats:
    """The Gaussians of the first frame in the colors of their classes.

    Args:
        gaussians: With the probability of each class but free as features.
        class_colors: RGB of these classes.
    """
    one = Gaussians(*(field[0].detach().float().cpu() for field in gaussians))
    axes = rotation_matrices(one.rotations) * one.scales_m[:, None, :]
    return Splats(
        centers_m=one.means_m.numpy(),
        covariances_m2=(axes @ axes.mT).numpy(),
        colors=(one.features.numpy() @ (class_colors / np.float32(255))).clip(0, 1),
        opacities=one.opacities[:, None].numpy().clip(0, 1),
    )
