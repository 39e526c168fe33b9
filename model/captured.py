"""The forward pass as one CUDA graph, which a single call replays.

A GPU runs the network faster than a CPU can launch its kernels. Capture records the launches of one
forward pass, from the points and images to the logits. It needs fixed shapes: the points of a frame
are padded with points outside the grid, and the LiDAR encoder gets room for a number of voxels.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dataset.sample import Batch
from model.outputs import Outputs

OUTSIDE_M = 1e6
"""Coordinates of the points that pad a frame: outside every grid."""
MARGIN = 1.5
"""Room for points and voxels, relative to the frames that the graph is captured with."""
ROOM_STEP = 1024
"""Room is a multiple of this."""
WARMUP_RUNS = 3
"""Forward passes before a capture: they compile, and choose algorithms."""
PRIORITY = -2
"""Of the main branch: lower numbers come first, and ``SideStream`` has -1."""
MAX_GRAPHS = 4
"""Graphs that are kept, each for other shapes; the one not used for longest goes first."""

Forward = Callable[[Batch, Sequence[int] | None], Outputs]
"""A forward pass of a batch, with room for a number of voxels at each resolution."""

logger = logging.getLogger(__name__)


class CapturedForward:
    """Replays the forward pass of batches; captures it for each new combination of shapes.

    The tensors of an output are valid until the next call. Frames that do not fit are never cut:
    the forward pass is captured again, with more room.

    Args:
        forward: The forward pass, which must not read values back from the device.
        count_voxels: Counts the occupied voxels of points at each resolution; None for a network
            without a LiDAR.
        describe: What the forward pass depends on besides the batch, such as the sensors in use.
    """

    def __init__(
        self,
        forward: Forward,
        count_voxels: Callable[[Sequence[Tensor]], Int64[Tensor, "stages"]] | None,
        describe: Callable[[], Any],
    ) -> None:
        self._forward, self._count_voxels, self._describe = forward, count_voxels, describe
        self._graphs: OrderedDict[Any, _Graph] = OrderedDict()

    def __call__(self, batch: Batch) -> Outputs:
        """Run the forward pass on a batch on the GPU, without gradients."""
        kind = next(tensor for tensor in _tensors(batch)).device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        key = (self._describe(), dtype, *((part.shape[-1:], part.dtype) for part in _points(batch)))
        key += tuple((part.shape, part.dtype) for part in (batch.images,) if part is not None)
        # Graphs outlive the caller's contexts, so they are independent of them. A cache of cast
        # weights would be freed with its context, but read by every replay.
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast(kind, dtype, dtype is not None, cache_enabled=False),
        ):
            graph = self._graphs.pop(key, None)
            if graph is None or not graph.has_room_for_points(batch):
                graph = self._capture(batch, graph)
            outputs = graph.run(batch)
            while (found := graph.lacking()) is not None:
                logger.warning(
                    "frames %s have %s occupied voxels at the resolutions of the LiDAR encoder, "
                    "more than the captured forward pass has room for (%s): it is captured again, "
                    "and nothing is lost",
                    batch.stems,
                    found,
                    list(graph.room),
                )
                graph = self._capture(batch, graph)
                outputs = graph.run(batch)
            self._graphs[key] = graph
            while len(self._graphs) > MAX_GRAPHS:
                self._graphs.popitem(last=False)
        return outputs

    def _capture(self, batch: Batch, before: "_Graph | None") -> "_Graph":
        """Capture the forward pass, with room for a batch and at least that of ``before``."""
        points = _points(batch)
        num_points = room_for(max((len(frame) for frame in points), default=0))
        room: tuple[int, ...] = ()
        if points and self._count_voxels is not None:
            room = tuple(map(room_for, self._count_voxels(points).tolist()))
        if before is not None:
            num_points = max(num_points, before.num_points)
            room = tuple(map(max, room, before.room))
        logger.info(
            "capturing the forward pass of %d frames, with room for %d points each and %s voxels",
            len(batch),
            num_points,
            list(room),
        )
        return _Graph(self._forward, batch, num_points, room)


class _Graph:
    """A captured forward pass, its inputs and its outputs.

    Args:
        forward: The forward pass.
        batch: Frames of the shapes to capture.
        num_points: Room for the points of a frame.
        room: Room for the voxels of the batch, at each resolution; () without points.
    """

    def __init__(
        self, forward: Forward, batch: Batch, num_points: int, room: tuple[int, ...]
    ) -> None:
        self.num_points, self.room = num_points, room
        self._inputs = padded(batch, num_points)
        device = next(tensor for tensor in _tensors(batch)).device
        # The branch on ``SideStream`` has time to spare, so that it fills gaps of this one.
        stream = torch.cuda.Stream(device, priority=PRIORITY)
        self._graph = torch.cuda.CUDAGraph()
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARMUP_RUNS):
                forward(self._inputs, room or None)
        # Other threads, such as that of a data loader, may use the GPU meanwhile.
        mode = "thread_local"
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode=mode):
            self._outputs = forward(self._inputs, room or None)
        self._num_voxels = torch.zeros(len(room), dtype=torch.int64, pin_memory=bool(room))
        self._done = torch.cuda.Event()

    def has_room_for_points(self, batch: Batch) -> bool:
        """Return whether the frames of a batch have no more points than this has room for."""
        return all(len(frame) <= self.num_points for frame in _points(batch))

    def run(self, batch: Batch) -> Outputs:
        """Replay the forward pass on a batch, whose points must fit."""
        fill(self._inputs, batch)
        self._graph.replay()
        lidar = self._outputs.lidar
        if lidar is not None:
            self._num_voxels.copy_(lidar.num_voxels, non_blocking=True)
            self._done.record()
        return self._outputs

    def lacking(self) -> list[int] | None:
        """Wait for the last run; return its numbers of voxels if there was no room for them."""
        if self._outputs.lidar is None:
            return None
        self._done.synchronize()
        found: list[int] = self._num_voxels.tolist()
        fits = all(number <= room for number, room in zip(found, self.room, strict=True))
        return None if fits else found


def room_for(number: int) -> int:
    """Return the room to make for frames like one with this number of points or voxels."""
    return ROOM_STEP * max(1, -int(-MARGIN * number // ROOM_STEP))


def padded(batch: Batch, num_points: int) -> Batch:
    """Copy the inputs of a batch; each frame gets this number of points, by points outside.

    Args:
        batch: The batch, on any device.
        num_points: Number of points of each frame, at least as many as it has.
    """
    inputs = Batch(stems=batch.stems, scenes=batch.scenes)
    if batch.images is not None and batch.pixel_from_lidar is not None:
        inputs.images = batch.images.clone()
        inputs.pixel_from_lidar = batch.pixel_from_lidar.clone()
    if batch.points is not None:
        inputs.points = [
            frame.new_full((num_points, frame.shape[1]), OUTSIDE_M) for frame in batch.points
        ]
    fill(inputs, batch)
    return inputs


def fill(inputs: Batch, batch: Batch) -> None:
    """Write the inputs of a batch to the tensors of another, whose frames may have more points."""
    for name in ("images", "pixel_from_lidar"):
        target = getattr(inputs, name)
        if target is not None:
            target.copy_(getattr(batch, name), non_blocking=True)
    for room, frame in zip(_points(inputs), _points(batch), strict=True):
        room[: len(frame)].copy_(frame, non_blocking=True)
        room[len(frame) :] = OUTSIDE_M


def _points(batch: Batch) -> list[Float[Tensor, "_ F"]]:
    return [] if batch.points is None else batch.points


def _tensors(batch: Batch) -> list[Tensor]:
    return [*_points(batch), *([] if batch.images is None else [batch.images])]
