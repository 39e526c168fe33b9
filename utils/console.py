"""What the scripts say: log lines beside progress bars, and errors a user can act on."""

import logging
import os
import sys
from collections.abc import Callable

from mmengine.logging import MMLogger
from tqdm import tqdm

USER_ERRORS = (ValueError, FileNotFoundError, FloatingPointError, OSError)
"""Errors of input; others are bugs and keep their traceback."""
TRACEBACK_VARIABLE = "UNSOCC_TRACEBACK"
OWN_LOGGERS = ("__main__", "dataset", "loss", "model", "utils")
"""What this project logs under; of other packages only warnings are shown."""

_MARK = "is_log_of_the_run"

logger = logging.getLogger(__name__)


class ConsoleHandler(logging.Handler):
    """Writes log lines to standard error without tearing progress bars apart."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record: the message alone, with its level from warnings on."""
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        say(text)


def say(text: str) -> None:
    """Write a line to standard error, above any progress bar."""
    tqdm.write(text, file=sys.stderr)


def start_logging(rank: int = 0) -> None:
    """Send log lines to the console: all from the first process, warnings from the others."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, ConsoleHandler)]:
        root.removeHandler(handler)
    level = logging.INFO if rank == 0 else logging.WARNING
    root.addHandler(ConsoleHandler(level))
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
    # What is logged through mmengine before there is a runner goes the same way.
    MMLogger.get_current_instance().handlers = [ConsoleHandler(level)]


def log_to(file: logging.FileHandler) -> None:
    """Send log lines to the log file of a run too, and no longer to that of an earlier one.

    The file also gets the tracebacks that the console leaves out.
    """
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if hasattr(handler, _MARK)]:
        root.removeHandler(handler)
    setattr(file, _MARK, True)
    root.addHandler(file)


def run_script(main: Callable[[], None]) -> None:
    """Run a script; an error of its input ends it with one message and exit status 1.

    The whole traceback stands in the run's log file, if it has one, and on the console where the
    environment has UNSOCC_TRACEBACK=1.
    """
    try:
        main()
    except USER_ERRORS as error:
        if os.environ.get(TRACEBACK_VARIABLE) == "1":
            raise
        logger.error(brief(error), exc_info=error)
        sys.exit(1)
    except KeyboardInterrupt:
        say("stopped; training goes on from its last checkpoint with the same command")
        sys.exit(130)


def brief(error: BaseException) -> str:
    """The message of an error; of one that a data loader's process raised, its own message."""
    text = str(error)
    name = type(error).__name__
    if text.startswith("Caught ") and f"\n{name}: " in text:
        return text.rpartition(f"\n{name}: ")[2].strip()
    return text
