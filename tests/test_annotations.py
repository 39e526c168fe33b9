import pytest

from engine.build.build import build_dataset
from engine.frames.annotations import Annotations
from tests.layout_files import write_tiny_unscenes3d
from tests.predict_config import write_config
from utils.config import load_config


@pytest.fixture
def frames(tmp_path):
    """A config, its data and the stems, one of which lacks its caption."""
    stems = write_tiny_unscenes3d(tmp_path / "data", scenes={"scene_00006": "location_4_5"})
    cfg = load_config(write_config(tmp_path), {"data_root": str(tmp_path / "data")})
    main = build_dataset(cfg, "all", fields=("images",))
    return cfg, main, stems


def test_a_frame_has_the_fields_whose_files_are_there(frames):
    cfg, main, labeled = frames
    annotations = Annotations(cfg, "all", main, main.stems, ("occupancy", "caption"))
    bare = next(stem for stem in main.stems if stem not in labeled)
    assert set(annotations.of(labeled[0])) == {"occupancy", "caption"}
    assert annotations.of(labeled[0])["occupancy"].shape == (32, 32, 4)
    assert annotations.of(bare) == {}


def test_only_the_frames_that_were_named_have_any(frames):
    cfg, main, labeled = frames
    annotations = Annotations(cfg, "all", main, labeled[:1], ("caption",))
    assert list(annotations.of(labeled[0])) == ["caption"]
    assert annotations.of(labeled[1]) == {}


def test_what_the_config_cannot_read_is_told_and_left_out(frames, caplog):
    cfg, main, labeled = frames
    cfg.grid.voxel_m = 0.7
    with caplog.at_level("INFO"):
        annotations = Annotations(cfg, "all", main, main.stems, ("occupancy", "caption"))
    assert "frames are shown without occupancy" in caplog.text
    assert list(annotations.of(labeled[0])) == ["caption"]
