import errno
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from utils.console import GRACE_S, brief, log_to, run_script, start_logging

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _root_as_before():
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    for handler in set(root.handlers) - set(before):
        handler.close()
    root.handlers = before


def fail(error: BaseException):
    def main() -> None:
        raise error

    return main


def test_an_error_of_the_input_is_one_line(capsys):
    start_logging()
    with pytest.raises(SystemExit) as end:
        run_script(fail(ValueError("clouds/1.bin has 7 bytes")))
    assert end.value.code == 1
    assert capsys.readouterr().err == "error: clouds/1.bin has 7 bytes\n"


def test_an_error_before_the_script_logs_is_one_line_too(capsys, monkeypatch):
    monkeypatch.setattr("utils.console.GRACE_S", 0)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit, match="1"):
        run_script(fail(ValueError("no such process group")))
    expected = f"error: process 1 on {socket.gethostname()}: no such process group\n"
    assert capsys.readouterr().err == expected


def test_only_parallel_scripts_run_in_several_processes(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = []
    run_script(lambda: done.append("work"), parallel=True)
    with pytest.raises(SystemExit, match="1"):
        run_script(lambda: done.append("twice"))
    assert done == ["work"]
    assert capsys.readouterr().err == (
        "error: this script runs in one process: start it without torchrun\n"
    )


def test_an_error_of_the_machine_is_one_line_too(capsys):
    start_logging()
    with pytest.raises(SystemExit, match="1"):
        run_script(fail(MemoryError()))
    assert capsys.readouterr().err.startswith("error: memory ran out: lower runtime.num_workers")


def test_a_log_on_a_full_disk_ends_with_one_warning(capsys):
    start_logging()
    log_to(logging.FileHandler("/dev/full"))
    for _ in range(2):
        logging.getLogger("engine").warning("a line")
    said = capsys.readouterr().err
    assert said.count("warning: /dev/full: No space left on device; the log ends here\n") == 1
    assert said.count("warning: a line\n") == 2
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "said"),
    [({}, "stopped\n"), (dict(on_interruption="do it again"), "do it again\n")],
)
def test_an_interruption_says_how_to_resume_where_one_can(capsys, options, said):
    with pytest.raises(SystemExit) as end:
        run_script(fail(KeyboardInterrupt()), **options)
    assert end.value.code == 130
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_standard_output_ends_a_script_silently(unbuffered):
    """As ``| head -1`` closes it, before the last line is written."""
    script = (
        "import sys\nfrom utils.console import run_script\n"
        "def main():\n print('first')\n sys.stdin.read()\n print('last')\n"
        "run_script(main)"
    )
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes) as process:
        assert process.stdout.readline() == "first\n"
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_characters_that_the_encoding_lacks_are_question_marks():
    script = (
        "from utils.console import run_script\n"
        "print('before \u2026')\nrun_script(lambda: print('3\u00d73 \u2212'))"
    )
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert ended.stdout == b"before ?\n3\xd73 ?\n"


def test_another_broken_pipe_is_an_error(capfd):
    start_logging()
    with pytest.raises(SystemExit) as end:
        run_script(fail(BrokenPipeError(errno.EPIPE, "the server hung up")))
    assert end.value.code == 1
    assert "the server hung up" in capfd.readouterr().err


def test_a_bug_keeps_its_traceback():
    with pytest.raises(KeyError):
        run_script(fail(KeyError("x")))


def test_the_traceback_of_an_input_error_can_be_had(monkeypatch):
    monkeypatch.setenv("UNSOCC_TRACEBACK", "1")
    with pytest.raises(ValueError, match="bad"):
        run_script(fail(ValueError("bad")))


def test_the_log_file_has_the_traceback_and_the_last_run_only(tmp_path, capsys):
    start_logging()
    for name in ("a.log", "b.log"):
        log_to(logging.FileHandler(tmp_path / name))
    with pytest.raises(SystemExit):
        run_script(fail(FileNotFoundError("no calibs")))
    assert "Traceback" in (tmp_path / "b.log").read_text()
    assert (tmp_path / "a.log").read_text() == ""


def test_the_first_process_speaks_and_the_others_name_themselves_in_errors(capsys):
    logger = logging.getLogger("utils.anything")
    error = f"error: process 1 on {socket.gethostname()}: lost\n"
    for rank, expected in ((0, "hello\nwarning: careful\nerror: lost\n"), (1, error)):
        start_logging(rank)
        logger.info("hello")
        logger.warning("careful")
        logger.error("lost")
        assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("rank", "error", "seconds"),
    [
        ("0", ValueError("bad"), []),
        ("1", ValueError("bad"), [GRACE_S]),
        ("0", RuntimeError("gloo/pair.cc: Connection closed by peer [127.0.0.1]"), [GRACE_S]),
    ],
)
def test_the_process_that_failed_first_speaks_first(monkeypatch, rank, error, seconds):
    waited = []
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr("utils.console.time.sleep", waited.append)
    with pytest.raises(SystemExit):
        run_script(fail(error))
    assert waited == seconds


def test_one_process_says_how_to_resume(monkeypatch, capsys):
    for rank, said in (("0", "stopped\n"), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit) as end:
            run_script(fail(KeyboardInterrupt()))
        assert end.value.code == 130
        assert capsys.readouterr().err == said


def test_other_packages_only_warn(capsys):
    start_logging()
    logging.getLogger("matplotlib").info("generated a font manager")
    assert capsys.readouterr().err == ""


def test_an_error_of_a_reading_process_is_its_message_only():
    text = "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent"
    text += " call last):\n  File x\nValueError: clouds/1.bin has 7 bytes\n"
    assert brief(ValueError(text)) == "clouds/1.bin has 7 bytes"
    assert brief(ValueError("plain")) == "plain"


def test_an_error_of_the_system_begins_with_the_file(tmp_path):
    with pytest.raises(IsADirectoryError) as caught:
        tmp_path.read_text()
    assert brief(caught.value) == f"{tmp_path}: Is a directory"
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        (tmp_path / "file").replace(tmp_path / "folder")
    assert brief(caught.value) == f"{tmp_path / 'folder'}: Is a directory"
    assert brief(FileNotFoundError("no calibs")) == "no calibs"


def test_main_is_run():
    done = []
    run_script(lambda: done.append(sys.argv))
    assert len(done) == 1
