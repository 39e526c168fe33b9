"""CITATION.cff cites the paper as README.md does, and the version of the project."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def citation():
    return yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))


@pytest.fixture
def bibtex():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (entry,) = re.findall(r"```bibtex\n(.*?)```", readme, re.DOTALL)
    fields = re.findall(r"^ +(\w+) += \{(.*)\},?$", entry, re.MULTILINE)
    return {name: value.replace("{", "").replace("}", "") for name, value in fields}


def test_the_paper_is_cited_as_in_the_readme(citation, bibtex):
    paper = citation["preferred-citation"]
    names = [f"{author['family-names']}, {author['given-names']}" for author in paper["authors"]]
    assert " and ".join(names) == bibtex["author"]
    assert paper["title"] == bibtex["title"]
    assert str(paper["year"]) == bibtex["year"]
    assert paper["url"] == f"https://arxiv.org/abs/{bibtex['eprint']}"
    assert paper["notes"] == bibtex["note"]


def test_version_and_license_are_those_of_the_project(citation):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]["text"]
