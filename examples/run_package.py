r"""Predict frames with an exported network: one file, without the repository.

    python run_package.py net.pt2 --image FRAME.png --cloud FRAME.bin --calib FRAME.txt \
        --out FRAME.npy

The package is from tools/export.py. This needs torch and NumPy, for images other than .ppm also
Pillow. The calibration is KITTI text with P2, R0_rect and Tr_velo_to_cam; the cloud is float32
rows of x, y, z, intensity. --image and --calib can be repeated, once for each camera.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch


def read_image(path: Path) -> np.ndarray:
    """Read an image as RGB (H, W, 3), uint8."""
    if path.suffix == ".ppm":
        kind, width, height, most, pixels = path.read_bytes().split(maxsplit=4)
        if (kind, most) != (b"P6", b"255"):
            raise SystemExit(f"{path}: expected a PPM of 8 bits (P6)")
        return np.frombuffer(pixels, np.uint8).reshape(int(height), int(width), 3)
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))


def read_projection(path: Path) -> np.ndarray:
    """Read pixel_from_lidar (4, 4): it maps (x, y, z, 1) [m] to (u·d, v·d, d, 1)."""
    rows = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    product = np.eye(4)
    for key, shape in (("P2", (3, 4)), ("R0_rect", (3, 3)), ("Tr_velo_to_cam", (3, 4))):
        matrix = np.eye(4)
        matrix[:3, : shape[1]] = np.array(rows[key].split(), np.float64).reshape(shape)
        product = product @ matrix
    return product


def read_cloud(path: Path, columns: int, intensity_max: float) -> np.ndarray:
    """Read x, y, z [m] and intensity 0–1, in the frame of the network."""
    points = np.fromfile(path, np.float32).reshape(-1, columns).copy()
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


def main(args: argparse.Namespace) -> None:
    """Predict one frame and write its grid."""
    began = time.perf_counter()
    network = torch._inductor.aoti_load_package(str(args.package))
    about = network.get_metadata()
    loaded = time.perf_counter()

    shapes = {
        name: [int(number) for number in about[f"{name}.shape"].split()]
        for name in about["inputs"].split()
    }
    given = {}
    if "images" in shapes:
        images = np.stack([read_image(path) for path in args.image])
        if list(images.shape) != shapes["images"]:
            raise SystemExit(f"images: expected {shapes['images']}, got {list(images.shape)}")
        given["images"] = images
        given["pixel_from_lidar"] = np.stack([read_projection(path) for path in args.calib])
    if "points" in shapes:
        rows, columns = shapes["points"]
        points = read_cloud(args.cloud, columns, args.intensity_max)
        if len(points) > rows:
            raise SystemExit(
                f"{args.cloud}: {len(points):,} points; the package has room for {rows:,}"
            )
        given["points"] = np.zeros((rows, columns), np.float32)
        given["points"][: len(points)] = points
        given["num_points"] = np.array(len(points))
    device = about["device"]
    inputs = [
        torch.as_tensor(given[name], dtype=getattr(torch, about[f"{name}.dtype"]), device=device)
        for name in shapes
    ]

    times_ms = []
    for _ in range(args.repeat):
        start = time.perf_counter()
        outputs = dict(zip(about["outputs"].split(), network(*inputs), strict=True))
        grid = outputs["occupancy"].cpu().numpy()  # Waits for a GPU.
        times_ms.append(1e3 * (time.perf_counter() - start))
    if int(outputs.get("dropped_voxels", 0)):
        print(f"warning: {int(outputs['dropped_voxels'])} voxels of the LiDAR had no room")
    np.save(args.out, grid)

    classes, counts = np.unique(grid, return_counts=True)
    names = about["classes"].split()
    print({names[label]: int(count) for label, count in zip(classes, counts, strict=True)})
    print(f"loaded in {loaded - began:.2f} s, first frame {times_ms[0]:.1f} ms, "
          f"median {np.median(times_ms):.1f} ms of {len(times_ms)}")  # fmt: skip


if __name__ == "__main__":
    main(parse_arguments())
