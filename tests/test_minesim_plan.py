from dataclasses import replace

import pytest

from dataset.minesim.write.plan import GenerateOptions, scene_name, split_counts, split_of_scenes

OPTIONS = GenerateOptions(scenes=3, frames=2)


def test_scene_names_match_the_data_set():
    assert scene_name(7) == "scene_00007"


@pytest.mark.parametrize(
    ("scenes", "val", "test", "expected"),
    [
        (1, None, None, (1, 0, 0)),
        (2, None, None, (1, 1, 0)),
        (3, None, None, (1, 1, 1)),
        (20, None, None, (14, 3, 3)),
        (20, 5, 0, (15, 5, 0)),
    ],
)
def test_split_counts(scenes, val, test, expected):
    assert tuple(split_counts(scenes, val, test).values()) == expected


def test_splits_partition_the_scenes():
    parts = split_of_scenes(GenerateOptions(scenes=20, frames=1))
    assert sorted(n for part in parts.values() for n in part) == list(range(20))
    assert parts == split_of_scenes(GenerateOptions(scenes=20, frames=9))
    assert parts != split_of_scenes(GenerateOptions(scenes=20, frames=1, seed=1))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"scenes": 0}, "at least 1, got 0"),
        ({"frames": 0}, "at least 1, got 3 and 0"),
        ({"seed": -1}, "must not be negative"),
        ({"map_voxel_m": 0.01}, "between 0.05 and 0.3"),
        ({"ground_cell_m": 5.0}, "between 0.2 and 2"),
        ({"image_size": (4, 4)}, "at least 16×16"),
        ({"val": 2, "test": 1}, "at least one train scene"),
        ({"val": -1}, "cannot be split"),
    ],
)
def test_rejects_invalid_options(changes, match):
    with pytest.raises(ValueError, match=match):
        replace(OPTIONS, **changes)
