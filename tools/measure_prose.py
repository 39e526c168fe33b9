"""Measure the prose of the documentation: sentence length, line width and table width.

    python tools/measure_prose.py                        README.md, CHANGELOG.md and docs/*.md
    python tools/measure_prose.py docs/method.md         one page

Prints one row of word statistics per page, then every violation with its line, and exits with 1 if
there is one. The limits: a page averages at most 20 words per sentence, no sentence exceeds 35
words, Markdown wraps at 100 columns, and a table has at most 8 columns.

Code blocks, formulas, headings, images and comments are not prose. A list item is a sentence of its
own, a link counts as its text, and inline code as one word. Sentences in table cells must keep to
35 words but do not enter the average. Code blocks, tables, comments and lines that are a single
link may be wider than 100 columns.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

MAX_MEAN_WORDS = 20
MAX_WORDS = 35
MAX_COLUMNS = 100
MAX_TABLE_COLUMNS = 8

FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
HEADING = re.compile(r"^\s{0,3}#{1,6}\s")
RULE = re.compile(r"^\s*(?:[-*_]\s*){3,}$")
TABLE_ROW = re.compile(r"^\s*\|")
CELL_BORDER = re.compile(r"(?<!\\)\|")
LIST_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+")
MARGIN = re.compile(r"^\s*(?:>\s?)*(?:\[!\w+\])?")
SINGLE_LINK = re.compile(r"^\s*(?:[-*+]\s+|\d+[.)]\s+)?!?\[[^]]*\]\(\S+\)[.,;:]?$")

IMAGE = re.compile(r"!\[[^]]*\]\([^)]*\)")
LINK = re.compile(r"\[([^]]*)\](?:\([^)]*\)|\[[^]]*\])")
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL)
TAG = re.compile(r"</?[a-zA-Z][^>]*>")
WORD = re.compile(r"\S*\w\S*")
ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|Fig|Eq|Sec|No|al|approx)\.$")
SENTENCE_END = re.compile(r"[.!?][\"')\]*_”’]*(?=\s+[\"'(\[*_“‘]*[A-Z0-9`])")


@dataclass(frozen=True)
class Sentence:
    """A sentence of a page.

    Attributes:
        text: Its words, on one line.
        line: Line of the page on which its paragraph starts, from 1.
        in_table: Whether it stands in a table cell.
    """

    text: str
    line: int
    in_table: bool = False

    @property
    def words(self) -> int:
        """Number of words."""
        return len(WORD.findall(self.text))


@dataclass
class Prose:
    """What is measured of a page.

    Attributes:
        sentences: All sentences, in reading order within text and tables.
        wide_lines: Number and width of each line that is too wide.
        wide_tables: First line and columns of each table that is too wide.
        table_columns: Columns of the widest table; 0 without tables.
    """

    sentences: list[Sentence] = field(default_factory=list)
    wide_lines: list[tuple[int, int]] = field(default_factory=list)
    wide_tables: list[tuple[int, int]] = field(default_factory=list)
    table_columns: int = 0

    @property
    def lengths(self) -> list[int]:
        """Words of each sentence outside of tables."""
        return [sentence.words for sentence in self.sentences if not sentence.in_table]

    @property
    def mean(self) -> float:
        """Average words per sentence; 0 without sentences."""
        return sum(self.lengths) / max(1, len(self.lengths))

    def violations(self) -> list[str]:
        """Each broken limit, with the line where it is broken."""
        found = []
        if self.mean > MAX_MEAN_WORDS:
            found.append(f"{self.mean:.1f} words per sentence, at most {MAX_MEAN_WORDS}")
        for sentence in self.sentences:
            if sentence.words > MAX_WORDS:
                start = " ".join(sentence.text.split()[:8])
                found.append(f"line {sentence.line}: {sentence.words} words: {start} …")
        found += [f"line {line}: {width} columns" for line, width in self.wide_lines]
        found += [f"line {line}: table of {columns} columns" for line, columns in self.wide_tables]
        return found


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", type=Path, help="Markdown files (default: all pages)")
    return parser.parse_args(arguments)


def all_pages() -> list[Path]:
    """README.md, CHANGELOG.md and the pages of docs/."""
    return [
        REPOSITORY / "README.md",
        REPOSITORY / "CHANGELOG.md",
        *sorted((REPOSITORY / "docs").glob("*.md")),
    ]


def plain(text: str) -> str:
    """Reduce Markdown to its words: inline code and formulas become one word each."""
    text = IMAGE.sub("", text)
    text = CODE.sub("`code`", text)
    text = LINK.sub(r"\1", text)
    text = FORMULA.sub("formula", text)
    return " ".join(TAG.sub("", text).split())


def split_sentences(text: str) -> list[str]:
    """Split the plain text of one paragraph at the ends of its sentences."""
    sentences, start = [], 0
    for end in SENTENCE_END.finditer(text):
        if not ABBREVIATION.search(text[start : end.end()]):
            sentences.append(text[start : end.end()].strip())
            start = end.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if WORD.search(sentence)]


def without_blocks(markdown: str) -> list[str]:
    """The lines of a page, with code blocks and comments blanked."""
    lines, fence = [], ""
    for line in markdown.splitlines():
        mark = FENCE.match(line)
        if fence:
            closes = mark is not None and mark[1].startswith(fence) and not line.strip(" `~")
            lines.append("")
            fence = "" if closes else fence
        else:
            fence = mark[1] if mark else ""
            lines.append("" if mark else line)
    blanked = COMMENT.sub(lambda found: "\n" * found[0].count("\n"), "\n".join(lines))
    return blanked.split("\n")


def paragraphs(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield each paragraph and list item with the number of its first line."""
    start = 0
    gathered: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        text = MARGIN.sub("", line)
        is_apart = not text.strip() or any(kind.match(line) for kind in (HEADING, RULE, TABLE_ROW))
        if (is_apart or LIST_ITEM.match(text)) and gathered:
            yield start, "\n".join(gathered)
            gathered = []
        if not is_apart:
            start = start if gathered else number
            gathered.append(LIST_ITEM.sub("", text))


