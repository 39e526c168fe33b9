"""The command line that exports a network."""

import numpy as np
import pytest
import torch

from engine.benchmark import synthetic
from engine.export import export, files
from engine.export.export import ExportOptions
from engine.export.signature import describe
from tests.export_network import small_network, write_network
from tools import export as tool


@pytest.fixture(scope="module", autouse=True)
def few_points():
    """Fewer points than a frame of the benchmark has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "POINTS_PER_SWEEP", 2000)
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("network"))[1]


@pytest.fixture
def quick(monkeypatch):
    """Run the network itself in place of a compiled file; make package compiles one."""
    written = {}

    def write(network, path, entries):
        written.update(entries)
        written["network"] = network
        path.write_bytes(b"compiled")

    def run(inputs):
        with torch.no_grad():
            return written["network"](*inputs)

    monkeypatch.setattr(files, "traced", lambda network, inputs: network.eval())
    monkeypatch.setattr(files, "write_package", write)
    monkeypatch.setattr(files, "load_package", lambda path: run)
    monkeypatch.setattr(export, "TIMED_RUNS", 1)
    monkeypatch.setattr(export, "WARMUP_RUNS", 0)
    return written


def run(weights, out, *words):
    tool.main(
        tool.parse_arguments(
            ["--resume-from", str(weights), "--out", str(out), "--device", "cpu", *words]
        )
    )


def test_a_file_says_what_is_in_it(weights, tmp_path, quick, capsys):
    out = tmp_path / "net.pt2"
    run(weights, out, "--image-size", "120x75", "--frames", "1", "--outputs", "probabilities")
    assert out.read_bytes() == b"compiled"
    assert quick["inputs"] == "images pixel_from_lidar points num_points"
    assert quick["images.shape"] == "1 75 120 3"
    assert quick["images.dtype"] == "uint8"
    assert quick["points.shape"] == "3072 4"
    assert quick["num_points.shape"] == ""
    assert quick["outputs"] == "occupancy probabilities"
    assert quick["shape"] == "32 32 4"
    assert quick["origin_m"] == "0 -38.4 -4"
    assert quick["voxel_m"] == "2.4"
    assert quick["lidar_height_m"] == "2.7"
    assert len(quick["classes"].split()) == 12
    assert len(quick["palette"].split()) == 36
    assert (quick["sensors"], quick["device"], quick["precision"]) == ("both", "cpu", "fp32")
    text = capsys.readouterr().err
    assert "% of 8,192 voxels in 2 runs have the same class" in text
    assert "the network itself, not compiled" in text


def test_a_file_that_differs_is_not_written(weights, tmp_path, quick, monkeypatch):
    def wrong(inputs):
        return [torch.full((32, 32, 4), 77, dtype=torch.uint8)]

    monkeypatch.setattr(files, "load_package", lambda path: wrong)
    with pytest.raises(ValueError, match=r"net\.pt2 was not written: expected the class of the"):
        run(weights, tmp_path / "net.pt2", "--image-size", "120x75", "--frames", "1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--image-size WIDTHxHEIGHT, .* is missing: the network has a camera"),
        (["--image-size", "9x9", "--outputs", "elevation"], "needs a network with an elevation"),
        (["--image-size", "9x9", "--sensors", "lidar"], "--image-size is for networks with a cam"),
        (["--image-size", "9x9", "--sensors", "camera", "--max-points", "5"],
         "--max-points and --max-voxels are for networks with a LiDAR"),
        (["--image-size", "9x9", "--max-points", "5"], "--max-points 5: a frame of the check has"),
        (["--image-size", "9x9", "--max-voxels", "5"], "a number for each of the 2 resolutions"),
    ],
)  # fmt: skip
def test_options_must_fit_the_network(weights, tmp_path, words, message):
    with pytest.raises(ValueError, match=message):
        run(weights, tmp_path / "net.pt2", "--frames", "1", *words)


def test_the_ending_is_that_of_the_format(weights, tmp_path):
    message = r"--out must end in \.pt2 with --format pt2, got .*net\.onnx"
    with pytest.raises(ValueError, match=message):
        run(weights, tmp_path / "net.onnx")


def test_a_split_needs_its_data(weights, tmp_path):
    with pytest.raises(ValueError, match="--split test is for frames of a data set: pass --data-r"):
        run(weights, tmp_path / "net.pt2", "--split", "test")


def test_onnx_is_for_the_cpu_and_needs_its_packages(monkeypatch):
    monkeypatch.setattr(files, "ONNX_PACKAGES", ())
    with pytest.raises(ValueError, match="in fp32; got --device cpu --precision bf16"):
        files.check_format("onnx", device="cpu", precision="bf16")
    monkeypatch.setattr(files, "ONNX_PACKAGES", ("not_there",))
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs not_there, not installed: pip install -r req"):
        files.check_format("onnx", device="cpu", precision="fp32")


def test_limited_room_is_an_output(tmp_path):
    cfg, trained, predictor = small_network(tmp_path)
    options = ExportOptions(image_size=(75, 120), frames=1, max_voxels=(64, 64))
    frames = list(export.check_frames(cfg, predictor, options))
    signature = export.sign(cfg, predictor, frames, options)
    entries = describe(signature, cfg, trained, device="cpu", precision="fp32")
    assert entries["outputs"] == "occupancy dropped_voxels"
    assert np.prod(signature.room) == 64 * 64
