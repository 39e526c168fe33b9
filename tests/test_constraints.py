"""constraints.txt holds one tested version of every package, for each supported Python."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")


def lines(name, python):
    """Requirements of a file that apply to a Python on Linux."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
    }
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    found = [line for line in text.splitlines() if line and not line.startswith(("#", "-r "))]
    every = [Requirement(line) for line in found]
    return [each for each in every if each.marker is None or each.marker.evaluate(environment)]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_one_version_in_its_range(python):
    versions = {}
    for pin in lines("constraints.txt", python):
        (exact,) = pin.specifier
        assert exact.operator == "=="
        assert pin.name not in versions, f"{pin.name} has two versions"
        versions[pin.name] = exact.version
    for name in (
        "requirements.txt",
        "requirements-poses.txt",
        "requirements-export.txt",
        "requirements-dev.txt",
    ):
        for wanted in lines(name, python):
            version = versions.get(wanted.name)
            assert version, f"{wanted.name} is missing: run make constraints"
            assert wanted.specifier.contains(version), f"{wanted} excludes {version}"


@pytest.mark.parametrize("package", ["torch", "torchvision"])
def test_no_local_version_which_would_exclude_other_builds(package):
    (pin,) = (each for each in lines("constraints.txt", "3.13") if each.name == package)
    assert "+" not in str(pin)
