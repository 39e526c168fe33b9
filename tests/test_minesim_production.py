from concurrent.futures import Future
from dataclasses import replace

import pytest

from dataset.minesim.write import production
from dataset.minesim.write.nuscenes.plan import NuScenesOptions
from dataset.minesim.write.plan import GenerateOptions
from dataset.minesim.write.production import (
    INFO_FILE,
    Job,
    begin_scene,
    end_scene,
    finish,
    make_scenes,
    prepare_folder,
)

OPTIONS = GenerateOptions(scenes=3, frames=2, image_size=(48, 30), map_voxel_m=0.3)


def make_text(root, options, number, on_frame):
    """Generate a scene of one file."""
    folder = begin_scene(root, number) / "images"
    folder.mkdir(parents=True)
    (folder / f"{number}.jpg").write_text(f"{options.seed}")
    on_frame()
    end_scene(root, number, {"number": number})


def run(root, options=OPTIONS, **settings):
    settings = {"workers": 1, "force": False, "progress": False, **settings}
    return make_scenes(Job(root, options, make_text, 1), **settings)


def test_scenes_are_moved_into_place_and_noted(tmp_path):
    assert run(tmp_path) == [{"number": 0}, {"number": 1}, {"number": 2}]
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == [
        "0.jpg",
        "1.jpg",
        "2.jpg",
    ]
    finish(tmp_path, OPTIONS, {"scenes": 3})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", INFO_FILE]
    assert '"scenes": 3' in (tmp_path / INFO_FILE).read_text()


def test_complete_scenes_are_not_generated_again(tmp_path):
    run(tmp_path)
    (tmp_path / ".minesim/scene_00001.json").unlink()
    (tmp_path / "images/0.jpg").write_text("kept")
    (tmp_path / "images/1.jpg").write_text("of an interrupted run")
    run(tmp_path)
    assert (tmp_path / "images/0.jpg").read_text() == "kept"
    assert (tmp_path / "images/1.jpg").read_text() == "0"


def test_leftovers_of_an_interrupted_run_are_removed(tmp_path):
    prepare_folder(tmp_path, OPTIONS, force=False)
    leftover = begin_scene(tmp_path, 0) / "images/leftover.jpg"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("")
    run(tmp_path)
    assert not (tmp_path / "images/leftover.jpg").exists()


def test_force_replaces_a_data_set_of_the_other_layout(tmp_path):
    rig = NuScenesOptions(scenes=3, frames=2)
    run(tmp_path, rig)
    (tmp_path / "nuscenes/v1.0-mini").mkdir(parents=True)
    (tmp_path / "occ3d/gts").mkdir(parents=True)
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(FileExistsError, match="pass --force"):
        run(tmp_path)
    run(tmp_path, force=True)
    finish(tmp_path, OPTIONS, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "mine.txt", INFO_FILE]


def test_rejects_a_foreign_folder_even_with_force(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(FileExistsError, match="not made by MineSim"):
        prepare_folder(tmp_path, OPTIONS, force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        prepare_folder(tmp_path / "file", OPTIONS, force=False)


def test_rejects_resuming_with_different_options(tmp_path):
    prepare_folder(tmp_path, OPTIONS, force=False)
    prepare_folder(tmp_path, OPTIONS, force=False)
    with pytest.raises(FileExistsError, match="pass --force"):
        prepare_folder(tmp_path, replace(OPTIONS, seed=7), force=False)
    prepare_folder(tmp_path, replace(OPTIONS, seed=7), force=True)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("no road"), ValueError),
        (OSError("no road"), ValueError),
        (KeyError("no road"), RuntimeError),  # A bug: the script shows its traceback.
    ],
)
def test_a_failing_scene_is_named(error, kind):
    futures = {_failed(error): 3}
    with pytest.raises(kind, match=r"scene_00003 failed: '?no road"):
        list(production.until_done(futures))


def test_a_dead_worker_is_explained():
    futures = {_failed(production.BrokenProcessPool("gone")): 0}
    with pytest.raises(ChildProcessError, match="fewer --workers"):
        list(production.until_done(futures))


def _failed(error):
    future = Future()
    future.set_exception(error)
    return future


def test_rejects_zero_workers(tmp_path):
    with pytest.raises(ValueError, match="workers must be at least 1"):
        run(tmp_path, workers=0)
