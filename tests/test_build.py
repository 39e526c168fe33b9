import functools
import operator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dataset.augmentation import Augmentation
from engine.build.build import (
    amp_dtype,
    build_dataset,
    build_grid,
    build_model,
    build_optimizer,
    eval_loader,
    fields_of,
    input_fields,
    place,
    train_loader,
)
from loss.occupancy import occupancy_terms
from model.lidar_encoder import LidarEncoder
from model.objective import LABELS
from tests.layout_files import write_tiny_unscenes3d
from tests.nuscenes_files import SCENES, write_tiny_nuscenes
from tests.recording_files import write_recordings
from tests.rellis3d_files import write_tiny_rellis
from tests.toy_training import write_toy_config
from utils.config import Schedule, load_config, plain, read_section
from utils.distributed import Process

CPU = torch.device("cpu")
ALONE = Process(0, 1, CPU)
CONFIG = Path(__file__).parents[1] / "config"
CONFIGS = sorted(path for path in CONFIG.rglob("*.py") if path.parent.stem[0] != "_")
DATA_SETS = ("unscenes3d", "minesim")
BENCH = sorted(CONFIG.glob("minesim/bench/*.py"))
ABLATIONS = sorted(path.stem for path in CONFIG.glob("unscenes3d/ablation/*.py"))


def write_unscenes3d(cfg):
    return write_tiny_unscenes3d(Path(cfg.data_root), imagesets=("scene_info", "lists"))


def write_nuscenes(cfg):
    tiny = write_tiny_nuscenes(
        cfg.data_root, scenes=SCENES[:1], samples=2, sweeps=0, image_size=(45, 80)
    )
    return tiny.samples[SCENES[0]]


def write_rellis3d(cfg):
    release = "V1" if cfg.dataset.labels_axes == "ouster" else "V2.0"
    root = Path(cfg.data_root)
    tiny = write_tiny_rellis(root, sequences=("00000",), frames=2, release=release, enlarged=10)
    return [frame.stem for frame in tiny.frames]


def write_drives(cfg):
    return [f"1-{stem}" for stem in write_recordings(Path(cfg.data_root), ["1"], frames=2)]


WRITERS = {
    "Recordings": write_drives,
    "UnScenes3D": write_unscenes3d,
    "NuScenes": write_nuscenes,
    "Rellis3D": write_rellis3d,
}


