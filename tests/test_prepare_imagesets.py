import pytest

from dataset.prepare.imagesets import write_lists
from tests.layout_files import write_tiny_unscenes3d

SCENES = {"scene_00000": "location_6", "scene_00006": "location_1", "scene_00005": "location_4_5"}
"""Official: train, val, test; by region: test, train, val."""


@pytest.fixture
def data(tmp_path):
    stems = write_tiny_unscenes3d(tmp_path, scenes=SCENES, frames=1, sweeps=0, labels=False)
    return tmp_path, stems


def lists(root):
    return {path.stem: path.read_text().split() for path in (root / "imagesets").glob("*.txt")}


@pytest.mark.parametrize(
    ("source", "order"), [("official", "012"), ("auto", "012"), ("region", "120")]
)
def test_writes_the_lists_of_a_split(data, source, order):
    root, stems = data
    assert write_lists(root, source, force=False) == {"train": 1, "val": 1, "test": 1}
    train, val, test = ([stems[int(i)]] for i in order)
    assert lists(root) == {"train": train, "val": val, "test": test}


def test_other_lists_are_kept_unless_forced(data):
    root, _ = data
    write_lists(root, "official", force=False)
    before = lists(root)
    write_lists(root, "official", force=False)
    for source in ("auto", "lists"):
        write_lists(root, source, force=False)
        assert lists(root) == before
    with pytest.raises(FileExistsError, match=r"differ from the split 'region'.*--split lists"):
        write_lists(root, "region", force=False)
    assert lists(root) == before
    write_lists(root, "region", force=True)
    assert lists(root) != before


def test_a_part_of_the_data_set_may_have_no_test(tmp_path):
    scenes = {name: place for name, place in SCENES.items() if place != "location_6"}
    stems = write_tiny_unscenes3d(tmp_path, scenes=scenes, frames=1, sweeps=0, labels=False)
    assert write_lists(tmp_path, "region", force=False) == {"train": 1, "val": 1, "test": 0}
    assert lists(tmp_path) == {"train": [stems[0]], "val": [stems[1]], "test": []}


def test_neither_scenes_nor_lists(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither lists nor scenes"):
        write_lists(tmp_path, "auto", force=False)
