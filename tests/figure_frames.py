"""A frame with an image and two layers, for figures."""

import numpy as np
import torch

from dataset.sample import Sample
from engine.pictures.figures import FigureOptions
from engine.pictures.layers import FigureFrame, Layer
from tests.model_inputs import pinhole
from utils.geometry import VoxelGrid
from utils.labels import UNSCENES3D

GRID = VoxelGrid((0.0, -9.6, -4.0), 1.2, (16, 16, 8))
ROAD, TRUCK = UNSCENES3D.index("driveable_surface"), UNSCENES3D.index("truck")
LABEL = "Label"
SKY = (90, 160, 230)
OPTIONS = FigureOptions(width=500)


def layer(name, *, truck=False, note=""):
    voxels = np.zeros(GRID.shape, np.uint8)
    voxels[:, :, 0] = ROAD
    if truck:
        voxels[8:11, 6:9, 1:4] = TRUCK
    return Layer(name, voxels, GRID, UNSCENES3D, note, is_label=name == LABEL)


def frame(*layers, scene="scene_00001", bare=False):
    images = torch.zeros(1, 3, 60, 96, dtype=torch.uint8)
    images[:] = torch.tensor(SKY)[:, None, None]
    sample = Sample("1.5", scene, images=images, pixel_from_lidar=pinhole(60, 96, 50.0)[None])
    if bare:
        sample = Sample("1.5", scene)
    return FigureFrame(sample, layers or (layer("Ours"), layer(LABEL, truck=True)))


def share(image, color):
    return (image == color).all(-1).mean()
