"""What the numbers of a point cloud mean, and whether they can mean that.

Files differ in columns, number type and unit of the intensity. A ``CloudRule`` states all three:
the data set, the calibration of a recording or the config gives it. ``contradiction`` compares it
with the numbers, and ``normalized`` turns them into x, y, z [m] and an intensity of 0–1.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64, Num

DTYPES = ("float32", "float64", "float16")
WIDTHS = (4, 3, 5, 6, 7, 8)
"""Numbers of columns to look for, the most likely first."""
UNITS = (1.0, 255.0, 65535.0)
"""Usual largest values of an intensity."""

_SAMPLE_ROWS = 1200
"""Rows that are looked at; enough for all measures and cheap."""
_FEW_ROWS = 100
"""Below this number of rows, only impossible numbers contradict a rule."""
_MAX_EXTENT_M = 5000.0
"""No LiDAR spans more; coordinates themselves may be large, as in UTM."""
_MIN_NUMBER = 1e-20
"""Smaller numbers other than 0 are the bits of something else."""
_TINY_NUMBERS = 0.001
"""Share of the coordinates that may be that small by chance."""
_OVER_SHARE = 0.01
"""Share of the intensities that may exceed the rule's or be negative; they are clipped."""
_TINY_SHARE = 0.02
"""Intensities that all stay below this share of 1 have another unit."""
_BINS = 48
_BLOCK = 840  # A multiple of all widths.
_BLOCKS = 8
_CLEARER = 0.12
"""By how many nats per number another layout must be more regular to contradict a rule. A wrong
number of columns is off by 0.2 or more."""
_CLEARER_MULTIPLE = 0.4
"""The same for a multiple of the rule's columns: alternating beams make rows differ, too."""
_SAME = 0.1
"""Layouts that differ by less are equally regular [nat]."""
_MIN_ENTROPY = 0.5
"""Columns that vary less say nothing about their number [nat]."""
_MANY_ROWS = 1000
"""Rows that it takes to see that two layouts are equally regular."""
_RING_SHARE = 0.02
"""Share of the variance of elevation angles within a ring, at most."""


@dataclass(frozen=True)
class CloudRule:
    """Layout and unit of a point cloud.

    Attributes:
        intensity_max: The intensity that becomes 1; None: not known.
        columns: Numbers per point in files without a header; the first four are x, y, z [m] and
            intensity, and others are ignored. With three, the intensity is 0.
        dtype: Type of these numbers, little-endian: one of ``DTYPES``.

    Raises:
        ValueError: If a value is out of range.
    """

    intensity_max: float | None
    columns: int = 4
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.intensity_max is not None and not 0 < self.intensity_max < np.inf:
            raise ValueError(f"intensity_max must be a number above 0, got {self.intensity_max!r}")
        if not 3 <= self.columns <= 64:
            raise ValueError(f"columns must be from 3 to 64, got {self.columns!r}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {DTYPES}, got {self.dtype!r}")

    @property
    def number_type(self) -> np.dtype:
        """Type of a number in files without a header."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def row_bytes(self) -> int:
        """Bytes per point in files without a header."""
        return self.columns * self.number_type.itemsize

    def __str__(self) -> str:
        """Format the layout, such as "rows of 4 float32"."""
        return f"rows of {self.columns} {self.dtype}"


UNSCENES3D_CLOUD = CloudRule(255.0)
"""``clouds/`` of the UnScenes3D layout, which MineSim writes, too."""
NUSCENES_CLOUD = CloudRule(255.0, columns=5)
"""``.pcd.bin``: the fifth column is the ring."""
KITTI_CLOUD = CloudRule(1.0)
"""``velodyne/``."""


def contradiction(points: Num[np.ndarray, "P C"], rule: CloudRule) -> str | None:
    """Say why the numbers of a cloud cannot be what its rule states; None if they can.

    A sample of the rows is looked at. Empty clouds, few points, a constant or zero intensity and a
    single beam contradict no rule.

    Args:
        points: Rows as stored: x, y, z [m], intensity in the rule's unit, and any other columns.
        rule: The layout and unit that they should have.

    Returns:
        What was expected and what was found, with the likely layout, or None.
    """
    return layout_contradiction(points, rule) or intensity_contradiction(points, rule)


def layout_contradiction(points: Num[np.ndarray, "P C"], rule: CloudRule) -> str | None:
    """Say why rows of a file without a header cannot have the rule's columns and dtype."""
    found = impossible_positions(points)
    if found is not None:
        likely = likely_layout(np.ascontiguousarray(points).tobytes())
        return f"expected {rule} with x, y, z in meters, found {found}{naming(likely)}"
    if len(points) < _FEW_ROWS:
        return None
    extent = np.ptp(_sample(points)[:, :2], axis=0)
    if extent.min() == 0 < extent.max():
        likely = likely_layout(np.ascontiguousarray(points).tobytes())
        if likely is not None and (likely.columns, likely.dtype) != (rule.columns, rule.dtype):
            return f"expected {rule}, found a constant x or y{naming(likely)}"
    width = _clearer_width(points, rule.columns)
    if width is None:
        return None
    likely = CloudRule(None, width, rule.dtype)
    return f"expected {rule}, found columns that mix different numbers{naming(likely)}"


