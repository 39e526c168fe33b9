import json
import shutil
from pathlib import Path

import pytest

from tools import update_tables as tool

ROOT = Path(__file__).parents[1]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/benchmarks.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "assets/bench").mkdir(parents=True)
    (tmp_path / "assets/checkpoints").symlink_to(ROOT / "assets/checkpoints")
    return tmp_path


def test_the_pages_show_what_records_and_weights_say():
    tool.main(tool.parse_arguments(["--check"]))


def test_new_records_change_the_page(root, capsys):
    record = {"format": 2, "variant": "full", "seed": 1, "scores": {}}
    path = root / "assets/bench/full_seed1.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"full_seed1\.json: expected a record .* found format 2"):
        tool.main(tool.parse_arguments([]), root)
    path.unlink()
    page = root / "docs/benchmarks.md"
    page.write_text(page.read_text().replace("minesim_demo.safetensors", "other"))
    with pytest.raises(ValueError, match=r"benchmarks\.md is out of date: run python tools/update"):
        tool.main(tool.parse_arguments(["--check"]), root)
    tool.main(tool.parse_arguments([]), root)
    assert f"{page} updated" in capsys.readouterr().out
    tool.main(tool.parse_arguments(["--check"]), root)
