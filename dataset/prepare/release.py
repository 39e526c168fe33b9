"""Finds and verifies the archives of UnScenes3D."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset import layout

PAGE = "https://github.com/ruiqi-song/UnScenes3D"
"""The page of the data set, which explains how to get it."""
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Archive:
    """One archive of a release.

    Attributes:
        name: File name.
        size: Size in bytes; 0 if none is published.
        sha256: Checksum; "" if none is published.
        holds: Folders of the layout in it; () for any.
        is_local_map: Whether it has local maps, which training and scoring do not need.
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
"""The mini release; "loaclmap" is the original spelling."""


@dataclass(frozen=True)
class Source:
    """An archive on disk: a zip file, or a folder with its unpacked files."""

    archive: Archive
    path: Path


def find_sources(folder: Path, archives: Sequence[Archive], *, local_maps: bool) -> list[Source]:
    """Find each archive of a release in a folder, packed or unpacked.

    Args:
        folder: Folder of the downloads.
        archives: Archives of the release.
        local_maps: Whether the archives with local maps are needed.

    Raises:
        FileNotFoundError: If archives are missing.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder of archives '{folder}' not found")
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
        without = " Pass --without-local-maps to skip the local maps." if local_maps else ""
        raise FileNotFoundError(
            f"'{folder}' lacks {len(missing)} of {len(needed)} archives:\n"
            + "\n".join(lines)
            + "\n"
            f"{PAGE} explains where to get them.{without}"
        )
    return found


def all_sources(folder: Path) -> list[Source]:
    """List every zip file in a folder, for releases without published checksums.

    Raises:
        FileNotFoundError: If there is none.
    """
    paths = sorted(folder.glob("*.zip")) if folder.is_dir() else []
    if not paths:
        raise FileNotFoundError(
            f"no *.zip in '{folder}'. {PAGE} explains where to get the data set"
        )
    return [Source(Archive(path.name), path) for path in paths]


def verify(source: Source, on_bytes: Callable[[int], object]) -> None:
    """Check the size and checksum of an archive.

    Args:
        source: The archive.
        on_bytes: Called with the number of bytes of each chunk.

    Raises:
        ValueError: If it is incomplete, corrupt or another file.
    """
    archive, path = source.archive, source.path
    size = path.stat().st_size
    if size != archive.size:
        raise ValueError(
            f"{path}: expected {archive.size:,} bytes, got {size:,}. The download is "
            f"incomplete, or of another version: download it again ({PAGE})"
        )
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            on_bytes(len(chunk))
    if digest.hexdigest() != archive.sha256:
        raise ValueError(
            f"{path}: expected the sha256 {archive.sha256}, got {digest.hexdigest()}. The "
            f"download is corrupt, or of another version: download it again ({PAGE})"
        )
