import json
import re

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


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_gives_what_json_gives(tmp_path, chunk_bytes, indent):
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected \[ after 0 records, found the end of the file"),
        ('{"a": 1}', r"expected \[ after 0 records, found '\{"),
        ("[1, 2]", r"expected an object \{…\} after 0 records, found '1"),
        ("[{} {}]", r"expected , or \] after 1 records, found '\{"),
        ("[{},]", r"expected an object \{…\} after 1 records, found '\]'"),
        ('[{}, {"a": 1', r"expected an object \{…\} after 1 records, found '\{\"a\": 1'"),
        ("[{}, {}", r"expected , or \] after 2 records, found the end of the file"),
        ("[{}] x", r"expected nothing after the closing \] after 1 records, found 'x'"),
        ("[{'a': 1}]", r"expected an object \{…\} after 0 records"),
        (b'[{"a": "\xff\xfe"}]', r"expected UTF-8 after 0 records"),
        ("[{}" + "\0" * 50 + "]", r"expected , or \] after 1 records"),
    ],
)
def test_broken_tables_are_named_with_the_place(tmp_path, chunk_bytes, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}"):
        list(read_records(path))


def test_a_broken_record_ends_the_reading_long_before_the_file_does(tmp_path, monkeypatch):
    monkeypatch.setattr(json_records, "CHUNK_BYTES", 100)
    monkeypatch.setattr(json_records, "_LONGEST_RECORD", 1000)
    path = write(tmp_path, "[{'a'}" + " " * 100_000 + "]")
    calls = []
    with pytest.raises(ValueError, match="expected an object"):
        list(read_records(path, lambda: calls.append(1)))
    assert len(calls) < 15


def test_absurd_nesting_is_a_fault_like_any_other(tmp_path):
    path = write(tmp_path, '[{"a": ' + "[" * 200_000 + "]")
    with pytest.raises(ValueError, match="after 0 records"):
        list(read_records(path))


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"table\.json"):
        list(read_records(tmp_path / "table.json"))
