"""Bring the downloaded archives of UnScenes3D into one folder, ready to train on.

    python tools/prepare_unscenes3d.py --archives downloads --out data/unscenes3d

The archives' checksums are verified, their files unpacked side by side, the lists of train, val and
test written, and the result checked as by tools/check_dataset.py. Archives that are unpacked
already, as folders of the same names, will do too. An interrupted run goes on where it stopped when
the same command is given again; files that differ from the archives' are never replaced without
--force. Exit status 1 if anything is missing or wrong.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Frames are checked in parallel; threads inside each would only be in each other's way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from dataset.check.run import check_dataset
from dataset.prepare.imagesets import write_lists
from dataset.prepare.members import Member, members_of, refuse_conflicts
from dataset.prepare.release import MINI, Source, all_sources, find_sources, verify
from dataset.prepare.unpack import missing_members, require_space, unpack
from dataset.splits import SOURCES
from utils.console import run_script, start_logging
from utils.outputs import output_file, output_folder
from utils.shortlist import shortlist
from utils.whole_files import write_json

logger = logging.getLogger(__name__)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archives", type=Path, required=True, help="folder of the downloads")
    parser.add_argument("--out", type=output_folder, required=True, help="the data set's folder")
    parser.add_argument(
        "--release",
        choices=("mini", "other"),
        default="mini",
        help="mini: its four archives, verified; other: every *.zip in the folder, without "
        "published checksums (default: mini)",
    )
    parser.add_argument(
        "--without-local-maps",
        action="store_true",
        help="leave localmap_clouds out; training and scoring do not need it",
    )
    parser.add_argument(
        "--split",
        choices=SOURCES,
        default="auto",
        help="how to divide the frames: by the published scene ids, by the mines' regions, or as "
        "the lists in the archives say; auto: the first of lists, official, region that can be",
    )
    parser.add_argument("--force", action="store_true", help="replace files that differ")
    parser.add_argument("--json", type=output_file, help="file for the report of the check")
    parser.add_argument("--workers", type=int, help="processes of the check (default: one a core)")
    return parser.parse_args(arguments)


def verify_all(sources: Sequence[Source]) -> None:
    """Verify every archive, with a bar.

    Raises:
        ValueError: If one is not as published.
    """
    published = [source for source in sources if source.archive.sha256 and source.path.is_file()]
    for source in sources:
        if source not in published:
            logger.info("%s: no published checksum to compare with", source.path)
    with _byte_bar("verify", sum(source.archive.size for source in published)) as bar:
        for source in published:
            verify(source, bar.update)


def members_to_unpack(sources: Sequence[Source]) -> list[Member]:
    """The files of all sources that have a place in the layout; says which are left out.

    Raises:
        ValueError: If an archive holds what could do harm, or two files go to one place.
    """
    members = [member for source in sources for member in members_of(source)]
    placed = [member for member in members if member.target is not None]
    if not placed:
        raise ValueError("the archives hold none of the layout's folders; are they UnScenes3D's?")
    left_out = [member.name for member in members if member.target is None]
    if left_out:
        logger.warning("%d files left out: %s", len(left_out), shortlist(left_out))
    refuse_conflicts(placed)
    return placed


def unpack_all(members: Sequence[Member], root: Path, *, force: bool) -> None:
    """Unpack what is not there yet, with a bar.

    Raises:
        FileExistsError: If other files are in the way.
        OSError: If the disk is too small.
    """
    compared = tqdm(members, desc="compare", unit="file", delay=1)
    missing = missing_members(compared, root, force=force)
    logger.info("%d of %d files are there already", len(members) - len(missing), len(members))
    require_space(missing, root)
    with _byte_bar("unpack", sum(member.size for member in missing)) as bar:
        unpack(missing, root, bar.update)


def main(arguments: argparse.Namespace) -> None:
    """Verify, unpack, split and check; exit status 1 if the check finds errors."""
    if arguments.release == "mini":
        sources = find_sources(
            arguments.archives, MINI, local_maps=not arguments.without_local_maps
        )
    else:
        sources = all_sources(arguments.archives)
    verify_all(sources)
    unpack_all(members_to_unpack(sources), arguments.out, force=arguments.force)
    counts = write_lists(arguments.out, arguments.split, force=arguments.force)
    logger.info("lists: %s", ", ".join(f"{split} {count}" for split, count in counts.items()))
    report = check_dataset(arguments.out, workers=arguments.workers)
    if arguments.json is not None:
        write_json(report.to_json(), arguments.json)
    print(report.table())
    if not report.is_sound:
        sys.exit(1)


def _byte_bar(title: str, total: int) -> tqdm:
    return tqdm(desc=title, total=total, unit="B", unit_scale=True, unit_divisor=1000, delay=1)


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options), on_interruption="stopped; the same command goes on from here")
