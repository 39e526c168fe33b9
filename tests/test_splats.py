import numpy as np
import torch

from engine.frames.splats import splats_of
from model.render.splat import Gaussians


def test_gaussians_become_covariances_and_class_colors():
    quarter = np.sqrt(0.5)
    gaussians = Gaussians(
        means_m=torch.tensor([[[1.0, 2, 3], [0, 0, 0]]]),
        scales_m=torch.tensor([[[1.0, 2, 3], [0.5, 0.5, 0.5]]]),
        rotations=torch.tensor([[[quarter, 0, 0, quarter], [2.0, 0, 0, 0]]]).float(),
        opacities=torch.tensor([[0.25, 1.0]]),
        features=torch.tensor([[[1.0, 0], [0.5, 0.5]]]),
    )
    splats = splats_of(gaussians, np.array([[255, 0, 0], [0, 0, 255]], np.uint8))
    # A quarter turn about z changes the places of x and y.
    np.testing.assert_allclose(splats.covariances_m2[0], np.diag([4, 1, 9]), atol=1e-5)
    np.testing.assert_allclose(splats.covariances_m2[1], 0.25 * np.eye(3), atol=1e-6)
    np.testing.assert_allclose(splats.colors, [[1, 0, 0], [0.5, 0, 0.5]])
    np.testing.assert_allclose(splats.opacities, [[0.25], [1]])
    np.testing.assert_allclose(splats.centers_m, [[1, 2, 3], [0, 0, 0]])