def impossible_positions(points: Num[np.ndarray, "P C"]) -> str | None:
    """Say what no LiDAR measures in x, y, z; None if nothing."""
    position = _float64(_sample(points)[:, :3])
    if not len(position):
        return None
    if not np.isfinite(position).all():
        return "NaN or infinity"
    is_tiny = (position != 0) & (np.abs(position) < _MIN_NUMBER)
    if is_tiny.mean() > _TINY_NUMBERS:
        return f"coordinates such as {position[is_tiny][0]:.3g}"
    if len(position) >= _FEW_ROWS:
        low, high = np.quantile(position, [0.02, 0.98], axis=0)
    else:
        low, high = position.min(axis=0), position.max(axis=0)
    extent = float((high - low).max())
    return None if extent <= _MAX_EXTENT_M else f"coordinates over a span of {extent:.4g}"


def intensity_contradiction(points: Num[np.ndarray, "P C"], rule: CloudRule) -> str | None:
    """Say why the fourth column cannot be an intensity in the rule's unit; None if it can."""
    if points.shape[1] < 4 or not len(points):
        return None
    sample = _float64(_sample(points))
    value = sample[:, 3]
    if not np.isfinite(value).all():
        return "expected finite intensities, found NaN or infinity"
    if len(points) >= _FEW_ROWS:
        other = _other_quantity(sample)
        if other is not None:
            return f"expected intensities in the fourth column, found {other}"
    below = float((value < 0).mean())
    if below > _OVER_SHARE:
        return (
            f"expected intensities of at least 0, found {100 * below:.0f} % below, "
            f"down to {value.min():.4g}"
        )
    if rule.intensity_max is None:
        return None
    return _unit_contradiction(value, rule.intensity_max)


def estimated_intensity_max(intensity: Float[np.ndarray, " P"]) -> float | None:
    """Guess the largest value that an intensity can have; None if all are 0.

    It is the first of ``UNITS`` that holds all values. Where all stay far below 1, it is their own
    maximum.
    """
    largest = float(intensity.max(initial=0.0))
    if largest <= 0:
        return None
    if largest < _TINY_SHARE:
        return largest
    return next((unit for unit in UNITS if largest <= unit), largest)


def normalized(points: Num[np.ndarray, "P C"], intensity_max: float) -> Float[np.ndarray, "P 4"]:
    """Return x, y, z [m] as stored and an intensity of 0–1, in float64 if the points are.

    Args:
        points: Rows as stored; without a fourth column, the intensity is 0.
        intensity_max: The intensity that becomes 1; higher ones do, too.
    """
    dtype = points.dtype if points.dtype == np.float64 else np.dtype(np.float32)
    found = np.zeros((len(points), 4), dtype)
    found[:, :3] = points[:, :3]
    if points.shape[1] > 3:
        found[:, 3] = np.clip(points[:, 3].astype(dtype) / dtype.type(intensity_max), 0, 1)
    return found


def likely_layout(data: bytes) -> CloudRule | None:
    """Find columns and dtype of a file without a header from its numbers; None if none fits."""
    for dtype in DTYPES:
        stored = CloudRule(None, dtype=dtype).number_type
        size = stored.itemsize
        widths = [width for width in WIDTHS if len(data) % (size * width) == 0]
        if not widths or len(data) < _FEW_ROWS * size * min(widths):
            continue
        numbers = np.frombuffer(data, stored)
        width = _clearest(_entropies(numbers, widths))
        rows = numbers.reshape(-1, width)
        if impossible_positions(rows) is None and np.ptp(rows[:, :2], axis=0).min() > 0:
            return CloudRule(None, width, dtype)
    return None


def naming(likely: CloudRule | None) -> str:
    """Suffix of a message that names the likely layout."""
    return "" if likely is None else f"; the numbers look like {likely}"


def _unit_contradiction(value: Float[np.ndarray, " P"], intensity_max: float) -> str | None:
    """Say why values have another unit than a range from 0 to ``intensity_max``."""
    over = float((value > 1.01 * intensity_max).mean())
    largest = float(value.max())
    if over > _OVER_SHARE:
        return (
            f"expected intensities of 0–{intensity_max:g}, found {100 * over:.0f} % above, up to "
            f"{largest:.4g}"
        )
    if len(value) < _FEW_ROWS or largest <= 0 or np.ptp(value) == 0:
        return None
    smaller = [unit for unit in UNITS if unit < intensity_max]
    limit = smaller[-1] if smaller else _TINY_SHARE * intensity_max if intensity_max == 1 else 0.0
    has_fractions = bool((value != np.round(value)).any())
    if largest <= limit and (has_fractions or limit > 1):
        return f"expected intensities of 0–{intensity_max:g}, found none above {largest:.4g}"
    return None


