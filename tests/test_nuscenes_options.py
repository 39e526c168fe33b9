import argparse
from pathlib import Path

import pytest

from engine.evaluation.nuscenes_grids import evaluated_grid
from engine.evaluation.nuscenes_options import (
    BenchmarkOptions,
    add_nuscenes_options,
    benchmark_options,
    reject_nuscenes_options,
)


def parse(words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_nuscenes_options(parser)
    return parser.parse_args(words.split())


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("", "openoccupancy"),
        ("--occ3d", "occ3d"),
        ("--benchmark occ3d", "occ3d"),
        ("--occ3d --benchmark occ3d", "occ3d"),
        ("--benchmark surroundocc", "surroundocc"),
    ],
)
def test_which_labels(words, name):
    assert benchmark_options(parse(words)) == BenchmarkOptions(evaluated_grid(name))


def test_all_options_arrive():
    words = "--occ3d --resolution 0.4 --scene-size 4 --use-mask --ray-iou --thresh 0.3 --save-sem d"
    found = benchmark_options(parse(words))
    assert found == BenchmarkOptions(
        evaluated_grid("occ3d"),
        use_mask=True,
        ray_iou=True,
        occupied_threshold=0.3,
        save_sem=Path("d"),
    )
    coarse = benchmark_options(parse("--resolution 0.8 --scene-size 1"))
    assert coarse.evaluated == evaluated_grid("openoccupancy", 0.8, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--occ3d --benchmark surroundocc", "--occ3d and --benchmark surroundocc are"),
        ("--use-mask", "--use-mask needs the camera masks of Occ3D, which openoccupancy"),
        ("--benchmark surroundocc --ray-iou", "--ray-iou is defined on the grid of Occ3D"),
        ("--occ3d --resolution 0.8 --ray-iou", "--ray-iou is defined on the grid of Occ3D"),
        ("--occ3d --resolution 0.3", r"--resolution must be a multiple .* occ3d, 0\.4 m, got 0\.3"),
        ("--occ3d --scene-size 2", "--scene-size 2: the range from"),
    ],
)
def test_what_cannot_be_scored_is_rejected(words, message):
    with pytest.raises(ValueError, match=message):
        benchmark_options(parse(words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--scene-size 7", "invalid choice: 7"),
        ("--thresh 1.0", "--thresh: expected a number between 0 and 1, got '1.0'"),
        ("--thresh 0", "--thresh: expected a number between 0 and 1, got '0'"),
    ],
)
def test_numbers_out_of_range_are_rejected(words, message, capsys):
    with pytest.raises(SystemExit):
        parse(words)
    assert message in capsys.readouterr().err


def test_other_data_sets_have_none_of_them():
    reject_nuscenes_options(parse(""), "UnScenes3D")
    with pytest.raises(ValueError, match=r"--occ3d, --save-sem: .* UnScenes3D is scored on the"):
        reject_nuscenes_options(parse("--occ3d --save-sem d"), "UnScenes3D")
