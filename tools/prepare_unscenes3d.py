"""Unpack the downloaded archives of UnScenes3D into one folder, ready for training.

    python tools/prepare_unscenes3d.py --archives downloads --out data/unscenes3d

Verifies the checksums, unpacks all archives into one folder, writes the lists of train, val and
test, and checks the result like tools/check_dataset.py. Unpacked archives, as folders of the same
names, work too. Run the same command again to resume an interrupted run. Existing files that differ
from those of the archives are replaced only with --force. The exit status is 1 if anything is
missing or wrong.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# The frames are checked in parallel: threads within each would only compete for cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from dataset.check.run import check_dataset
from dataset.prepare.imagesets import write_lists
from dataset.prepare.members import Member, members_of, reject_conflicts
from dataset.prepare.release import MINI, Source, all_sources, find_sources, verify
from dataset.prepare.unpack import missing_members, require_space, unpack
from dataset.splits import SOURCES
from engine.number_options import count
from utils.console import run_script, start_logging
from utils.folder_lock import locked
from utils.outputs import output_file, output_folder
from utils.shortlist import shortlist
from utils.whole_files import write_json

logger = logging.getLogger(__name__)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--archives", type=Path, required=True, metavar="DIR", help="folder of the downloads"
    )
    parser.add_argument(
        "--out", type=output_folder, required=True, metavar="DIR", help="folder of the data set"
    )
    parser.add_argument(
        "--release",
        choices=("mini", "other"),
        default="mini",
        help="mini: the four archives of the mini release, verified; other: every *.zip in the "
        "folder, not verified (default: mini)",
    )
    parser.add_argument(
        "--without-local-maps",
        action="store_true",
        help="skip localmap_clouds, which training and scoring do not need",
    )
    parser.add_argument(
        "--split",
        choices=SOURCES,
        default="auto",
        help="how to split the frames: lists, by the lists in the archives; official, by the "
        "published scene ids; region, by mine; auto, the first of these that works (default: auto)",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files that differ")
    parser.add_argument(
        "--json", type=output_file, metavar="FILE", help="write the report of the check to FILE"
    )
    parser.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="worker processes of the check (default: one per core)",
    )
    return parser.parse_args(arguments)


def verify_all(sources: Sequence[Source]) -> None:
    """Verify every archive, with a progress bar.

    Raises:
        ValueError: If one differs from the published archive.
    """
    published = [source for source in sources if source.archive.sha256 and source.path.is_file()]
    for source in sources:
        if source not in published:
            logger.info("%s: not verified, no published checksum", source.path)
    with _byte_bar("verify", sum(source.archive.size for source in published)) as bar:
        for source in published:
            verify(source, bar.update)


def members_to_unpack(sources: Sequence[Source]) -> list[Member]:
    """List the files of all sources that belong to the layout, and log the others.

    Raises:
        ValueError: If an archive has unsafe entries, or two files have the same target.
    """
    members = [member for source in sources for member in members_of(source)]
    placed = [member for member in members if member.target is not None]
    if not placed:
        raise ValueError(
            "the archives have none of the folders of the layout; are they from UnScenes3D?"
        )
    skipped = [member.name for member in members if member.target is None]
    if skipped:
        logger.warning(
            "%d files are not part of the layout and are skipped: %s",
            len(skipped),
            shortlist(skipped),
        )
    reject_conflicts(placed)
    return placed


def unpack_all(members: Sequence[Member], root: Path, *, force: bool) -> None:
    """Unpack the missing files, with a progress bar.

    Raises:
        FileExistsError: If existing files differ.
        OSError: If there is not enough disk space.
    """
    compared = tqdm(members, desc="compare", unit="file", delay=1)
    missing = missing_members(compared, root, force=force)
    logger.info("%d of %d files are already unpacked", len(members) - len(missing), len(members))
    require_space(missing, root)
    with _byte_bar("unpack", sum(member.size for member in missing)) as bar:
        unpack(missing, root, bar.update)


def main(arguments: argparse.Namespace) -> None:
    """Verify, unpack, split and check; exit with status 1 if the check finds errors."""
    if arguments.release == "mini":
        sources = find_sources(
            arguments.archives, MINI, local_maps=not arguments.without_local_maps
        )
    else:
        sources = all_sources(arguments.archives)
    verify_all(sources)
    with locked(arguments.out):
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
    run_script(
        lambda: main(options), on_interruption="interrupted; run the same command again to resume"
    )
