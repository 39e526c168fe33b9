import numpy as np
import pytest

from dataset.clouds import read_any_cloud, read_stored_cloud

UNIT = {"intensity_max": 1.0}
POINTS = np.array([[1.0, 2.0, 3.0, 0.5], [4.0, 5.0, 6.0, 0.25]], np.float32)
PCD = """# .PCD v0.7
VERSION 0.7
FIELDS x y z _ intensity
SIZE 4 4 4 1 4
TYPE F F F U F
COUNT 1 1 1 4 1
WIDTH 3
HEIGHT 1
POINTS 3
DATA {}
"""
PLY = """ply
format {} 1.0
comment made by hand
element vertex 3
property double x
property float y
property float z
property uchar red
property float Intensity
element face 0
property list uchar int vertex_indices
end_header
"""
ROWS = [*POINTS.tolist(), [float("nan")] * 3 + [1.0]]
"""The last one is what recorders write where a beam did not return."""


def pcd(kind):
    if kind == "ascii":
        body = "\n".join(f"{x} {y} {z} 0 0 0 0 {i}" for x, y, z, i in ROWS).encode()
    else:
        row = np.dtype([("p", "<f4", 3), ("pad", "u1", 4), ("i", "<f4")])
        body = np.array([((x, y, z), 0, i) for x, y, z, i in ROWS], row).tobytes()
    return PCD.format(kind).encode() + body


