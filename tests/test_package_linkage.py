"""A package shares C++'s library with PyTorch, even if the compiler links statically by default."""

import shutil
import subprocess
import sys
from unittest.mock import Mock

import pytest
import torch
from torch.export import ExportedProgram

from engine.export import files

ON_LINUX = sys.platform == "linux"


def libraries_of(monkeypatch, tmp_path):
    """Return the libraries that the code of a package is linked with, besides PyTorch's."""
    asked = {}

    def compile_package(program, package_path, inductor_configs):
        asked.update(inductor_configs)
        path = tmp_path / "packed.pt2"
        path.touch()
        return path

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", compile_package)
    files.write_package(Mock(spec=ExportedProgram), tmp_path / "a.pt2", {"device": "cpu"})
    return asked.get("aot_inductor.custom_op_libs", [])


@pytest.mark.skipif(not ON_LINUX or shutil.which("g++") is None, reason="needs g++ on Linux")
def test_code_of_a_compiler_that_links_statically_loads_the_shared_library(monkeypatch, tmp_path):
    source, library = tmp_path / "a.cpp", tmp_path / "a.so"
    source.write_text('#include <regex>\nbool is_a() { return std::regex_match("a", RE); }\n')
    build = [
        "g++",
        "-shared",
        "-fPIC",
        "-static-libstdc++",
        '-DRE=std::regex("a")',
        str(source),
        "-o",
        str(library),
    ]
    subprocess.run(build, check=True)
    assert b"libstdc++.so.6" not in library.read_bytes()
    linked = [f"-l{name}" for name in libraries_of(monkeypatch, tmp_path)]
    subprocess.run([*build, *linked], check=True)
    assert b"libstdc++.so.6" in library.read_bytes()


def test_other_systems_have_a_library_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setattr("engine.export.files.sys.platform", "darwin")
    assert libraries_of(monkeypatch, tmp_path) == []
