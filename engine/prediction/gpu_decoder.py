"""Decode JPEG files on a GPU with nvJPEG, which takes a fraction of the time of a CPU core.

Upsampled colors differ from those of the CPU's decoder by a few gray levels.
"""

import logging
from functools import lru_cache

import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from dataset.arrays import Decoder, decoded_on_cpu
from dataset.image_decoding import EncodedImage
from dataset.resample import Resample
from dataset.transforms import ImageTransform

_RESIZES = 16
"""Resizes whose rows, columns and weights stay on the GPU: one for each size of image."""

logger = logging.getLogger(__name__)


class GpuDecoder:
    """Decodes and resizes JPEGs on a GPU; other files on the CPU.

    A JPEG that nvJPEG rejects is decoded on the CPU too, with a warning for the first one.

    Args:
        device: The GPU; results are there, whatever decoded them.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._resize = lru_cache(_RESIZES)(lambda transform: Resample(transform).to(device))
        self._has_warned = False

    def __call__(self, image: EncodedImage, transform: ImageTransform) -> UInt8[Tensor, "3 H W"]:
        """Decode an image file and transform it.

        Raises:
            ValueError: If the file is not a valid image.
        """
        if image.is_jpeg:
            image.check_whole()
            try:
                data = torch.frombuffer(bytearray(image.data), dtype=torch.uint8)
                pixels = decode_jpeg(data, ImageReadMode.RGB, device=self._device)
                return self._resize(transform)(pixels.permute(1, 2, 0)[None])[0]
            except RuntimeError as error:
                self._warn_of(image, error)
        return decoded_on_cpu(image, transform).to(self._device)

    def _warn_of(self, image: EncodedImage, error: RuntimeError) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s: decoded on the CPU, which is slower, because the GPU's decoder failed: %s; "
                "later images are not warned of",
                image.where,
                str(error).splitlines()[0],
            )


def decoder_on(device: torch.device) -> Decoder:
    """Return the decoder for a network on a device."""
    return GpuDecoder(device) if device.type == "cuda" else decoded_on_cpu
