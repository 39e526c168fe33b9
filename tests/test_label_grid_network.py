import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from torch.nn.functional import interpolate, one_hot

from dataset.sample import Batch
from engine.evaluation import label_grid_network
from engine.evaluation.label_grid_network import LabelGridNetwork, labels_on_grid
from engine.evaluation.nuscenes_grids import evaluated_grid
from utils.geometry import VoxelGrid

VOLUME = VoxelGrid((-4.0, -6.0, -1.0), 0.5, (16, 24, 8))


def painted(shape=VOLUME.shape, seed=0, classes=18):
    """Labels at random, and scores that say them."""
    labels = torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))
    return labels.byte(), 5.0 * one_hot(labels, classes).movedim(-1, 0).float()


def moved(x=0.0, y=0.0, z=0.0, turn_deg=0.0):
    matrix = np.eye(4)
    cosine, sine = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    matrix[:2, :2] = [[cosine, -sine], [sine, cosine]]
    matrix[:3, 3] = x, y, z
    return matrix


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


# --- labels_on_grid ---


def test_the_volumes_own_grid_gives_what_the_network_says():
    logits = noise(18, *VOLUME.shape)
    found = labels_on_grid(logits, VOLUME, VOLUME, np.eye(4))
    assert found.dtype == torch.uint8
    assert torch.equal(found, logits.argmax(0).byte())


def test_finer_voxels_are_upsampled_as_openoccupancy_does():
    """Trilinear, align_corners=False, then the best class."""
    logits = noise(17, *VOLUME.shape)
    fine = VoxelGrid(VOLUME.origin_m, 0.25, (32, 48, 16))
    expected = interpolate(logits[None], scale_factor=2, mode="trilinear", align_corners=False)
    found = labels_on_grid(logits, VOLUME, fine, np.eye(4))
    is_same = found == expected[0].argmax(0)
    assert is_same.float().mean() > 0.9999  # Scores that are equal to the last digits may swap.


def test_a_part_of_the_volume_keeps_its_labels_and_beyond_it_is_free():
    labels, logits = painted()
    grid = VoxelGrid((-5.0, -5.0, -0.5), 0.5, (6, 20, 12))
    found = labels_on_grid(logits, VOLUME, grid, np.eye(4))
    expected = torch.zeros(grid.shape, dtype=torch.uint8)
    expected[2:, :, :7] = labels[:4, 2:22, 1:8]
    assert torch.equal(found, expected)


def test_a_shifted_frame_shifts_the_labels():
    labels, logits = painted()
    found = labels_on_grid(logits, VOLUME, VOLUME, moved(x=1.0, z=-0.5))
    expected = torch.zeros_like(labels)
    expected[:14, :, 1:] = labels[2:, :, :-1]  # Voxel (0, 0, 1) is at (2, 0, 0) of the volume.
    assert torch.equal(found, expected)


def test_a_turned_frame_turns_the_labels():
    """As from the LiDAR's frame, x to the right, to the vehicle's, x forward."""
    square = VoxelGrid((-4.0, -4.0, -1.0), 0.5, (16, 16, 8))
    labels, logits = painted(square.shape)
    found = labels_on_grid(logits, square, square, moved(turn_deg=-90.0))
    # What is at (x, y) by the LiDAR is at (y, -x) in the vehicle's frame.
    expected = labels.flip(1).transpose(0, 1)
    assert torch.equal(found, expected)


def test_between_two_voxels_the_nearer_one_decides():
    labels = torch.zeros(4, 1, 1)
    labels[2:] = 7
    logits = 5.0 * one_hot(labels.long(), 18).movedim(-1, 0).float()
    line = VoxelGrid((0.0, 0.0, 0.0), 1.0, (4, 1, 1))
    for shift, expected in ((0.4, [0, 0, 7, 7]), (0.6, [0, 7, 7, 0])):
        # The last center of the second, at 4.1 m, is outside.
        found = labels_on_grid(logits, line, line, moved(x=shift))
        assert found.flatten().tolist() == expected


def test_slabs_give_what_one_piece_gives(monkeypatch):
    logits = noise(18, *VOLUME.shape)
    grid = VoxelGrid((-5.0, -7.0, -2.0), 0.3, (31, 40, 11))
    matrix = moved(0.3, -0.2, 0.1, turn_deg=20.0)
    whole = labels_on_grid(logits, VOLUME, grid, matrix)
    assert whole.shape == grid.shape
    for voxels in (4000, 100):
        monkeypatch.setattr(label_grid_network, "_VOXELS_AT_ONCE", voxels)
        found = labels_on_grid(logits, VOLUME, grid, matrix)
        assert (found == whole).float().mean() > 0.999  # Centers differ in the last digit.


# --- LabelGridNetwork ---


class Given(BaseModel):
    """Returns given logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits
        self.compiled = ""

    def forward(self, batch, mode):
        assert mode == "tensor"
        return self.logits

    def compile_parts(self, mode):
        self.compiled = mode

    def capture(self):
        self.compiled += ", captured"


def predict(network):
    return network.val_step(Batch(["a", "b"], ["", ""]))


def test_each_frame_has_its_own_transform():
    grid = evaluated_grid("surroundocc").grid
    volume = VoxelGrid((-2.0, -2.0, -1.0), 0.5, (8, 8, 4))
    labels, logits = painted(volume.shape, classes=17)
    matrices = {"a": np.eye(4), "b": moved(x=-3.0)}
    network = LabelGridNetwork(Given(torch.stack([logits, logits])), volume, grid, 17, matrices.get)
    first, second = predict(network)
    assert (first.stem, second.stem) == ("a", "b")
    assert first.occupancy.shape == second.occupancy.shape == grid.shape
    start = torch.tensor([96, 96, 8])  # (-2, -2, -1) m in voxels of 0.5 m from (-50, -50, -5) m.
    for prediction, offset in ((first, 0), (second, 6)):
        x, y, z = (start + torch.tensor([offset, 0, 0])).tolist()
        assert torch.equal(prediction.occupancy[x : x + 8, y : y + 8, z : z + 4], labels)
        assert prediction.occupancy.count_nonzero() == labels.count_nonzero()


def test_classes_that_the_benchmark_lacks_are_not_predicted():
    logits = torch.zeros(2, 18, 8, 8, 4)
    logits[:, 17], logits[:, 5] = 9.0, 4.0
    volume = VoxelGrid((-2.0, -2.0, -1.0), 0.5, (8, 8, 4))
    grid = evaluated_grid("occ3d").grid
    for classes, expected in ((18, {0, 17}), (17, {0, 5})):
        network = LabelGridNetwork(Given(logits), volume, grid, classes, lambda stem: np.eye(4))
        assert set(predict(network)[0].occupancy.unique().tolist()) == expected


def test_it_has_no_other_mode_and_passes_compilation_on():
    inner = Given(torch.zeros(1, 18, 2, 2, 2))
    network = LabelGridNetwork(inner, VOLUME, VOLUME, 18, lambda stem: np.eye(4))
    network.compile_parts("default")
    network.capture()
    assert inner.compiled == "default, captured"
    with pytest.raises(ValueError, match=r"mode must be 'predict' .* got 'loss'"):
        network(Batch(["a"], [""]), mode="loss")
