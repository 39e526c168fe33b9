import json
import re

import ijson
import pytest

from dataset import json_records
from dataset.json_records import read_records


@pytest.fixture(params=[1, 7, 1 << 20], ids="{}-byte chunks".format)
def chunk_bytes(request, monkeypatch):
    """Every place of a text is once the end of a chunk."""
    monkeypatch.setattr(json_records, "CHUNK_BYTES", request.param)
    return request.param


def write(tmp_path, text):
    path = tmp_path / "table.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


RECORDS = [
    {"token": "a]},{", "values": [1, -2.5e3, [3.0]], "is": True, "none": None},
    {},
    {"name": 'Größe "µ" \\ 😀', "nested": {"k": {"l": []}}},
]


@pytest.mark.parametrize("backend", ["yajl2_c", "python"])
@pytest.mark.parametrize("indent", [None, 0, 2])
def test_gives_what_json_gives(tmp_path, monkeypatch, chunk_bytes, backend, indent):
    monkeypatch.setattr(ijson, "items", ijson.get_backend(backend).items)
    path = write(tmp_path, json.dumps(RECORDS, indent=indent, ensure_ascii=False))
    assert list(read_records(path)) == RECORDS


@pytest.mark.parametrize("text", ["[]", " [ \n ] \n", "\ufeff[]"])
def test_an_empty_table_has_no_records(tmp_path, chunk_bytes, text):
    assert list(read_records(write(tmp_path, text))) == []


def test_chunks_are_reported_and_only_a_window_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(json_records, "CHUNK_BYTES", 100)
    path = write(tmp_path, json.dumps([{"number": i} for i in range(1000)]))
    calls = []
    size = path.stat().st_size
    records = read_records(path, lambda: calls.append(1))
    next(records)
    assert len(calls) <= 2  # The rest of the file has not been read.
    assert [record["number"] for record in records] == list(range(1, 1000))
    assert len(calls) == -(-size // 100)


BROKEN = [
    ("", r"expected \[ after 0 records, found no text"),
    ('{"item": {}}', r"expected \[ after 0 records, found '\{'"),
    ("[1, 2]", r"expected an object \{…\} after 0 records, found 1"),
    ("[{} {}]", "expected more of a JSON array after 1 records, found "),
    ("[{},]", "expected more of a JSON array after 1 records, found "),
    ('[{}, {"a": 1', "expected more of a JSON array after 1 records, found "),
    ("[{}, {}", "expected more of a JSON array after 2 records, found "),
    ("[{}] x", "expected more of a JSON array after 1 records, found "),
    ('[{"a": NaN}]', "expected more of a JSON array after 0 records, found "),
    ("[{'a': 1}]", "expected more of a JSON array after 0 records, found "),
    (
        b'[{"a": "\xff\xfe"}]',
        "expected more of a JSON array after 0 records, found .*[uU][tT][fF]-?8",
    ),
    ("[{}" + "\0" * 50 + "]", "expected more of a JSON array after 1 records, found "),
    ('[{"a": ' + "[" * 1000 + "]", "expected more of a JSON array after 0 records, found "),
]


@pytest.mark.parametrize("backend", ["yajl2_c", "python"])
@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_broken_tables_are_named_with_the_place(
    tmp_path, monkeypatch, chunk_bytes, backend, text, message
):
    monkeypatch.setattr(ijson, "items", ijson.get_backend(backend).items)
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}"):
        list(read_records(path))


def test_the_reason_of_a_fault_is_one_line(tmp_path):
    for text in ("[{} {}]", b'[{"a": "\xff\xfe"}]'):
        with pytest.raises(ValueError, match=r"found .*The file is corrupt") as raised:
            list(read_records(write(tmp_path, text)))
        assert "\n" not in str(raised.value).replace("\\n", "\n")


def test_a_fault_ends_the_reading_long_before_the_file_does(tmp_path, monkeypatch):
    monkeypatch.setattr(json_records, "CHUNK_BYTES", 100)
    path = write(tmp_path, "[{'a'}" + " " * 100_000 + "]")
    calls = []
    with pytest.raises(ValueError, match="expected more of a JSON array"):
        list(read_records(path, lambda: calls.append(1)))
    assert len(calls) == 1


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"table\.json"):
        list(read_records(tmp_path / "table.json"))