def ply(form):
    if form == "ascii":
        body = "\n".join(f"{x} {y} {z} 255 {i}" for x, y, z, i in ROWS).encode()
    else:
        order = "<" if form == "binary_little_endian" else ">"
        row = np.dtype(
            [("x", f"{order}f8"), ("yz", f"{order}f4", 2), ("r", "u1"), ("i", f"{order}f4")]
        )
        body = np.array([(x, (y, z), 255, i) for x, y, z, i in ROWS], row).tobytes()
    return PLY.format(form).encode() + body


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.bin", POINTS.tobytes()),
        ("a.pcd.bin", np.column_stack([POINTS, [7, 8]]).astype("<f4").tobytes()),
        ("a.pcd", pcd("ascii")),
        ("a.PCD", pcd("binary")),
        ("a.ply", ply("ascii")),
        ("a.ply", ply("binary_little_endian")),
        ("a.ply", ply("binary_big_endian")),
    ],
)
def test_all_formats_give_the_same_points(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    found = read_any_cloud(tmp_path / name, UNIT)
    np.testing.assert_array_equal(found, POINTS)


@pytest.mark.parametrize("columns", [3, 4, 5])
def test_arrays_of_numpy(tmp_path, columns):
    path = tmp_path / "a.npy"
    np.save(path, np.column_stack([POINTS, [9, 9]]).astype(np.float64)[:, :columns])
    expected = POINTS if columns > 3 else POINTS * [1, 1, 1, 0]
    np.testing.assert_array_equal(read_any_cloud(path, UNIT), expected)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xyz", b"1 2 3", "with one of the suffixes"),
        ("a.npy", b"no", "a numpy array"),
        ("a.pcd", b"x", "a header that ends with 'DATA'"),
        ("a.pcd", PCD.format("binary_compressed").encode(), "binary_compressed. Convert it"),
        ("a.pcd", b"VERSION 0.7\nDATA ascii\n", "expected FIELDS, SIZE"),
        ("a.pcd", pcd("ascii").replace(b"POINTS 3", b""), "found 'POINTS'"),
        ("a.pcd", pcd("ascii").replace(b"POINTS 3", b"POINTS"), "POINTS, found"),
        ("a.pcd", pcd("binary")[:-1], "expected 60 bytes for 3 points, found 59"),
        ("a.pcd", pcd("ascii").replace(b"6.0", b"six"), "expected numbers"),
        ("a.pcd", pcd("ascii").replace(b"FIELDS x", b"FIELDS w"), "expected fields x, y and z"),
        ("a.pcd", pcd("ascii").replace(b"0.25", b"nan"), "finite intensities"),
        ("a.pcd", pcd("ascii").replace(b"COUNT 1", b"COUNT 0"), "expected fields x, y and z"),
        ("a.pcd", pcd("ascii").replace(b"COUNT 1", b"COUNT -1"), "negative numbers"),
        ("a.pcd", pcd("ascii").replace(b"POINTS 3", b"POINTS -3"), "negative numbers"),
        ("a.pcd", pcd("binary").replace(b"SIZE 4", b"SIZE 3"), "FIELDS, SIZE, TYPE"),
        ("a.ply", b"ply\nformat text 1.0\nend_header\n", "expected PLY"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement face 1\nend_header\n", "vertices as the first"),
        ("a.ply", b"\nend_header\n", "expected PLY"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement\nend_header\n", "vertices as the first"),
        ("a.ply", ply("ascii").replace(b"vertex 3", b"vertex"), "a number of vertices"),
        ("a.ply", ply("ascii").replace(b"vertex 3", b"vertex x"), "number of vertices.*'x'"),
        ("a.ply", ply("ascii").replace(b"float y", b"list u y"), "numbers as properties"),
        ("a.ply", ply("ascii")[:-6], "expected 15 numbers for 3 points, found"),
    ],
)
def test_what_cannot_be_read_is_rejected(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_any_cloud(tmp_path / name, UNIT)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pcd", pcd("ascii").replace(b"POINTS 3", b"POINTS 0")),
        ("a.pcd", pcd("binary").replace(b"POINTS 3", b"POINTS 0")),
        ("a.ply", ply("ascii").replace(b"vertex 3", b"vertex 0")),
        ("a.ply", ply("binary_little_endian").replace(b"vertex 3", b"vertex 0")),
    ],
)
def test_a_cloud_may_have_no_points(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert read_any_cloud(tmp_path / name, UNIT).shape == (0, 4)


def test_fields_of_no_numbers_are_left_out(tmp_path):
    for kind in ("ascii", "binary"):
        content = pcd(kind).replace(b"FIELDS ", b"FIELDS a ").replace(b"SIZE ", b"SIZE 4 ")
        content = content.replace(b"TYPE ", b"TYPE F ").replace(b"COUNT ", b"COUNT 0 ")
        (tmp_path / "a.pcd").write_bytes(content)
        np.testing.assert_array_equal(read_any_cloud(tmp_path / "a.pcd", UNIT), POINTS)


def test_large_coordinates_keep_their_digits(tmp_path):
    utm = np.add(POINTS, [500_000.0625, 4_000_000.0625, 0, 0], dtype=np.float64)
    np.save(tmp_path / "a.npy", utm)
    np.testing.assert_array_equal(read_any_cloud(tmp_path / "a.npy", UNIT), utm)
    utm.tofile(tmp_path / "a.bin")
    found = read_any_cloud(tmp_path / "a.bin", UNIT | {"dtype": "float64"})
    np.testing.assert_array_equal(found, utm)


@pytest.mark.parametrize(
    ("size", "values", "expected"),
    [(1, [0, 90], 255), (2, [0, 4000], 65535), (2, [0, 255], None), (4, [0, 90], None)],
)
def test_small_integer_fields_state_their_range(tmp_path, size, values, expected):
    header = PCD.format("ascii").replace("SIZE 4 4 4 1 4", f"SIZE 4 4 4 1 {size}")
    header = header.replace("TYPE F F F U F", "TYPE F F F U U").replace("POINTS 3", "POINTS 2")
    body = "".join(f"1 2 3 0 0 0 0 {value}\n" for value in values)
    (tmp_path / "a.pcd").write_text(header + body)
    assert read_stored_cloud(tmp_path / "a.pcd", {}).intensity_max == expected


def test_what_is_stated_is_checked(tmp_path):
    points = np.column_stack([np.random.default_rng(0).normal(0, 9, (200, 3)), np.full(200, 9.0)])
    np.save(tmp_path / "a.npy", points)
    with pytest.raises(ValueError, match=r"a\.npy: expected intensities of 0–1, found 100 % above"):
        read_any_cloud(tmp_path / "a.npy", UNIT)
    np.save(tmp_path / "a.npy", 1000 * points)
    with pytest.raises(ValueError, match=r"a\.npy: expected x, y, z in meters, found .* span of"):
        read_any_cloud(tmp_path / "a.npy", UNIT)
    points.astype("<f4").tofile(tmp_path / "a.bin")
    with pytest.raises(ValueError, match=r"a\.bin.* found 100 % above.* intensity_max in calib"):
        read_any_cloud(tmp_path / "a.bin", UNIT)


def test_arrays_of_another_shape_and_missing_files_are_rejected(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 9)))
    with pytest.raises(ValueError, match=r"\(2, 9\)"):
        read_any_cloud(tmp_path / "a.npy", UNIT)
    np.save(tmp_path / "a.npy", np.full((2, 4), np.inf))
    with pytest.raises(ValueError, match="Remove these rows"):
        read_any_cloud(tmp_path / "a.npy", UNIT)
    with pytest.raises(FileNotFoundError, match=r"point cloud .* not found"):
        read_any_cloud(tmp_path / "b.npy", UNIT)
