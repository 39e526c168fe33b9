import pytest

from engine import agreement
from engine.agreement import check_agreement, describe_frames


def test_a_process_agrees_with_itself():
    check_agreement({"frames": "3 frames"})


def test_processes_with_other_facts_are_named(monkeypatch):
    hosts = [("a", {"frames": "3"}), ("a", {"frames": "3"}), ("b", {"frames": "2"})]
    monkeypatch.setattr(agreement, "all_gather_object", lambda mine: hosts)
    with pytest.raises(ValueError, match="0 on a has 3, but process 2 on b has 2"):
        check_agreement({"frames": "3"})


def test_the_same_number_of_other_frames_is_not_the_same():
    assert describe_frames(["a", "b"]).startswith("2 frames")
    assert describe_frames(["a", "b"]) != describe_frames(["a", "c"])
