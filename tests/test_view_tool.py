import importlib.util
import socket

import pytest

from tools.view import check_server, main, parse_arguments


def test_only_this_machine_may_look_unless_told_otherwise():
    arguments = parse_arguments([])
    assert arguments.host == "127.0.0.1"
    assert arguments.port == 8080


def test_without_viser_one_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs viser, which is not installed: pip install -r"):
        main(parse_arguments(["--pred", "x"]))


def test_a_taken_port_is_rejected_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=rf"cannot listen on 127.0.0.1:{port}.*--port"):
            check_server(parse_arguments(["--port", str(port)]))


def test_help_names_the_ways_to_start(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse_arguments(["--help"])
    text = capsys.readouterr().out
    assert "View frames in the browser" in text
    assert "--resume-from FILE" in text
