"""Progress: bars on a terminal, a few lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import TypeVar

from tqdm import tqdm

from utils.console import say

Item = TypeVar("Item")

LINE_SECONDS = 10.0
LINE_SHARE = 0.02
"""Without a terminal, a line is printed once this time and this share of the work have passed."""


class Progress:
    """A progress bar on a terminal; elsewhere an occasional line.

    Args:
        name: Label of the bar.
        total: Number of steps.
        done: Steps done already.
    """

    def __init__(self, name: str, total: int, done: int = 0):
        self.name = name
        self.total = total
        self.done = done
        self._first = done
        self._began = time.monotonic()
        self._said = (self._began, done)
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                desc=name, total=total, initial=done, leave=False, dynamic_ncols=True, unit="it"
            )

    def advance(self, facts: Callable[[], str]) -> None:
        """Advance by one step.

        Args:
            facts: Returns a short text about the step; called only when it is shown.
        """
        self.done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(facts(), refresh=False)
            self._bar.update()
        elif self._line_is_due():
            self._said = (time.monotonic(), self.done)
            say(f"{self.name} {self.done}/{self.total}  {facts()}  {self._time_left()} left")

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def _line_is_due(self) -> bool:
        seconds, steps = time.monotonic() - self._said[0], self.done - self._said[1]
        return seconds >= LINE_SECONDS and steps >= LINE_SHARE * self.total

    def _time_left(self) -> timedelta:
        rate = (time.monotonic() - self._began) / (self.done - self._first)
        return timedelta(seconds=round(rate * (self.total - self.done)))


def with_progress(
    items: Iterable[Item],
    name: str,
    total: int,
    *,
    facts: Callable[[Item], str] = lambda _: "",
    shown: bool = True,
) -> Iterator[Item]:
    """Iterate over items, advancing a bar after each.

    Args:
        items: The items.
        name: Label of the bar.
        total: Number of items.
        facts: Returns a short text about an item.
        shown: Whether to show progress.
    """
    progress = Progress(name, total) if shown else None
    try:
        for item in items:
            yield item
            if progress:
                progress.advance(partial(facts, item))
    finally:
        if progress:
            progress.close()
