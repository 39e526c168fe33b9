"""What the scripts say: log lines beside progress bars, and errors a user can act on."""

import io
import logging
import os
import select
import sys
from collections.abc import Callable

from mmengine.logging import MMLogger
from tqdm import tqdm

USER_ERRORS = (ValueError, FileNotFoundError, FloatingPointError, OSError)
"""Errors of input; others are bugs and keep their traceback."""
TRACEBACK_VARIABLE = "UNSOCC_TRACEBACK"
OWN_LOGGERS = ("__main__", "dataset", "engine", "loss", "model", "utils")
"""What this project logs under; of other packages only warnings are shown."""

_MARK = "is_log_of_the_run"
_STATUS_OF_SIGPIPE = 128 + 13

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


def run_script(main: Callable[[], None], *, on_interruption: str = "stopped") -> None:
    """Run a script; an error of its input ends it with one message and exit status 1.

    The whole traceback stands in the run's log file, if it has one, and on the console where the
    environment has UNSOCC_TRACEBACK=1. A reader that closes the standard output, such as ``head``,
    ends the script without a word, with the status that a shell gives for SIGPIPE.

    Args:
        main: What the script does.
        on_interruption: What is said where Ctrl-C ended it: how to go on, if one can.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Each line goes out at once, also into a pipe: if nobody reads it, that shows here, and
        # not when Python flushes what is left after the script's end.
        sys.stdout.reconfigure(line_buffering=True)
    try:
        main()
    except USER_ERRORS as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads_output():
            _discard_output()
            sys.exit(_STATUS_OF_SIGPIPE)
        if os.environ.get(TRACEBACK_VARIABLE) == "1":
            raise
        logger.error(brief(error), exc_info=error)
        sys.exit(1)
    except KeyboardInterrupt:
        say(on_interruption)
        sys.exit(130)


def _nobody_reads_output() -> bool:
    """Whether the standard output is a pipe that has no reader any more."""
    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), select.POLLERR)
    return bool(pipe.poll(0))


def _discard_output() -> None:
    """Let the standard output go nowhere, so that Python can flush it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def brief(error: BaseException) -> str:
    """The message of an error: the file first, where it is the system's.

    Of an error that a data loader's process raised, it is its own message.
    """
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename2 or error.filename}: {error.strerror}"
    text = str(error)
    name = type(error).__name__
    if text.startswith("Caught ") and f"\n{name}: " in text:
        return text.rpartition(f"\n{name}: ")[2].strip()
    return text
