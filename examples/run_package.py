r"""Predict frames with an exported network: one file, without the repository.

    python run_package.py net.pt2 --image FRAME.png --cloud FRAME.bin --calib FRAME.txt \
        --out FRAME.npy

The package is from tools/export.py. This needs torch and NumPy, for images other than .ppm also
Pillow. The calibration is KITTI text with P2, R0_rect and Tr_velo_to_cam; the cloud is float32
rows of x, y, z, intensity. --image and --calib can be repeated, once for each camera.
"""

import argparse
import re
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch


def fail(path: Path, expected: str, found: str) -> NoReturn:
    """End with a message."""
    raise SystemExit(f"{path}: expected {expected}, found {found}")


def read_image(path: Path) -> np.ndarray:
    """Read an image as RGB (H, W, 3), uint8."""
    if path.suffix != ".ppm":
        from PIL import Image

        with Image.open(path) as image:
            if image.mode not in ("RGB", "L"):
                fail(path, "RGB or gray of 8 bits", f"an image of the mode {image.mode}")
            return np.asarray(image.convert("RGB"))
    content = path.read_bytes()
    header = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", content)
    if header is None:
        fail(path, "a PPM of 8 bits (P6) without comments", f"{content[:20]!r}")
    width, height = int(header[1]), int(header[2])
    pixels = np.frombuffer(content, np.uint8, offset=header.end())
    if len(pixels) != 3 * width * height:
        fail(path, f"{width}×{height} pixels", f"{len(pixels)} bytes")
    return pixels.reshape(height, width, 3)


def read_projection(path: Path) -> np.ndarray:
    """Read pixel_from_lidar (4, 4): it maps (x, y, z, 1) [m] to (u·d, v·d, d, 1)."""
    text = path.read_text(encoding="utf-8-sig")
    rows = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    product = np.eye(4)
    for key, columns in (("P2", 4), ("R0_rect", 3), ("Tr_velo_to_cam", 4)):
        words = rows.get(key, "").split()
        try:
            numbers = np.array(words, np.float64)
        except ValueError:
            numbers = np.empty(0)
        if len(numbers) != 3 * columns or not np.isfinite(numbers).all():
            fail(path, f"{3 * columns} numbers as {key}", f"'{' '.join(words)}'")
        matrix = np.eye(4)
        matrix[:3, :columns] = numbers.reshape(3, columns)
        product = product @ matrix
    return product


def read_cloud(path: Path, columns: int, intensity_max: float) -> np.ndarray:
    """Read x, y, z [m] and intensity 0–1, in the frame of the network."""
    content = path.read_bytes()
    if len(content) % (4 * columns):
        fail(path, f"rows of {columns} float32", f"{len(content)} bytes")
    points = np.frombuffer(content, "<f4").reshape(-1, columns).copy()
    most = points[:, 3].max(initial=0)
    if most > intensity_max or (len(points) > 100 and 0 < most <= intensity_max / 255):
        fail(path, f"intensities of 0–{intensity_max:g} (--intensity-max)", f"up to {most:g}")
    points[:, 3] /= intensity_max
    return points


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("package", type=Path, help="package of tools/export.py")
    add("--image", type=Path, action="append", default=[], metavar="FILE", help="image")
    add("--calib", type=Path, action="append", default=[], metavar="FILE", help="calibration")
    add("--cloud", type=Path, metavar="FILE", help="point cloud")
    add("--intensity-max", type=float, default=255.0, metavar="X",
        help="largest intensity that the cloud can hold (default: 255)")  # fmt: skip
    add("--out", type=Path, required=True, metavar="FILE", help="grid to write, .npy")
    add("--repeat", type=int, default=1, metavar="N", help="runs to time (default: 1)")
    return parser.parse_args(argv)


def read_frame(args: argparse.Namespace, about: dict[str, str]) -> dict[str, np.ndarray]:
    """Read the inputs that the package has, by name, with the shapes that it states."""
    shapes = {
        name: [int(number) for number in about[f"{name}.shape"].split()]
        for name in about["inputs"].split()
    }
    given = {}
    if "images" in shapes:
        cameras, height, width, _ = shapes["images"]
        if not len(args.image) == len(args.calib) == cameras:
            raise SystemExit(f"pass --image and --calib for each camera of the package: {cameras}")
        images = [read_image(path) for path in args.image]
        for path, image in zip(args.image, images, strict=True):
            if image.shape[:2] != (height, width):
                fail(path, f"{width}×{height} pixels", f"{image.shape[1]}×{image.shape[0]}")
        given["images"] = np.stack(images)
        given["pixel_from_lidar"] = np.stack([read_projection(path) for path in args.calib])
    if "points" in shapes:
        rows, columns = shapes["points"]
        if args.cloud is None:
            raise SystemExit("pass --cloud: the package reads a point cloud")
        points = read_cloud(args.cloud, columns, args.intensity_max)
        if len(points) > rows:
            raise SystemExit(
                f"{args.cloud}: {len(points):,} points; the package has room for {rows:,}"
            )
        given["points"] = np.zeros((rows, columns), np.float32)
        given["points"][: len(points)] = points
        given["num_points"] = np.array(len(points))
    return given


def load(path: Path) -> tuple[Any, dict[str, str]]:
    """Load a package and its entries."""
    # The loader of C++: torch._inductor.aoti_load_package compiles C++ to find out what the CPU can
    # do, which takes a compiler and up to a minute.
    try:
        network = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise SystemExit(
            f"{path}: PyTorch {torch.__version__} cannot load this package: {reason}"
        ) from error
    about: dict[str, str] = network.get_metadata()
    capability = torch.backends.cpu.get_cpu_capability()
    if about["device"] == "cpu" and "AVX512" in about["AOTI_CPU_ISA"] and capability != "AVX512":
        fail(path, f"code for this CPU, {capability}", f"code for {about['AOTI_CPU_ISA']}")
    return network, about


def main(args: argparse.Namespace) -> None:
    """Predict one frame and write its grid."""
    began = time.perf_counter()
    network, about = load(args.package)
    loaded = time.perf_counter()
    given, device = read_frame(args, about), about["device"]
    inputs = [
        torch.as_tensor(given[name], dtype=getattr(torch, about[f"{name}.dtype"]), device=device)
        for name in about["inputs"].split()
    ]

    times_ms = []
    for _ in range(args.repeat):
        start = time.perf_counter()
        outputs = dict(zip(about["outputs"].split(), network.run(inputs), strict=True))
        grid = outputs["occupancy"].cpu().numpy()  # Waits for a GPU.
        times_ms.append(1e3 * (time.perf_counter() - start))
    if int(outputs.get("dropped_voxels", 0)):
        print(f"warning: {int(outputs['dropped_voxels'])} voxels of the LiDAR had no room")
    with args.out.open("wb") as file:  # np.save would add an ending to a path.
        np.save(file, grid)

    classes, counts = np.unique(grid, return_counts=True)
    names = about["classes"].split()
    print({names[label]: int(count) for label, count in zip(classes, counts, strict=True)})
    print(f"loaded in {loaded - began:.2f} s, first frame {times_ms[0]:.1f} ms, "
          f"median {np.median(times_ms):.1f} ms of {len(times_ms)}")  # fmt: skip


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except OSError as problem:
        raise SystemExit(str(problem)) from problem
