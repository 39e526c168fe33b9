import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pytest

from utils.parallel import map_in_processes


def shifted(step, number):
    return number + step, os.getpid()


def fails(number):
    if number == 5:
        raise ValueError(f"no {number}")
    return number


def test_results_come_in_order_from_other_processes():
    results = list(
        map_in_processes(partial(shifted, 10), range(20), title="t", workers=2, progress=False)
    )
    assert [number for number, _ in results] == list(range(10, 30))
    assert os.getpid() not in {process for _, process in results}


def test_one_worker_and_few_things_stay_in_this_process():
    for things, workers in ((range(20), 1), (range(4), 8)):
        results = map_in_processes(
            partial(shifted, 0), things, title="t", workers=workers, progress=False
        )
        assert {process for _, process in results} == {os.getpid()}
    assert list(map_in_processes(fails, [], title="t")) == []


def test_an_error_arrives_as_itself():
    with pytest.raises(ValueError, match="no 5"):
        list(map_in_processes(fails, range(12), title="t", workers=1, progress=False))


def test_a_process_that_dies_is_said_so(monkeypatch):
    class Pool(ProcessPoolExecutor):
        def map(self, *_, **options):
            raise BrokenProcessPool

    monkeypatch.setattr("utils.parallel.ProcessPoolExecutor", Pool)
    with pytest.raises(ChildProcessError, match=r"a worker process died.*fewer --workers"):
        list(map_in_processes(fails, range(12), title="t", workers=2, progress=False))


def test_rejects_no_workers():
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        list(map_in_processes(fails, [1], title="t", workers=0))


def test_progress_is_said_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr("utils.progress.LINE_SECONDS", 0.0)
    list(map_in_processes(fails, range(4), title="count", workers=1))
    assert "count 2/4" in capsys.readouterr().err


WAIT = """
import multiprocessing, time
from utils.parallel import start_worker
def work():
    start_worker()
    print("works", flush=True)
    time.sleep(60)
if __name__ == "__main__":
    multiprocessing.get_context("forkserver").Process(target=work).start()
    time.sleep(60)
"""


def test_workers_end_with_a_killed_parent(tmp_path):
    (tmp_path / "wait.py").write_text(WAIT)
    command = [sys.executable, str(tmp_path / "wait.py")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"works\n"
        parent.kill()
        # A worker that is left keeps the pipe open.
        assert parent.communicate(timeout=30) == (b"", None)
