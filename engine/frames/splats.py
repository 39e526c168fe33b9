"""Gaussians of a frame as NumPy arrays, for splat renderers."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from model.render.splat import Gaussians, rotation_matrices


class Splats(NamedTuple):
    """Gaussians in the form that splat renderers expect.

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
    """Convert the Gaussians of the first frame of a batch, colored by class.

    Args:
        gaussians: Gaussians; features are the probabilities of all classes except free.
        class_colors: RGB of these classes.
    """
    first = Gaussians(*(field[0].detach().float().cpu() for field in gaussians))
    axes = rotation_matrices(first.rotations) * first.scales_m[:, None, :]
    return Splats(
        centers_m=first.means_m.numpy(),
        covariances_m2=(axes @ axes.mT).numpy(),
        colors=(first.features.numpy() @ (class_colors / np.float32(255))).clip(0, 1),
        opacities=first.opacities[:, None].numpy().clip(0, 1),
    )
