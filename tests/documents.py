"""Reads the blocks of commands in README.md and docs/."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = (REPOSITORY / "README.md", *sorted(DOCS.glob("*.md")))
TESTED = "<!-- tested -->"
"""The line above a block that ``test_documented_commands.py`` runs."""

_BLOCK = re.compile(
    r"^(?P<above>[^\n]*)\n+ *```bash\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE
)


class Block(NamedTuple):
    """Commands of one page, between ```bash and ```.

    Attributes:
        page: The page.
        above: The line above the block.
        text: The lines of the block.
    """

    page: Path
    above: str
    text: str

    @property
    def name(self) -> str:
        """A name for tests: the page, and the last word of the first command."""
        return f"{self.page.stem}-{self.commands()[0][-1][:24]}"

    def lines(self) -> list[str]:
        """The commands as a shell reads them, one on each line."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if shlex.split(line, comments=True)]

    def commands(self) -> list[list[str]]:
        """The words of each command, without comments."""
        return [shlex.split(line, comments=True) for line in self.lines()]


def read(path: Path) -> str:
    """Read a text file."""
    return path.read_text(encoding="utf-8")


BLOCKS = [
    Block(page, found["above"].strip(), found["text"])
    for page in PAGES
    for found in _BLOCK.finditer(read(page))
]
