"""JPEGs decoded on a GPU are those of the CPU but for a few gray levels."""

import cv2
import numpy as np
import pytest
import torch

from dataset.arrays import decoded_on_cpu
from dataset.augmentation import Choices
from dataset.image_decoding import EncodedImage
from dataset.transforms import image_transform
from engine.prediction import gpu_decoder
from engine.prediction.gpu_decoder import GpuDecoder, decoder_on

SIZE = (90, 144)
TRANSFORM = image_transform(SIZE, (60, 96), (0.1, 0.0, 1.0, 1.0), Choices())
CPU = torch.device("cpu")


def pixels_of(shape):
    """Return smooth colors, in which neighboring pixels hardly differ."""
    coarse = np.random.default_rng(0).uniform(0, 255, (6, 8, *shape[2:])).astype(np.float32)
    resized = cv2.resize(coarse, shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return resized.clip(0, 255).astype(np.uint8)


def file_of(suffix=".jpg", shape=(*SIZE, 3), **flags):
    options = [word for name, value in flags.items() for word in (getattr(cv2, name), value)]
    return EncodedImage(f"a{suffix}", cv2.imencode(suffix, pixels_of(shape), options)[1].tobytes())


def difference(ours, image):
    return (ours.cpu().int() - decoded_on_cpu(image, TRANSFORM).int()).abs().float()


@pytest.fixture
def nvjpeg(monkeypatch):
    """Stand in for nvJPEG, which needs a GPU, and count the calls."""
    calls = []

    def decode(data, mode, device):
        calls.append(device)
        rgb = cv2.imdecode(data.numpy(), cv2.IMREAD_COLOR_RGB)
        return torch.from_numpy(rgb).permute(2, 0, 1)

    monkeypatch.setattr(gpu_decoder, "decode_jpeg", decode)
    return calls


def test_jpegs_are_cropped_and_resized_on_the_device(nvjpeg):
    image = file_of()
    found = GpuDecoder(CPU)(image, TRANSFORM)
    assert nvjpeg == [CPU]
    assert found.shape == (3, 60, 96)
    assert difference(found, image).max() <= 1


def test_other_files_are_decoded_on_the_cpu(nvjpeg):
    image = file_of(".png")
    assert not difference(GpuDecoder(CPU)(image, TRANSFORM), image).any()
    assert not nvjpeg


def test_what_the_gpu_rejects_is_decoded_on_the_cpu_and_warned_of_once(monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("nvjpegDecode failed: 4\nmore")

    monkeypatch.setattr(gpu_decoder, "decode_jpeg", fail)
    decoder, image = GpuDecoder(CPU), file_of()
    for _ in range(2):
        assert not difference(decoder(image, TRANSFORM), image).any()
    assert [record.message for record in caplog.records] == [
        "a.jpg: decoded on the CPU, which is slower, because the GPU's decoder failed: "
        "nvjpegDecode failed: 4; later images are not warned of"
    ]


def test_a_truncated_file_is_rejected_before_it_is_decoded(nvjpeg):
    image = file_of()
    with pytest.raises(ValueError, match=r"a\.jpg: expected a complete image"):
        GpuDecoder(CPU)(EncodedImage("a.jpg", image.data[:-200]), TRANSFORM)
    assert not nvjpeg


def test_only_a_gpu_has_a_decoder_of_its_own():
    assert decoder_on(CPU) is decoded_on_cpu
    assert isinstance(decoder_on(torch.device("cuda")), GpuDecoder)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "image",
    [
        file_of(),
        file_of(shape=SIZE),
        file_of(IMWRITE_JPEG_PROGRESSIVE=1),
        file_of(IMWRITE_JPEG_SAMPLING_FACTOR=cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ],
    ids=["color", "gray", "progressive", "full color resolution"],
)
def test_nvjpeg_differs_little(image, caplog):
    found = GpuDecoder(torch.device("cuda"))(image, TRANSFORM)
    assert found.device.type == "cuda"
    assert difference(found, image).mean() < 2
    assert difference(found, image).max() < 32
    assert not caplog.records
