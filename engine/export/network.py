"""The network as one function of raw tensors: recorded images, projections and padded points."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dataset.resample import Resample
from dataset.sample import Batch
from engine.export.frames import resize_of
from engine.export.signature import DROPPED, Signature
from engine.prediction.predictor import GridPredictor
from model.captured import OUTSIDE_M
from model.labels import choose_labels


class ExportedNetwork(nn.Module):
    """The forward pass of one frame, with the preprocessing of ``sample_from_arrays``.

    Args:
        predictor: The network, and how its input is made.
        signature: Inputs and outputs; the shapes of the inputs are those of every call.
    """

    pixel_from_recorded: Float[Tensor, "4 4"]

    def __init__(self, predictor: GridPredictor, signature: Signature) -> None:
        super().__init__()
        self.network, self._autocast = predictor.network, predictor.autocast
        self.signature, self.max_range_m = signature, predictor.inputs.max_range_m
        if signature.image_size is not None:
            transform = resize_of(predictor.inputs, signature.image_size)
            self.resample = Resample(transform)
            matrix = torch.from_numpy(transform.matrix()).float()
            self.register_buffer("pixel_from_recorded", matrix, persistent=False)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Predict a frame.

        Args:
            inputs: Those of the signature, in order: RGB images as recorded (N, H, W, 3) and
                projections into them (N, 4, 4); rows of points (P, F), and the number of them that
                are no padding.

        Returns:
            Those of the signature: labels (X, Y, Z), and on request probabilities
            (classes, X, Y, Z), elevation (rows, columns) [m] and the number of voxels without room.
        """
        given = dict(zip(self.signature.inputs, inputs, strict=True))
        batch = Batch(["frame"], [""])
        if "images" in given:
            batch.images = self.resample(given["images"])[None]
            batch.pixel_from_lidar = (self.pixel_from_recorded @ given["pixel_from_lidar"])[None]
        if "points" in given:
            batch.points = [self._points(given["points"], given["num_points"])]
        with self._autocast():
            outputs = self.network.infer(batch, room=self.signature.room or None)
        logits = outputs.logits[0].float()
        found = {"occupancy": choose_labels(logits, self.network.occupied_threshold)}
        if "probabilities" in self.signature.extras:
            found["probabilities"] = logits.softmax(dim=0)
        if "elevation" in self.signature.extras:
            found["elevation"] = outputs.elevation[0]
        if self.signature.is_limited:
            room = outputs.lidar.num_voxels.new_tensor(self.signature.room)
            found[DROPPED] = (outputs.lidar.num_voxels - room).clamp(min=0).sum()
        return tuple(found[name] for name in self.signature.outputs)

    def _points(
        self, points: Float[Tensor, "P F"], number: Int64[Tensor, ""]
    ) -> Float[Tensor, "P F"]:
        """Move padding, points out of range and points that are not finite out of the grid."""
        rows = torch.arange(len(points), device=points.device)
        is_point = (rows < number) & (points[:, 0] < self.max_range_m)
        is_point = is_point & points.isfinite().all(dim=1)
        intensity = points[:, 3:4].clamp(0, 1)
        points = torch.cat([points[:, :3], intensity, points[:, 4:]], dim=1)
        return points.where(is_point[:, None], OUTSIDE_M)
