"""The archives of UnScenes3D: their names, sizes and checksums, and finding them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset import layout

PAGE = "https://github.com/ruiqi-song/UnScenes3D"
"""The data set's page, which says how to get it."""
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Archive:
    """One archive of a release.

    Attributes:
        name: File name.
        size: Bytes; 0 where nothing is published.
        sha256: Checksum; "" where none is published.
        holds: The layout's folders in it; () for any.
        is_local_map: Whether training and scoring can do without it.
    """

    name: str
    size: int = 0
    sha256: str = ""
    holds: tuple[str, ...] = ()
    is_local_map: bool = False


MINI = (
    Archive(
        "unscenes3d-mini_raw.zip",
        983_750_002,
        "4e14f1b02e350f8c332032c50b2e3cb4c538f7a2cea0676733840539c02b8494",
        (layout.IMAGES, layout.CLOUDS, layout.CALIBS, layout.IMAGESETS),
    ),
    Archive(
        "unscenes3d-mini_label.zip",
        577_517_527,
        "267b6744e6417826d8cceb3304495a3139ae6104984f74b8f07cb1cf5d163a1a",
        (
            layout.OCCUPANCY,
            layout.ELEVATION,
            layout.DEPTHS,
            layout.CAPTIONS,
            layout.VEHICLE_INFOS,
            layout.BOXES,
        ),
    ),
    Archive(
        "unscenes3d-mini_loaclmap-1.zip",
        1_521_872_067,
        "67ddd40392dbeb29dc9f40e209f320ace6ca1f83d0177a009b3f9457738c44ae",
        (layout.LOCAL_MAPS,),
        is_local_map=True,
    ),
    Archive(
        "unscenes3d-mini_loaclmap-2.zip",
        1_390_845_431,
        "f947a738db47c95282b8b6d2bcd39bb35fa113324dd5c27ddfe1f2bdf83364dd",
        (layout.LOCAL_MAPS,),
        is_local_map=True,
    ),
)
"""The mini release; the names are spelt so."""


@dataclass(frozen=True)
class Source:
    """An archive as it was found: a zip file, or the folder that it was unpacked to."""

    archive: Archive
    path: Path


def find_sources(folder: Path, archives: Sequence[Archive], *, local_maps: bool) -> list[Source]:
    """Find each archive in a folder, packed or already unpacked.

    Args:
        folder: Where they were downloaded to.
        archives: Those of the release.
        local_maps: Whether those with the local maps are needed too.

    Raises:
        FileNotFoundError: If some are missing; names them, and the page that says where they are.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder '{folder}' with archives")
    needed = [archive for archive in archives if local_maps or not archive.is_local_map]
    found, missing = [], []
    for archive in needed:
        path = folder / archive.name
        unpacked = path.with_suffix("")
        if path.is_file() or unpacked.is_dir():
            found.append(Source(archive, path if path.is_file() else unpacked))
        else:
            missing.append(archive)
    if missing:
        lines = [f"  {archive.name}: {', '.join(archive.holds)}" for archive in missing]
        without = " --without-local-maps does without the local maps." if local_maps else ""
        raise FileNotFoundError(
            f"'{folder}' lacks {len(missing)} of {len(needed)} archives:\n"
            + "\n".join(lines)
            + "\n"
            f"{PAGE} says where to get them.{without}"
        )
    return found


def all_sources(folder: Path) -> list[Source]:
    """Every zip file of a folder, for releases whose checksums are not published.

    Raises:
        FileNotFoundError: If there is none.
    """
    paths = sorted(folder.glob("*.zip")) if folder.is_dir() else []
    if not paths:
        raise FileNotFoundError(f"no *.zip in '{folder}'. {PAGE} says where to get the data set")
    return [Source(Archive(path.name), path) for path in paths]


def verify(source: Source, on_bytes: Callable[[int], object]) -> None:
    """Compare an archive's file with the published size and checksum.

    Args:
        source: The archive.
        on_bytes: Called with the number of bytes read, again and again.

    Raises:
        ValueError: If it is another file, or not all of it.
    """
    archive, path = source.archive, source.path
    size = path.stat().st_size
    if size != archive.size:
        raise ValueError(
            f"{path}: expected {archive.size:,} bytes, found {size:,}. The download is not "
            f"complete, or it is another version: get it again ({PAGE})"
        )
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            on_bytes(len(chunk))
    if digest.hexdigest() != archive.sha256:
        raise ValueError(
            f"{path}: expected the sha256 {archive.sha256}, found {digest.hexdigest()}. The "
            f"download is damaged, or it is another version: get it again ({PAGE})"
        )
