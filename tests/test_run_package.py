"""examples/run_package.py: what it reads and what it rejects. `make package` runs real packages."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dataset import layout
from dataset.formats import read_calibration, read_cloud, read_image
from dataset.inventory import complete_stems, path_of
from tests.layout_files import write_tiny_unscenes3d

SCRIPT = Path(__file__).resolve().parents[1] / "examples/run_package.py"
SPEC = importlib.util.spec_from_file_location("run_package", SCRIPT)
example = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(example)

ABOUT = {
    "inputs": "images pixel_from_lidar points num_points",
    "outputs": "occupancy",
    "images.shape": "1 60 96 3",
    "images.dtype": "uint8",
    "pixel_from_lidar.shape": "1 4 4",
    "pixel_from_lidar.dtype": "float32",
    "points.shape": "5000 4",
    "points.dtype": "float32",
    "num_points.shape": "",
    "num_points.dtype": "int64",
    "classes": "free truck",
    "device": "cpu",
    "AOTI_CPU_ISA": "AVX2",
}


class Package:
    """Keeps its inputs, and predicts a truck in the first voxel."""

    def get_metadata(self):
        return ABOUT

    def run(self, inputs):
        self.inputs = dict(zip(ABOUT["inputs"].split(), inputs, strict=True))
        grid = torch.zeros(2, 2, 2, dtype=torch.uint8)
        grid[0, 0, 0] = 1
        return [grid]


@pytest.fixture
def frame(tmp_path):
    """Paths of the image, cloud and calibration of a frame."""
    root = tmp_path / "data"
    scenes = {"scene_00000": "location_1"}
    write_tiny_unscenes3d(root, scenes=scenes, sweeps=0, labels=False, imagesets=())
    stem = complete_stems(root, [layout.CALIBS])[0]
    folders = dict(image=layout.IMAGES, cloud=layout.CLOUDS, calib=layout.CALIBS)
    return {name: path_of(root, folder, stem) for name, folder in folders.items()}


@pytest.fixture
def package(monkeypatch):
    package = Package()
    monkeypatch.setattr(torch._C._aoti, "AOTIModelPackageLoader", lambda *_: package)
    return package


def run(tmp_path, frame, *more):
    words = [word for name, path in frame.items() for word in (f"--{name}", str(path))]
    arguments = ["net.pt2", *words, "--out", str(tmp_path / "grid"), *more]
    example.main(example.parse_arguments(arguments))


def test_reads_a_frame_as_the_project_does(frame, package, tmp_path, capsys):
    run(tmp_path, frame)
    inputs = {name: value.numpy() for name, value in package.inputs.items()}
    points = read_cloud(frame["cloud"])
    np.testing.assert_array_equal(inputs["images"][0], read_image(frame["image"]))
    np.testing.assert_array_equal(inputs["points"][: len(points)], points)
    assert inputs["num_points"] == len(points)
    projection = read_calibration(frame["calib"]).pixel_from_lidar
    np.testing.assert_allclose(inputs["pixel_from_lidar"][0], projection, rtol=1e-6)
    assert np.load(tmp_path / "grid").sum() == 1
    assert "{'free': 7, 'truck': 1}" in capsys.readouterr().out


def test_a_ppm_may_begin_with_bytes_that_are_white_space(tmp_path):
    pixels = np.full((2, 3, 3), ord("\n"), np.uint8)
    path = tmp_path / "frame.ppm"
    path.write_bytes(b"P6\n3 2\n255\n" + pixels.tobytes())
    np.testing.assert_array_equal(example.read_image(path), pixels)
    path.write_bytes(b"P6\n3 2\n255\n" + pixels.tobytes()[1:])
    with pytest.raises(SystemExit, match=r"frame\.ppm: expected 3×2 pixels, found 17 bytes"):
        example.read_image(path)
    path.write_bytes(b"P6\n3 2\n65535\n" + 2 * pixels.tobytes())
    with pytest.raises(SystemExit, match="expected a PPM of 8 bits"):
        example.read_image(path)


def test_a_calibration_may_come_from_windows(frame, tmp_path):
    path, expected = tmp_path / "frame.txt", example.read_projection(frame["calib"])
    path.write_bytes(b"\xef\xbb\xbf" + frame["calib"].read_bytes().replace(b"\n", b"\r\n"))
    np.testing.assert_array_equal(example.read_projection(path), expected)


def test_files_that_cannot_be_right_are_rejected(frame, package, tmp_path):
    cloud, calib = tmp_path / "cloud.bin", tmp_path / "calib.txt"
    cloud.write_bytes(frame["cloud"].read_bytes()[:-1])
    with pytest.raises(SystemExit, match=r"cloud\.bin: expected rows of 4 float32, found \d+ b"):
        run(tmp_path, frame | {"cloud": cloud})
    for most in (0.9, 1000.0):
        rows = np.linspace(0, most, 404, dtype="<f4").reshape(-1, 4)
        rows.tofile(cloud)
        with pytest.raises(SystemExit, match=r"intensities of 0–255 \(--intensity-max\), found up"):
            run(tmp_path, frame | {"cloud": cloud})
        run(tmp_path, frame | {"cloud": cloud}, "--intensity-max", f"{most}")
    calib.write_text(frame["calib"].read_text().replace("R0_rect", "R_rect"))
    with pytest.raises(SystemExit, match=r"calib\.txt: expected 9 numbers as R0_rect, found ''"):
        run(tmp_path, frame | {"calib": calib})
    for mode in ("I;16", "RGBA"):
        image = tmp_path / "image.png"
        Image.new(mode, (96, 60)).save(image)
        with pytest.raises(SystemExit, match="expected RGB or gray of 8 bits, found an image of"):
            run(tmp_path, frame | {"image": image})
    Image.new("L", (48, 60)).save(image)
    with pytest.raises(SystemExit, match="expected 96×60 pixels, found 48×60"):
        run(tmp_path, frame | {"image": image})


def test_each_input_of_the_package_is_needed(frame, package, tmp_path):
    for name, message in dict(
        cloud="pass --cloud", image="for each camera of the package: 1"
    ).items():
        with pytest.raises(SystemExit, match=message):
            run(tmp_path, {other: path for other, path in frame.items() if other != name})


def test_a_package_for_a_newer_cpu_is_rejected(frame, package, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    run(tmp_path, frame)
    monkeypatch.setitem(ABOUT, "AOTI_CPU_ISA", "AVX512 AVX512_VNNI")
    with pytest.raises(SystemExit, match=r"net\.pt2: expected code for this CPU, AVX2, found code"):
        run(tmp_path, frame)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    run(tmp_path, frame)


def test_a_file_that_is_no_package_is_named(frame, tmp_path, monkeypatch):
    def refuse(*_):
        raise RuntimeError("Failed to open archive\nat loader.cpp:1")

    monkeypatch.setattr(torch._C._aoti, "AOTIModelPackageLoader", refuse)
    with pytest.raises(SystemExit, match=r"net\.pt2: PyTorch .* cannot load .*open archive$"):
        run(tmp_path, frame)