def _sample(points: Num[np.ndarray, "P C"]) -> Num[np.ndarray, "Q C"]:
    """Return some rows, spread evenly; an odd step visits all of an even number of beams."""
    return points[:: (len(points) // _SAMPLE_ROWS) | 1]


def _float64(numbers: Num[np.ndarray, "*any"]) -> Float64[np.ndarray, "*any"]:
    with np.errstate(invalid="ignore"):  # Any bits can be numbers, such as signaling NaNs.
        return numbers.astype(np.float64)


def _other_quantity(sample: Float[np.ndarray, "P C"]) -> str | None:
    """Say what the fourth column holds instead of intensities, if that is clear."""
    value = sample[:, 3]
    if _is_time(value):
        low, high = value.min(), value.max()
        return f"numbers that only grow, from {low:.4g} to {high:.4g}, such as times"
    if _is_ring(sample):
        low, high = value.min(), value.max()
        return (
            f"integers from {low:.0f} to {high:.0f} that follow the elevation angle, such as ring "
            "numbers"
        )
    return None


def _is_time(value: Float[np.ndarray, " P"]) -> bool:
    steps = np.diff(value)
    return bool((steps >= 0).all() and np.count_nonzero(steps) > len(steps) // 20)


def _is_ring(sample: Float[np.ndarray, "P C"]) -> bool:
    """Return whether the fourth column is the index of a beam, which fixes the elevation angle."""
    value = sample[:, 3]
    if (value != np.round(value)).any() or not 4 <= value.max() < 256 or value.min() < 0:
        return False
    angle = np.arctan2(sample[:, 2], np.hypot(sample[:, 0], sample[:, 1]))
    ring = value.astype(np.int64)
    count = np.maximum(np.bincount(ring), 1)
    mean = np.bincount(ring, angle) / count
    within = float(((angle - mean[ring]) ** 2).mean())
    repeats = np.count_nonzero(np.bincount(ring)) < len(value) / 4
    return bool(repeats and within < _RING_SHARE * float(angle.var()))


def _clearer_width(points: Num[np.ndarray, "P C"], columns: int) -> int | None:
    """Return a number of columns that fits the numbers far better than the given one, if any."""
    numbers = np.ascontiguousarray(points).reshape(-1)
    widths = [width for width in WIDTHS if numbers.size % width == 0]
    entropy = _entropies(numbers, {*widths, columns})
    given = entropy[columns]
    best = _clearest({width: entropy[width] for width in widths})
    gain = given - entropy[best]
    if best == columns:
        return None
    if columns % best == 0:  # Twice the columns are as regular, but half of the points are lost.
        is_clear = gain > -_SAME and given > _MIN_ENTROPY and len(points) >= _MANY_ROWS
    else:
        is_clear = gain > (_CLEARER_MULTIPLE if best % columns == 0 else _CLEARER)
    return best if is_clear else None


def _clearest(entropy: Mapping[int, float]) -> int:
    """Return the width with the lowest entropy, or the part of it that repeats within it."""
    best = min(entropy, key=entropy.__getitem__)
    limit = entropy[best] + _CLEARER_MULTIPLE
    return min(width for width in entropy if best % width == 0 and entropy[width] <= limit)


def _entropies(numbers: Num[np.ndarray, " n"], widths: Iterable[int]) -> dict[int, float]:
    """Measure how irregular the columns of rows of each width are [nat per number].

    A wrong width mixes the columns, which have distributions of their own. The mean entropy of a
    number given its column is therefore lowest for the right one, and the same for multiples of it.
    Blocks of rows are looked at, all over the file. The estimate is corrected for their number
    (Miller and Madow).
    """
    blocks = max(len(numbers) // _BLOCK, 1)
    picked = np.unique(np.linspace(0, blocks - 1, _BLOCKS).astype(int))
    index = (picked[:, None] * _BLOCK + np.arange(min(_BLOCK, len(numbers)))).ravel()
    number = np.nan_to_num(_float64(numbers[index]), nan=0.0, posinf=1e40, neginf=-1e40)
    value = np.arcsinh(np.clip(number, -1e40, 1e40))
    low, high = value.min(), value.max()
    cell = ((value - low) * ((_BINS - 1e-6) / max(high - low, 1e-12))).astype(np.int64)
    return {width: _entropy(cell, index % width) - float(np.log(width)) for width in widths}


def _entropy(cell: Int64[np.ndarray, " n"], column: Int64[np.ndarray, " n"]) -> float:
    """Return the joint entropy of histogram cells and columns [nat]."""
    count = np.bincount(column * _BINS + cell)
    share = count[count > 0] / len(cell)
    return -float((share * np.log(share)).sum()) + (len(share) - 1) / (2 * len(cell))
