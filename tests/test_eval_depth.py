import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import eval_depth
from engine.build.build import build_model
from engine.evaluation.camera_depth import camera_depth, expected_depth, read_frames, rendered_depth
from model.lift import DepthBins
from tests.layout_files import write_tiny_unscenes3d
from tests.model_inputs import make_batch, make_model
from utils.config import load_config

CONFIG = Path(__file__).parents[1] / "config" / "minesim" / "minesim_occ.py"


def test_the_expected_depth_is_the_mean_of_the_bins_middles():
    bins = DepthBins(min_m=2.0, max_m=8.0, num=3, spacing="uniform")  # Middles 3, 5 and 7 m.
    logits = torch.tensor([0.5, 0.25, 0.25]).log().view(1, 1, 3, 1, 1)
    assert expected_depth(logits, bins).item() == pytest.approx(0.5 * 3 + 0.25 * 5 + 0.25 * 7)
    certain = torch.tensor([-50.0, 50.0, -50.0]).view(1, 1, 3, 1, 1).expand(2, 1, 3, 4, 5)
    torch.testing.assert_close(expected_depth(certain, bins), torch.full((2, 1, 4, 5), 5.0))


@pytest.mark.parametrize("source", ["lift", "rendered"])
@pytest.mark.parametrize("modality", ["both", "camera"])
def test_every_pixel_of_every_camera_has_a_depth_in_range(source, modality):
    network, batch = make_model(modality=modality).eval(), make_batch(2, cameras=2)
    with torch.no_grad():
        depth_m = camera_depth(network, batch, source)
    assert depth_m.shape == (2, 2, 32, 64)
    low, high = {"lift": (1.0, 21.0), "rendered": (0.5, 18.0)}[source]
    assert (depth_m >= low).all()
    assert (depth_m <= high).all()


def test_the_lifts_depth_is_that_of_its_distributions():
    network, batch = make_model().eval(), make_batch(1)
    with torch.no_grad():
        logits = network.infer(batch).camera.depth_logits
        coarse = expected_depth(logits, network.lift.bins)
        fine = camera_depth(network, batch, "lift")
    # A stride of 8: the middle of a cell lies between pixels 3 and 4.
    between = fine[0, 0, 11:13, 19:21].mean()
    assert between == pytest.approx(coarse[0, 0, 1, 2].item(), rel=0.02)


def test_a_dense_volume_is_seen_near_and_an_empty_one_not_at_all():
    network, batch = make_model().eval(), make_batch(1)
    outputs = network.infer(batch, with_fields=True)
    depths = []
    for density in (0.0, 50.0):
        field = outputs.fused.camera._replace(density=torch.full((1, 1, 8, 8, 2), density))
        filled = outputs._replace(fused=outputs.fused._replace(camera=field))
        depths.append(rendered_depth(network, filled, batch)[0, 0])
    empty, dense = depths
    torch.testing.assert_close(empty, torch.full_like(empty, 18.0))  # The far end.
    # The camera stands 1 m behind the grid, which the rays in the middle enter first of all.
    assert dense[4, 8] < 2.5


def test_networks_without_such_a_depth_are_rejected():
    batch = make_batch(1)
    with pytest.raises(ValueError, match="source of depth must be one of"):
        camera_depth(make_model(), batch, "label")
    with pytest.raises(ValueError, match="sensors 'lidar' has no camera"):
        camera_depth(make_model(modality="lidar"), batch, "lift")
    with pytest.raises(ValueError, match="renders no depth"):
        camera_depth(make_model(rendering=None), batch, "rendered")


@pytest.mark.parametrize("source", ["lift", "rendered"])
def test_the_command_line_scores_a_split(tmp_path, source, capsys, caplog, monkeypatch):
    monkeypatch.setattr("dataset.lost_sensors.is_blank", lambda image: True)
    stems = write_tiny_unscenes3d(tmp_path / "data", imagesets=("lists",), sweeps=0)
    torch.save(build_model(load_config(CONFIG)).state_dict(), tmp_path / "model_state_dict.pth")
    words = f"--py-config {CONFIG} --work-dir {tmp_path} --json {tmp_path / 's.json'} "
    words += f"--source {source} --device cpu --max-depth 60 "
    words += f"--cfg-options data_root={tmp_path / 'data'}"
    eval_depth.main(eval_depth.parse_arguments(words.split()))
    scores = json.loads((tmp_path / "s.json").read_text())
    assert (scores["source"], scores["split"], scores["frames"]) == (source, "val", 2)
    assert scores["max_depth"] == 60
    assert 0 < scores["abs_rel"] < 20
    assert "images of 160×256" in capsys.readouterr().out
    assert caplog.text.count("2 of 2 frames: the image has a single color") == 1
    cfg = load_config(CONFIG, {"data_root": str(tmp_path / "data")})
    sample = read_frames(cfg, "val")[0]
    assert sample.stem in stems
    assert sample.depth_m is not None
    assert sample.occupancy is None


def test_a_network_without_its_camera_has_no_depth():
    network = make_model()
    network.use_sensors("lidar")
    batch = replace(make_batch(1), images=None, pixel_from_lidar=None)
    with pytest.raises(ValueError, match=r"sensors 'lidar' has no camera depth .* leave out"):
        camera_depth(network, batch, "lift")
