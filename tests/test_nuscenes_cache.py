import io
import json
import logging
import multiprocessing
import os
import random
from dataclasses import fields

import numpy as np
import pytest
from mmengine.logging import MMLogger

from dataset.nuscenes import cache as nuscenes_cache
from dataset.nuscenes.cache import CACHE, load_index
from dataset.nuscenes.index import KeyFrameIndex
from tests.nuscenes_files import write_tiny_nuscenes


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_nuscenes(
        tmp_path / "nuscenes", scenes=("scene-0061",), image_size=(9, 16), benchmarks=()
    )


@pytest.fixture
def builds(monkeypatch):
    """Grows by one each time that tables are read."""
    calls = []
    build = nuscenes_cache.build_index

    def counted(*args):
        calls.append(args)
        return build(*args)

    monkeypatch.setattr(nuscenes_cache, "build_index", counted)
    return calls


@pytest.fixture
def log():
    """Lines logged."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append((record.levelname, record.getMessage()))
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def cache_of(tiny):
    return tiny.root / tiny.version / CACHE


def load(tiny):
    return load_index(tiny.root, tiny.version)


def assert_same(first, second):
    for field in fields(KeyFrameIndex):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


def test_tables_are_read_once(tiny, builds):
    first = load(tiny)
    assert_same(first, load(tiny))
    assert len(builds) == 1
    assert [path.name for path in cache_of(tiny).parent.glob("*unsocc*")] == [CACHE]


def test_the_cache_holds_nothing_that_runs(tiny):
    load(tiny)
    with np.load(cache_of(tiny), allow_pickle=False) as arrays:
        assert all(array.dtype.kind in "SUif" for array in arrays.values())


@pytest.mark.parametrize("table", nuscenes_cache.TABLES)
def test_changed_tables_are_read_again(tiny, builds, log, table):
    load(tiny)
    tiny.edit(table, lambda records: [*records, {**records[-1], "token": "0" * 32}])
    if table == "sample":  # A sample without recordings is none.
        tiny.edit(table, lambda records: records[:-1])
    if table == "sample_data":
        tiny.edit(table, lambda records: records[::-1][1:])
    load(tiny)
    assert len(builds) == 2
    assert (
        "INFO",
        f"rebuilding the index '{cache_of(tiny)}': the tables have changed",
    ) in log
    load(tiny)
    assert len(builds) == 2


def test_a_table_of_the_same_size_but_another_time_counts_as_changed(tiny, builds):
    load(tiny)
    path = tiny.table("ego_pose")
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    load(tiny)
    assert len(builds) == 2


def foreign(data):
    """A file of numpy's of someone else."""
    buffer = io.BytesIO()
    np.savez(buffer, header=np.array(json.dumps({"holds": "dreams"})), other=np.arange(3))
    return buffer.getvalue()


def pickled(data):
    buffer = io.BytesIO()
    np.savez(buffer, header=np.array([print], dtype=object))
    return buffer.getvalue()


def rewritten(change):
    """The cache with other arrays."""

    def rewrite(data):
        with np.load(io.BytesIO(data)) as arrays:
            content = dict(arrays)
        change(content)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **content)
        return buffer.getvalue()

    return rewrite


def next_version(content):
    header = json.loads(content["header"].item())
    content["header"] = np.array(json.dumps(header | {"version": header["version"] + 1}))


def no_object(content):
    content["header"] = np.array("[1, 2]")


def other_rows(content):
    content["sample_recordings"] = content["sample_recordings"] + 10_000


GARBAGE = {
    "empty": lambda data: b"",
    "text": lambda data: b"not a cache at all",
    "cut": lambda data: data[: len(data) // 2],
    "flipped": lambda data: data[:3000] + bytes([data[3000] ^ 255]) + data[3001:],
    "one array": lambda data: np.lib.format.magic(1, 0) + data,
    "pickled": pickled,
    "foreign": foreign,
    "a version to come": rewritten(next_version),
    "header without keys": rewritten(no_object),
    "an array less": rewritten(lambda content: content.pop("recording_ego")),
    "rows of nothing": rewritten(other_rows),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_what_is_no_cache_is_built_again(tiny, builds, log, kind):
    first = load(tiny)
    path = cache_of(tiny)
    path.write_bytes(GARBAGE[kind](path.read_bytes()))
    assert_same(first, load(tiny))
    assert len(builds) == 2
    assert any("rebuilding the index '" in line for _, line in log)
    load(tiny)
    assert len(builds) == 2


def test_no_damage_to_the_cache_reaches_the_user(tiny, builds):
    first = load(tiny)
    path = cache_of(tiny)
    intact = path.read_bytes()
    rng = random.Random(0)
    for _ in range(40):
        damaged = bytearray(intact)
        for _ in range(rng.choice([1, 3, 30])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(bytes(damaged))
        assert_same(first, load(tiny))


def test_a_folder_that_cannot_be_written_is_warned_of(tiny, builds, log, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(nuscenes_cache.np, "savez_compressed", refuse)
    assert_same(load(tiny), load(tiny))
    assert len(builds) == 2
    warnings = [line for level, line in log if level == "WARNING"]
    assert len(warnings) == 2
    assert f"cannot write the index to '{cache_of(tiny)}'" in warnings[0]
    assert list(cache_of(tiny).parent.glob("*unsocc*")) == []


def test_a_file_system_without_locks_does_not_stop_it(tiny, builds, log, monkeypatch):
    def refuse(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(nuscenes_cache.fcntl, "flock", refuse)
    load(tiny)
    assert any("cannot lock" in line for _, line in log)
    load(tiny)
    assert len(builds) == 1


def _load_and_say(root, version, queue):
    calls = []
    build = nuscenes_cache.build_index
    nuscenes_cache.build_index = lambda *args: (calls.append(1), build(*args))[1]
    load_index(root, version)
    queue.put(len(calls))


def test_of_processes_that_start_at_once_one_reads_the_tables(tiny):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [
        context.Process(target=_load_and_say, args=(tiny.root, tiny.version, queue))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    counts = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(counts) == [0, 0, 1]


@pytest.mark.parametrize("table", nuscenes_cache.TABLES)
def test_a_missing_table_is_named(tiny, table):
    load(tiny)
    tiny.table(table).unlink()
    with pytest.raises(FileNotFoundError, match=rf"lacks the tables \['{table}\.json'\]; it has"):
        load(tiny)
