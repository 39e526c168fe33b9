"""Output files of a predicted frame, one kind per use.

| kind | file | content |
| --- | --- | --- |
| npy | ``STEM.npy`` | labels, uint8 (X, Y, Z) |
| npz | ``STEM.npz`` | as in Occ3D's ``labels.npz``: semantics, mask_camera, mask_lidar |
| ply | ``STEM.ply`` | centers of the occupied voxels, colored by class, with labels |
| png | ``STEM.png`` | a figure: input, prediction, label and errors |
| points | ``points/STEM.png`` | LiDAR points projected into the images; not if one is lost |
| confidence | ``confidence/STEM.npy`` | probability of the label, float16 (X, Y, Z) |
| entropy | ``entropy/STEM.npy`` | entropy over all labels [nat], float16 (X, Y, Z) |
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from dataset.nuscenes.labels import swap_free_and_others
from dataset.occupancy_files import write_archive, write_array, write_prediction
from dataset.sample import Sample
from engine.pictures.frame_page import draw_frame
from engine.pictures.image_files import write_image
from engine.pictures.points_on_images import draw_points_on_images
from engine.prediction.predictor import PredictedGrid
from utils.geometry import VoxelGrid, project_points
from utils.labels import FREE, IGNORE, NUSCENES, LabelSet
from utils.whole_files import write_whole


class FrameWriter:
    """Writes predicted frames to a folder.

    Args:
        out: The folder; created if missing.
        kinds: Kinds of files to write, from ``KINDS``.
        grid: The grid of the predictions.
        labels: Their label set.

    Raises:
        ValueError: If a kind is unknown, or none is given.
    """

    def __init__(self, out: Path, kinds: Sequence[str], grid: VoxelGrid, labels: LabelSet) -> None:
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds:
            raise ValueError(f"kinds of files must be among {list(KINDS)}, got {list(kinds)}")
        self.out, self.grid, self.labels = out, grid, labels
        self.kinds = tuple(dict.fromkeys(kinds))

    def write(self, sample: Sample, predicted: PredictedGrid) -> None:
        """Write the files of one frame, each atomically.

        Raises:
            ValueError: If a kind needs data that the sample lacks.
        """
        for kind in self.kinds:
            KINDS[kind](self, sample, predicted)

    def _npy(self, sample: Sample, predicted: PredictedGrid) -> None:
        write_prediction(self.out, sample.stem, predicted.occupancy)

    def _npz(self, sample: Sample, predicted: PredictedGrid) -> None:
        """Write labels and masks; nuScenes labels follow Occ3D's numbering, where free is 17."""
        semantics = predicted.occupancy
        if self.labels.name == NUSCENES.name:
            semantics = swap_free_and_others(semantics)
        arrays = {
            "semantics": semantics,
            "mask_camera": in_view(sample, self.grid).astype(np.uint8),
            "mask_lidar": with_points(sample, self.grid).astype(np.uint8),
        }
        write_archive(self.out / f"{sample.stem}.npz", arrays)

    def _ply(self, sample: Sample, predicted: PredictedGrid) -> None:
        content = occupied_ply(predicted.occupancy, self.grid, self.labels)
        write_whole(self.out / f"{sample.stem}.ply", content)

    def _png(self, sample: Sample, predicted: PredictedGrid) -> None:
        page = draw_frame(sample, predicted.occupancy, self.grid, self.labels)
        write_image(self.out / f"{sample.stem}.png", page)

    def _points(self, sample: Sample, predicted: PredictedGrid) -> None:
        del predicted
        if sample.lost and (sample.images is None or sample.points is None):
            return  # The warning about the lost sensor names the frame.
        if sample.images is None or sample.pixel_from_lidar is None or sample.points is None:
            raise ValueError(
                f"frame {sample.stem}: the kind 'points' needs images and LiDAR points, but the "
                "network reads only one of them: leave this kind out"
            )
        image = draw_points_on_images(sample.images, sample.pixel_from_lidar, sample.points)
        write_image(self.out / "points" / f"{sample.stem}.png", image)

    def _confidence(self, sample: Sample, predicted: PredictedGrid) -> None:
        path = self.out / "confidence" / f"{sample.stem}.npy"
        write_array(path, predicted.confidence.astype(np.float16))

    def _entropy(self, sample: Sample, predicted: PredictedGrid) -> None:
        path = self.out / "entropy" / f"{sample.stem}.npy"
        write_array(path, predicted.entropy.astype(np.float16))


KINDS: dict[str, Callable[[FrameWriter, Sample, PredictedGrid], None]] = {
    "npy": FrameWriter._npy,
    "npz": FrameWriter._npz,
    "ply": FrameWriter._ply,
    "png": FrameWriter._png,
    "points": FrameWriter._points,
    "confidence": FrameWriter._confidence,
    "entropy": FrameWriter._entropy,
}


def occupied_ply(occupancy: UInt8[np.ndarray, "X Y Z"], grid: VoxelGrid, labels: LabelSet) -> bytes:
    """Encode centers [m], colors and labels of the occupied voxels as a binary PLY file."""
    index = np.argwhere((occupancy != FREE) & (occupancy != IGNORE))
    label = occupancy[tuple(index.T)]
    row = [("center", "<f4", 3), ("color", "u1", 3), ("label", "u1")]
    vertices = np.empty(len(index), row)
    vertices["center"] = grid.meters_from_voxel(index + 0.5)
    vertices["color"] = labels.palette()[label]
    vertices["label"] = label
    names = ", ".join(f"{number} {name}" for number, name in enumerate(labels.class_names))
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment voxels of {grid.voxel_m} m; labels: {names}",
        f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {name}" for name in ("red", "green", "blue", "label")),
        "end_header",
    ]
    return "\n".join(header).encode() + b"\n" + vertices.tobytes()


def in_view(sample: Sample, grid: VoxelGrid) -> Bool[np.ndarray, "X Y Z"]:
    """Return the voxels whose center projects into a camera image, occluded or not."""
    seen = torch.zeros(grid.shape, dtype=torch.bool)
    if sample.images is None or sample.pixel_from_lidar is None:
        return seen.numpy()
    height, width = sample.images.shape[-2:]
    centers_m = grid.centers_m().view(-1, 3)
    for matrix in sample.pixel_from_lidar:
        pixels, depth_m = project_points(matrix, centers_m)
        inside = (pixels >= 0) & (pixels < pixels.new_tensor([width, height]))
        seen |= (inside.all(dim=-1) & (depth_m > 0)).view(grid.shape)
    return seen.numpy()


def with_points(sample: Sample, grid: VoxelGrid) -> Bool[np.ndarray, "X Y Z"]:
    """Return the voxels that contain a LiDAR point."""
    hit = torch.zeros(grid.shape, dtype=torch.bool)
    if sample.points is not None:
        points = sample.points[grid.contains(sample.points[:, :3]), :3]
        hit[tuple(grid.voxel_from_meters(points).floor().long().T)] = True
    return hit.numpy()