def tables(lines: Sequence[str]) -> Iterator[tuple[int, list[list[str]]]]:
    """Yield the rows of each table, as cells, with the number of its first line."""
    rows: list[list[str]] = []
    for number, line in enumerate([*lines, ""], 1):
        if TABLE_ROW.match(line):
            whole = CODE.sub(lambda found: found[0].replace("|", "/"), line.strip())
            rows.append(CELL_BORDER.split(whole.strip("|")))
        elif rows:
            yield number - len(rows), rows
            rows = []


def is_too_wide(line: str) -> bool:
    """Whether a line outside of code blocks and comments could have been wrapped."""
    is_table = TABLE_ROW.match(line) is not None
    return len(line) > MAX_COLUMNS and not is_table and not SINGLE_LINK.match(line)


def measure(markdown: str) -> Prose:
    """Measure one page."""
    lines = without_blocks(markdown)
    prose = Prose()
    for line, text in paragraphs(lines):
        prose.sentences += [Sentence(words, line) for words in split_sentences(plain(text))]
    for first, rows in tables(lines):
        columns = max(len(row) for row in rows)
        prose.table_columns = max(prose.table_columns, columns)
        if columns > MAX_TABLE_COLUMNS:
            prose.wide_tables.append((first, columns))
        for line, row in enumerate(rows, first):
            cells = [words for cell in row for words in split_sentences(plain(cell))]
            prose.sentences += [Sentence(words, line, in_table=True) for words in cells]
    wide = [(number, len(line)) for number, line in enumerate(lines, 1) if is_too_wide(line)]
    prose.wide_lines += wide
    return prose


def table_of(measured: dict[str, Prose]) -> str:
    """One row of statistics per page."""
    rows = [f"{'page':<24}{'words':>8}{'sentences':>11}{'average':>9}{'longest':>9}{'over 35':>9}"]
    rows[0] += f"{'wide lines':>12}{'table columns':>15}"
    for name, prose in measured.items():
        over = sum(sentence.words > MAX_WORDS for sentence in prose.sentences)
        rows.append(
            f"{name:<24}{sum(prose.lengths):>8}{len(prose.lengths):>11}{prose.mean:>9.1f}"
            f"{max(prose.lengths, default=0):>9}{over:>9}{len(prose.wide_lines):>12}"
            f"{prose.table_columns:>15}"
        )
    return "\n".join(rows)


def main(pages: Sequence[Path]) -> int:
    """Print statistics and violations.

    Returns:
        The exit status: 1 if a limit is broken.
    """
    texts = {page.name: page.read_text(encoding="utf-8") for page in pages}
    measured = {name: measure(text) for name, text in texts.items()}
    print(table_of(measured))
    violations = [
        f"{name}: {violation}"
        for name, prose in measured.items()
        for violation in prose.violations()
    ]
    if violations:
        print("", *violations, sep="\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(parse_arguments().pages or all_pages()))
