"""Frames of a folder that grows: which ones have all of their files.

The recorder may delete, rename or replace files at any time. Times are of the monotonic clock, so
that they stay right when the clock of the machine is set.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dataset.inventory import time_order

WATCHED = 10
"""Frames whose files are still watched after they arrived: a slow recorder may not be done yet."""

logger = logging.getLogger(__name__)


class Side:
    """A folder with one file of each frame.

    Args:
        folder: The folder.
        suffixes: Suffixes of its files; one that ends with another comes before it.

    Attributes:
        folder: The folder.
        files: Path by stem, as of the last look.
    """

    def __init__(self, folder: Path, suffixes: Sequence[str]) -> None:
        self.folder, self._suffixes = folder, tuple(suffixes)
        self.files: dict[str, Path] = {}
        self._names: set[str] = set()

    def look(self) -> list[str]:
        """Update ``files``; return the stems of new names. Hidden and other files are ignored.

        Raises:
            OSError: If the folder cannot be listed.
        """
        names = set(os.listdir(self.folder))
        for name in self._names - names:
            stem = self._stem_of(name)
            if stem is not None and stem in self.files and self.files[stem].name == name:
                del self.files[stem]
        found = []
        for name in sorted(names - self._names):
            stem = self._stem_of(name)
            if stem is not None:
                self.files[stem] = self.folder / name
                found.append(stem)
        self._names = names
        return found

    def _stem_of(self, name: str) -> str | None:
        lower = name.lower()
        suffix = next((end for end in self._suffixes if lower.endswith(end)), None)
        return None if suffix is None or name.startswith(".") else name[: -len(suffix)]


class State(NamedTuple):
    """State of a file, which differs after a change.

    Attributes:
        size: Its size [bytes].
        changed_ns: Its time of change [ns].
    """

    size: int
    changed_ns: int


class Arrival(NamedTuple):
    """A frame that is complete.

    Attributes:
        stem: The frame.
        paths: Its file in each folder.
        states: State of each file.
        written_s: When the last of them was written, on the monotonic clock [s].
    """

    stem: str
    paths: tuple[Path, ...]
    states: tuple[State | None, ...]
    written_s: float


class Arrivals:
    """The frames of which all files have arrived.

    Args:
        sides: The folders.
    """

    def __init__(self, sides: Sequence[Side]) -> None:
        self._sides = sides
        self._waiting: set[str] = set()
        self._seen: dict[Path, _Seen] = {}
        self._looked_s: float | None = None
        self._last: deque[Arrival] = deque(maxlen=WATCHED)
        self._warned = False

    def poll(self) -> list[Arrival]:
        """Return the frames that became complete since the last call, oldest first.

        A frame is complete if each folder has its file, which is not empty and has not changed
        since the last call. The last frame of a list comes again if its files change afterwards.

        Raises:
            OSError: If a folder cannot be listed.
        """
        for side in self._sides:
            self._waiting.update(side.look())
        self._take_back()
        now_s = time.monotonic()
        since_s = 0.0 if self._looked_s is None else now_s - self._looked_s
        before, self._seen, self._looked_s = self._seen, {}, now_s
        complete = []
        for stem in sorted(self._waiting, key=time_order):
            paths = tuple(side.files[stem] for side in self._sides if stem in side.files)
            if not paths:
                self._waiting.remove(stem)
            if len(paths) < len(self._sides):
                continue
            seen = [_look(path, before.get(path), now_s, since_s) for path in paths]
            if all(file.is_steady for file in seen):
                self._waiting.remove(stem)
                states = tuple(file.state for file in seen)
                complete.append(Arrival(stem, paths, states, max(file.written_s for file in seen)))
            else:
                self._seen.update(zip(paths, seen, strict=True))
        self._last.extend(complete[-1:])
        return complete

    def _take_back(self) -> None:
        """Let frames wait again whose files have changed since they were returned."""
        for arrival in list(self._last):
            states = [_state_of(path) for path in arrival.paths]
            if None in states or tuple(states) == arrival.states:
                continue
            self._last.remove(arrival)
            self._waiting.add(arrival.stem)
            if not self._warned:
                self._warned = True
                logger.warning(
                    "frame %s: a file changed after the frame was read, so it is read again: the "
                    "recorder should write to a name that begins with a dot, and then rename",
                    arrival.stem,
                )


class _Seen(NamedTuple):
    """A file at one look; ``is_steady`` if it is not empty and was the same at the look before."""

    state: State | None
    written_s: float
    is_steady: bool


def _look(path: Path, before: _Seen | None, now_s: float, since_s: float) -> _Seen:
    """Look at a file.

    Args:
        path: The file.
        before: What the look before saw.
        now_s: The time [s].
        since_s: Time since the look before, in which the file was written if it is new [s].
    """
    state = _state_of(path)
    if state is None:
        return _Seen(None, now_s, is_steady=False)
    if before is not None and before.state == state:
        return before._replace(is_steady=state.size > 0)
    # The clocks of file servers differ, copies keep old times, and clocks are set.
    age_s = min(max(time.time() - state.changed_ns / 1e9, 0.0), since_s)
    return _Seen(state, now_s - age_s, is_steady=False)


def _state_of(path: Path) -> State | None:
    """Return the state of a file; None if it is gone."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return State(stat.st_size, stat.st_mtime_ns)
