"""Contracts of the scripts' imports; those of the packages are in pyproject.toml."""

import ast
import re
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("engine", "model", "dataset", "loss", "utils")
SCRIPTS = sorted(ROOT.glob("*.py"))


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def imported_names(path: Path) -> set[str]:
    """Modules that a file names, and what it imports from them, which may be modules too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def reached(path: Path, graph: grimp.ImportGraph) -> set[str]:
    """Modules of the project that a script imports, directly or through others."""
    direct = imported_names(path) & graph.modules
    return direct.union(*(graph.find_upstream_modules(name) for name in direct))


def test_scoring_occupancy_needs_no_drawing_and_no_training_code(graph):
    modules = reached(ROOT / "eval_iou.py", graph)
    assert "engine.evaluation.evaluator" in modules
    unwanted = ("engine.pictures", "engine.viewer", "engine.training", "engine.prediction")
    assert not [name for name in modules if name.startswith(unwanted)]


def test_generating_a_data_set_loads_no_network(graph):
    modules = reached(ROOT / "tools" / "make_minesim.py", graph)
    assert "dataset.minesim.write.generate" in modules
    assert not [name for name in modules if name.startswith(("model", "engine.checkpoint"))]


def test_the_check_sees_what_a_script_reaches(graph):
    assert "engine.pictures.page" in reached(ROOT / "train.py", graph)


def test_nothing_imports_a_script():
    scripts = {path.stem for path in SCRIPTS}
    for package in (*PACKAGES, "tools"):
        for path in (ROOT / package).rglob("*.py"):
            assert not imported_names(path) & scripts, path


def test_no_script_asks_for_the_kind_of_data_set():
    branch = re.compile(r"dataset\.type|isinstance\([^)]*(NuScenes|UnScenes3D)")
    for path in (*SCRIPTS, *(ROOT / "tools").glob("*.py")):
        assert not branch.search(path.read_text(encoding="utf-8")), path
