"""Console output of the scripts: log lines beside progress bars, and readable errors."""

import io
import logging
import os
import select
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import torch.distributed as dist
from mmengine.logging import MMLogger
from tqdm import tqdm

from utils.machine_errors import LOST_PROCESS, machine_error

USER_ERRORS = (ValueError, FileNotFoundError, FloatingPointError, OSError)
"""Errors caused by input. All others are bugs and keep their traceback."""
TRACEBACK_VARIABLE = "UNSOCC_TRACEBACK"
GRACE_S = 2.0
"""Time that a process leaves to another one, or its launcher, to say first what failed."""
OWN_LOGGERS = ("__main__", "dataset", "engine", "loss", "model", "utils")
"""Loggers of this project; other packages show warnings only."""

_MARK = "is_log_of_the_run"
_STATUS_OF_SIGPIPE = 128 + 13

logger = logging.getLogger(__name__)
if isinstance(sys.stdout, io.TextIOWrapper):  # "?" for characters that its encoding lacks.
    sys.stdout.reconfigure(errors="replace")


class ConsoleHandler(logging.Handler):
    """Writes log lines to stderr without breaking progress bars.

    Args:
        level: Lowest level to write.
        rank: This process of the run; lines of other processes than the first name theirs.
    """

    def __init__(self, level: int, rank: int = 0) -> None:
        super().__init__(level)
        self._process = f"process {rank} on {socket.gethostname()}: " if rank else ""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record: the message, prefixed with its level from warnings up."""
        text = self._process + record.getMessage()
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        say(text)


def say(text: str) -> None:
    """Print a line to stderr, above any progress bar."""
    tqdm.write(text, file=sys.stderr)


def start_logging(rank: int = 0) -> None:
    """Log to the console: everything from rank 0, errors from the other ranks."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, ConsoleHandler)]:
        root.removeHandler(handler)
    level = logging.INFO if rank == 0 else logging.ERROR
    root.addHandler(ConsoleHandler(level, rank))
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
    # Messages that mmengine logs before there is a runner go the same way.
    MMLogger.get_current_instance().handlers = [ConsoleHandler(level, rank)]


def log_to(file: logging.FileHandler) -> None:
    """Also log to the file of a run, and stop logging to the file of an earlier run.

    The file also receives the tracebacks that the console leaves out.
    """
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if hasattr(handler, _MARK)]:
        root.removeHandler(handler)
        handler.close()
    setattr(file, _MARK, True)
    file.handleError = partial(_stop_log, file)  # type: ignore[method-assign]
    root.addHandler(file)


def _stop_log(file: logging.FileHandler, record: logging.LogRecord) -> None:
    """Say once that a log file cannot be written, and stop writing to it."""
    del record
    error = sys.exception()
    reason = error.strerror if isinstance(error, OSError) else error
    file.setLevel(logging.CRITICAL + 1)
    with suppress(OSError):  # What could not be written is still in its buffer.
        if file.stream is not None:
            file.stream.close()
    file.stream = None
    say(f"warning: {file.baseFilename}: {reason}; the log ends here")


def run_script(
    main: Callable[[], None], *, on_interruption: str = "stopped", parallel: bool = False
) -> None:
    """Run a script; an error of the input or the machine ends it with one message and status 1.

    The full traceback is in the log file of the run, if there is one, and on the console if
    UNSOCC_TRACEBACK=1 is set. A closed stdout, as after ``| head``, ends the script silently with
    the exit status that a shell reports for SIGPIPE. Of several processes with the same error, the
    first one prints it: the launcher ends the others, which wait a moment.

    Args:
        main: The script.
        on_interruption: Message after Ctrl-C, such as how to resume.
        parallel: Whether it may be one of several processes.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Flush each line, also into a pipe: a closed pipe then shows up here and not when Python
        # flushes the rest at exit.
        sys.stdout.reconfigure(line_buffering=True)
    start_logging(int(os.environ.get("RANK", "0")))  # For errors before the script does so.
    try:
        _check_launch(parallel)
        main()
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads_output():
            _discard_output()
            sys.exit(_STATUS_OF_SIGPIPE)
        message = machine_error(error)
        if message is None and isinstance(error, USER_ERRORS):
            message = brief(error)
        if not _is_first_process() or message == LOST_PROCESS:
            time.sleep(GRACE_S)
        if message is not None and os.environ.get(TRACEBACK_VARIABLE) != "1":
            logger.error(message, exc_info=error)
        elif dist.is_initialized():
            traceback.print_exc()
        else:
            raise
        _leave(1)
    except KeyboardInterrupt:
        if _is_first_process():
            say(on_interruption)
        _leave(130)


def _check_launch(parallel: bool) -> None:
    if not parallel and os.environ.get("WORLD_SIZE", "1") != "1":
        raise ValueError("this script runs in one process: start it without torchrun")


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _leave(status: int) -> None:
    """End this process; one of several at once, because NCCL waits for the others at exit."""
    if not dist.is_initialized():
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _nobody_reads_output() -> bool:
    """Whether stdout is a pipe whose reader is gone."""
    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), select.POLLERR)
    return bool(pipe.poll(0))


def _discard_output() -> None:
    """Redirect stdout to /dev/null, so that Python can flush it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def brief(error: BaseException) -> str:
    """Shorten an error to its message, with the file first for system errors.

    For an error from a data loader worker, this is the original message.
    """
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename2 or error.filename}: {error.strerror}"
    text = str(error)
    name = type(error).__name__
    if text.startswith("Caught ") and f"\n{name}: " in text:
        return text.rpartition(f"\n{name}: ")[2].strip()
    return text
