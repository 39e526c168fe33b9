"""Generated parts of Markdown pages, between two comments that name them."""

import re
from pathlib import Path


def replace_part(page: str, name: str, text: str) -> str:
    """Replace the text between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``.

    Raises:
        ValueError: If the page does not have both comments, once each and in this order.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if (page.count(begin), page.count(end)) != (1, 1) or not pattern.search(page):
        raise ValueError(f"expected the lines '{begin}' and '{end}', once each and in this order")
    return pattern.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", page)


def update_page(path: Path, parts: dict[str, str]) -> tuple[str, bool]:
    """Return the text of a page with new generated parts, and whether that changes it.

    Args:
        path: The page.
        parts: The text of each part by name.

    Raises:
        ValueError: If the page lacks the comments of a part; names the page.
    """
    before = after = path.read_text(encoding="utf-8")
    for name, text in parts.items():
        try:
            after = replace_part(after, name, text)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return after, after != before
