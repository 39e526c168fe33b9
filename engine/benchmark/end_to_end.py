"""Time a recorded frame by stage: from image files and a cloud in memory to labels on the host.

The frame is synthetic and the weights are random, but the path is that of ``GridPredictor``. The
images are JPEGs of the recorded size, smooth with some noise; the points are those of
``engine/benchmark/synthetic.py``.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config

from dataset.arrays import InputOptions
from dataset.image_decoding import EncodedImage
from dataset.minesim.sensors.rig import REFERENCE_SIZE
from dataset.sample import Sample
from engine.benchmark.synthetic import cameras_of, recorded_projections, synthetic_batch
from engine.benchmark.timing import Clock, Timing
from engine.build.build import amp_dtype, build_grid, build_model, place
from engine.prediction.predictor import GridPredictor
from utils.labels import label_set

STAGES = ("read and resize", "copy to the device", "network", "copy to the host")
END_TO_END = "end to end"
JPEG_QUALITY = 90
NOISE = 8.0
"""Standard deviation of the noise of images."""


def time_end_to_end(
    cfg: Config, clock: Clock, *, amp: str, compiled: bool, iterations: int, warmup: int
) -> dict[str, Any]:
    """Time frames one after another.

    Args:
        cfg: The config.
        clock: The clock of the device.
        amp: Precision: "off", "bf16" or "fp16".
        compiled: Whether to compile the network, and to replay it as a CUDA graph on a GPU.
        iterations: Number of timed frames.
        warmup: Number of frames before them, at least 1.

    Returns:
        Times [ms] by stage, each with the device idle before and after, and end to end; and
        ``first_frame_s``, the time of the first frame [s].
    """
    predictor = predictor_of(cfg, clock.device, amp)
    if compiled:
        predictor.compile()
    read = recorded_frame(cfg, predictor)
    began = time.perf_counter()
    predictor.predict([read()])
    first_frame_s = time.perf_counter() - began
    for _ in range(warmup):
        predictor.predict([read()])
    times_ms: dict[str, list[float]] = {name: [] for name in (*STAGES, END_TO_END)}
    steps: tuple[Callable[[Any], Any], ...] = (predictor.load, predictor.run, predictor.fetch)
    for _ in range(iterations):
        clock.wait()
        marks, value = [time.perf_counter()], [read()]
        clock.wait()
        marks.append(time.perf_counter())
        for step in steps:
            value = step(value)
            clock.wait()
            marks.append(time.perf_counter())
        for name, start, end in zip(STAGES, marks[:-1], marks[1:], strict=True):
            times_ms[name].append(1e3 * (end - start))
        began = time.perf_counter()
        predictor.predict([read()])
        times_ms[END_TO_END].append(1e3 * (time.perf_counter() - began))
    stages = {name: asdict(Timing.of_runs(times)) for name, times in times_ms.items()}
    return {"stages": stages, "first_frame_s": first_frame_s}


def predictor_of(cfg: Config, device: torch.device, amp: str) -> GridPredictor:
    """Return a predictor of random weights."""
    return GridPredictor(
        place(build_model(cfg), device),
        build_grid(cfg),
        label_set(cfg.labels),
        InputOptions.from_section(cfg.dataset),
        amp=amp_dtype(amp, device),
    )


def recorded_frame(cfg: Config, predictor: GridPredictor) -> Callable[[], Sample]:
    """Return a function that reads a frame from memory.

    Args:
        cfg: The config, of which the sensors in use are read.
        predictor: The network, whose input is made.
    """
    batch = synthetic_batch(cfg, 1)
    cloud = None if batch.points is None else batch.points[0].numpy().tobytes()
    files = [jpeg(seed) for seed in range(cameras_of(cfg))] if batch.images is not None else None
    matrices = [matrix.double().numpy() for matrix in recorded_projections(cfg)]
    columns = 4 if batch.points is None else batch.points[0].shape[1]

    def read() -> Sample:
        return predictor.read(
            "frame",
            None if files is None else [EncodedImage("frame.jpg", data) for data in files],
            None if files is None else matrices,
            None if cloud is None else np.frombuffer(cloud, dtype=np.float32).reshape(-1, columns),
        )

    return read


def jpeg(seed: int) -> bytes:
    """Encode an image of the recorded size."""
    width, height = REFERENCE_SIZE
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (height // 40, width // 40, 3)).astype(np.float32)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noisy: np.ndarray = image + random.normal(0, NOISE, image.shape)
    pixels = noisy.clip(0, 255).astype(np.uint8)
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return bytes(encoded.tobytes())