@pytest.fixture
def cfg(tmp_path):
    return load_config(write_toy_config(tmp_path))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write the data of a config, once for all configs of the same data."""
    found = {}

    def write(cfg):
        kind = (cfg.dataset.type, cfg.dataset.get("labels_axes"))
        if kind not in found:
            cfg.data_root = str(tmp_path_factory.mktemp("data") / "data")
            found[kind] = cfg.data_root, WRITERS[cfg.dataset.type](cfg)
        cfg.data_root, stems = found[kind]
        return stems

    return write


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(CONFIG)))
def test_every_config_builds(path, written):
    cfg = load_config(path)
    schedule = read_section(cfg, "schedule", Schedule)
    network = build_model(cfg)
    build_optimizer(network, schedule, CPU)
    stems = written(cfg)
    frames = build_dataset(cfg, "train", training=True)
    sample = frames[0]
    assert sample.stem in stems
    assert (sample.images is None) == (cfg.modality == "lidar")
    assert (sample.points is None) == (cfg.modality == "camera")
    has_labels = network.supervision == LABELS
    labeled = sample.occupancy if has_labels else sample.lidar_rays.has_point
    assert labeled.shape == build_grid(cfg).shape


def test_ablations_are_the_same_on_both_data_sets():
    assert [path.stem for path in sorted(CONFIG.glob("minesim/ablation/*.py"))] == ABLATIONS
    reference = load_config(CONFIG / "minesim/minesim_full.py")
    encoder = reference.model.parts.image_encoder
    for name in ABLATIONS:
        ours, other = (load_config(CONFIG / f"{data}/ablation/{name}.py") for data in DATA_SETS)
        assert other.data_root == reference.data_root
        assert other.model.parts.image_encoder == encoder
        ours.model.parts.image_encoder = encoder  # MineSim's, of which a package has weights.
        for section in ("model", "modality", "runtime"):
            assert plain(ours[section]) == plain(other[section])


def test_the_base_config_lists_all_augmentations():
    listed = load_config(CONFIG / "unscenes3d/unscenes3d_occ.py").augmentation
    assert set(listed) == {field.name for field in fields(Augmentation)}
    for name in ("cloud", "image", "calibration", "mix", "paste"):
        part = getattr(Augmentation(), name)
        assert set(listed[name]) == {field.name for field in fields(part)}


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_is_trained_on_what_the_reference_is(name):
    reference = plain(load_config(CONFIG / "unscenes3d/unscenes3d_occ.py").to_dict())
    ablation = plain(load_config(CONFIG / f"unscenes3d/ablation/{name}.py").to_dict())
    changed = {key for key, value in ablation.items() if value != reference[key]}
    assert changed == ({"modality"} if name in ("camera", "lidar") else {"model"})


@pytest.mark.parametrize("path", BENCH, ids=lambda path: path.stem)
def test_variants_of_the_bench_differ_in_the_network_alone(path):
    full, variant = (plain(load_config(p).to_dict()) for p in (BENCH[0].with_stem("full"), path))
    changed = {key for key, value in variant.items() if value != full[key]}
    own = "modality" if path.stem in ("camera", "lidar") else "model"
    assert changed - {own, "model"} == set()
    assert variant["model"]["loss"] == full["model"]["loss"]
    dropout = variant["model"]["sensor_dropout"]
    is_baseline = path.stem in ("camera", "lidar", "concat", "co_occ", "no_sensor_dropout")
    assert any(dropout.values()) != is_baseline


def test_the_small_network_differs_from_the_full_one_in_widths_alone():
    names = ("bench/full.py", "minesim_small.py")
    full, small = (plain(load_config(CONFIG / "minesim" / name).to_dict()) for name in names)
    for part, arguments in small["model"]["parts"].items():
        for key, value in full["model"]["parts"][part].items():
            if key.endswith("channels") and arguments[key] != value:
                assert np.all(np.less(arguments[key], value)), f"{part}.{key}"
                arguments[key] = value
    small["schedule"]["epochs"] = full["schedule"]["epochs"]
    assert small == full


@pytest.mark.parametrize(
    ("modality", "training", "fields"),
    [
        ("both", True, {"occupancy", "points", "images", "pixel_from_lidar", "depth_m"}),
        ("both", False, {"occupancy", "points", "images", "pixel_from_lidar"}),
        ("camera", True, {"occupancy", "images", "pixel_from_lidar", "depth_m"}),
        ("lidar", True, {"occupancy", "points"}),
        ("lidar", False, {"occupancy", "points"}),
    ],
)
def test_only_what_the_modality_needs_is_read(modality, training, fields):
    assert set(fields_of(modality, training=training)) == fields
    assert set(input_fields(modality)) == fields - {"occupancy", "depth_m"}


def test_training_allows_no_missing_sensor(cfg):
    cfg.dataset.allow_missing = True
    with pytest.raises(ValueError, match=r"needs all sensors of each frame: remove dataset\.allow"):
        build_dataset(cfg, "train", training=True)


def test_training_reads_all_sensors(cfg):
    cfg.modality, cfg.sensors = "both", "lidar"
    assert build_dataset(cfg, "val").fields == ("occupancy", "points")
    with pytest.raises(ValueError, match=r"training reads all sensors .* got sensors 'lidar'"):
        build_dataset(cfg, "train", training=True)


def test_only_training_is_augmented(cfg):
    train = build_dataset(cfg, "train", training=True, seed=3)
    assert (train.jitter, train.seed) == (0.2, 3)
    assert build_dataset(cfg, "train").jitter == 0.0
    cfg.augmentation = None
    assert build_dataset(cfg, "train", training=True).jitter == 0.0


def test_fields_can_be_chosen(cfg):
    assert build_dataset(cfg, "val", fields=("points",)).fields == ("points",)
    with pytest.raises(ValueError, match="unexpected keyword argument 'stems'"):
        build_dataset(cfg, "val", stems=["a"])


def test_the_seed_decides_the_weights(cfg):
    first, again, other = (build_model(cfg, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_biases_and_norms_do_not_decay(cfg):
    network = build_model(cfg)
    network.head.weight.requires_grad = False
    schedule = read_section(cfg, "schedule", Schedule)
    decayed, free = build_optimizer(network, schedule, CPU).optimizer.param_groups
    assert decayed["weight_decay"] == 0.01
    assert free["weight_decay"] == 0.0
    assert [weight.ndim for weight in decayed["params"]] == [5]  # the first convolution's
    assert len(free["params"]) == 4  # its bias, the norm's two and the head's bias


def test_a_network_that_cannot_train_is_rejected(cfg):
    with pytest.raises(ValueError, match="no trainable weights"):
        build_optimizer(nn.Identity(), read_section(cfg, "schedule", Schedule), CPU)


def test_gradients_are_clipped_if_asked(cfg):
    schedule = read_section(cfg, "schedule", Schedule)
    network = build_model(cfg)
    assert build_optimizer(network, schedule, CPU).clip_grad_kwargs == {"max_norm": 5.0}
    cfg.schedule.clip_grad_norm = 0.0
    schedule = read_section(cfg, "schedule", Schedule)
    assert build_optimizer(network, schedule, CPU).clip_grad_kwargs is None


def test_precisions():
    assert amp_dtype("off", CPU) is None
    assert amp_dtype("bf16", CPU) is torch.bfloat16
    assert amp_dtype("bf16", torch.device("cuda")) is torch.bfloat16
    with pytest.raises(ValueError, match="fp16 needs a CUDA device, this is a cpu"):
        amp_dtype("fp16", CPU)
    with pytest.raises(ValueError, match="must be one of"):
        amp_dtype("half", CPU)


def test_workers_read_the_same_batches(cfg):
    """What a batch holds does not depend on the process that reads it."""
    alone = list(train_loader(cfg, build_dataset(cfg, "train", training=True), ALONE, seed=0))
    cfg.runtime.num_workers = 2
    loader = train_loader(cfg, build_dataset(cfg, "train", training=True), ALONE, seed=0)
    for one, two in zip(alone, loader, strict=True):
        assert one.stems == two.stems
        assert all(torch.equal(a, b) for a, b in zip(one.points, two.points, strict=True))


def test_augmentation_changes_with_the_epoch(cfg):
    loader = train_loader(cfg, build_dataset(cfg, "train", training=True), ALONE, seed=0)

    def points_of(epoch: int) -> dict[str, torch.Tensor]:
        loader.batch_sampler.start_at(epoch)
        return {s: p for batch in loader for s, p in zip(batch.stems, batch.points, strict=True)}

    first, again, other = points_of(0), points_of(0), points_of(1)
    assert torch.equal(first["train_0"], again["train_0"])
    assert not torch.equal(first["train_0"], other["train_0"])


def test_evaluation_reads_each_frame_once_in_order(cfg):
    frames = build_dataset(cfg, "val")
    shares = [eval_loader(cfg, frames, Process(rank, 4, CPU), 2) for rank in range(4)]
    stems = [[stem for batch in share for stem in batch.stems] for share in shares]
    assert stems[0] == ["val_0", "val_4"]
    assert stems[3] == ["val_3"]
    assert sorted(functools.reduce(operator.iadd, stems, [])) == frames.stems


def test_a_network_on_a_cpu_keeps_the_memory_of_its_tensors(monkeypatch):
    calls = []
    monkeypatch.setattr("engine.build.build.keep_freed_memory", lambda: calls.append(None))
    place(build_model(load_config(CONFIG / "minesim/minesim_occ.py", {"modality": "lidar"})), CPU)
    assert len(calls) == 1


def test_a_network_is_placed_and_compiled_by_parts(monkeypatch):
    compiled = []
    for kind in (nn.Module, LidarEncoder):
        monkeypatch.setattr(kind, "compile", lambda part, options: compiled.append(part))
    monkeypatch.setattr(torch, "compile", lambda function, options: [function])
    network = build_model(load_config(CONFIG / "minesim/minesim_occ.py", {"modality": "lidar"}))
    assert place(network, CPU) is network
    assert compiled == []
    place(network, CPU, compile_mode="default")
    assert compiled == [network.lidar_encoder, network.fusion, network.decoder, network.head]
    assert network.occupancy_terms == [occupancy_terms]


@pytest.mark.gpu
def test_on_a_gpu_only_the_dense_convolutions_lie_channels_last():
    network = place(
        build_model(load_config(CONFIG / "minesim/minesim_occ.py")), torch.device("cuda")
    )
    dense, sparse = (
        network.decoder.down[0].first.weight,
        network.lidar_encoder.halve[0].reduce.weight,
    )
    assert dense.is_contiguous(memory_format=torch.channels_last_3d)
    assert sparse.is_contiguous()


@pytest.mark.gpu
@pytest.mark.usefixtures("without_type_checks")
def test_compiled_volumes_are_never_turned_over():
    device = torch.device("cuda")
    network = build_model(load_config(CONFIG / "minesim/minesim_occ.py", {"modality": "lidar"}))
    place(network, device, compile_mode="default").eval()
    volume = torch.randn(1, network.fusion.channels, *network.feature_grid.shape, device=device)
    volume = volume.contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16):
        network.decoder(volume)
        with torch.profiler.profile(acc_events=True) as log:
            network.decoder(volume)
    names = [event.key for event in log.key_averages()]
    assert any("fprop" in name or "conv" in name for name in names)
    assert [name for name in names if "nchwToNhwc" in name or "nhwcToNchw" in name] == []
