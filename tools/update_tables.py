"""Write the generated tables of README.md and docs/: MineSim-Bench and the trained weights.

    python tools/update_tables.py            after a run of tools/bench.py, or new weights
    python tools/update_tables.py --check    exit with 1 if a page is out of date

The tables come from the records in assets/bench/ and from the files in assets/checkpoints/.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.experiments.pages import update_page
from engine.experiments.record import read_records
from engine.experiments.tables import bench_section
from engine.experiments.zoo import zoo_section
from utils.console import run_script, start_logging
from utils.whole_files import write_whole

ROOT = Path(__file__).resolve().parents[1]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page "
        "is out of date")  # fmt: skip
    return parser.parse_args(arguments)


def generated_parts(root: Path) -> dict[Path, dict[str, str]]:
    """Return the generated text of each page, by name of the part."""
    zoo = zoo_section(root / "assets/checkpoints")
    bench = bench_section(read_records(root / "assets/bench"))
    return {
        root / "README.md": {"weights": zoo},
        root / "docs/benchmarks.md": {"weights": zoo, "bench": bench},
    }


def main(arguments: argparse.Namespace, root: Path = ROOT) -> None:
    """Update the pages, or check them.

    Raises:
        ValueError: If a page is out of date and only to be checked.
    """
    for path, parts in generated_parts(root).items():
        text, is_changed = update_page(path, parts)
        if not is_changed:
            continue
        if arguments.check:
            raise ValueError(f"{path} is out of date: run python tools/update_tables.py")
        write_whole(path, text)
        print(f"{path} updated")


if __name__ == "__main__":
    start_logging()
    options = parse_arguments()
    run_script(lambda: main(options))
