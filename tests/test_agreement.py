import pytest

from engine import agreement
from engine.agreement import check_agreement, describe_file, describe_names


def test_a_process_agrees_with_itself():
    check_agreement({"frames": "3 frames"})


def test_processes_with_other_facts_are_named(monkeypatch):
    hosts = [("a", {"frames": "3"}), ("a", {"frames": "3"}), ("b", {"frames": "2"})]
    monkeypatch.setattr(agreement, "all_gather_object", lambda mine: hosts)
    with pytest.raises(ValueError, match="0 on a has 3, but process 2 on b has 2"):
        check_agreement({"frames": "3"})


def test_the_same_number_of_other_frames_is_not_the_same():
    assert describe_names("frames", ["a", "b"]).startswith("2 frames")
    assert describe_names("frames", ["a", "b"]) != describe_names("frames", ["a", "c"])


def test_a_file_of_another_content_is_not_the_same(tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"a")
    before = describe_file(file)
    assert before == f"{file} (checksum ca978112)"
    file.write_bytes(b"b")
    assert describe_file(file) != before
