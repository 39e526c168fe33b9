"""Names in a message: the first few, and how many more there are."""

from collections.abc import Iterable


def shortlist(names: Iterable[object], *, most: int = 3) -> str:
    """Write names as "a, b, c and 4 more".

    Args:
        names: What to name, the most telling first.
        most: How many to name.
    """
    texts = [str(name) for name in names]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
