"""The Python that the pages show is run as it stands, on a tiny network and a tiny data set."""

import re
from pathlib import Path

import pytest

from tests.layout_files import write_tiny_unscenes3d
from tests.predict_config import write_config
from tests.trained import save_trained
from utils.config import load_config

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    page
    for page in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))
    if "import build_unsocc" in page.read_text(encoding="utf-8")
]


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """A folder with what `make demo` leaves, but tiny."""
    for folder in ("config/minesim", "out/demo"):
        (tmp_path / folder).mkdir(parents=True)
    scenes = {"scene_00000": "location_1"}
    write_tiny_unscenes3d(tmp_path / "data/minesim_demo", scenes=scenes, frames=1, sweeps=0)
    config = write_config(tmp_path).rename(tmp_path / "config/minesim/minesim_occ.py")
    save_trained(load_config(config), tmp_path / "out/demo/model_state_dict.pth")
    monkeypatch.chdir(tmp_path)


def test_a_page_shows_it():
    assert REPOSITORY / "docs/get_started.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.usefixtures("demo")
def test_the_example_runs(page, capsys):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = [block for block in blocks if "import build_unsocc" in block]
    names: dict = {}
    exec(compile(example, page.name, "exec"), names)
    assert names["grid"].occupancy.shape == (32, 32, 4)
    assert sum(names["counts"]) == 32 * 32 * 4
    printed = capsys.readouterr().out
    assert printed.startswith("{")
    assert printed.count(":") == len(names["classes"])
