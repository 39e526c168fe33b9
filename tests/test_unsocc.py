import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError
from mmengine.config import Config
from mmengine.optim import OptimWrapper

from dataset.layout import LABEL_GRID
from dataset.sample import Batch
from engine.benchmark.synthetic import synthetic_batch
from engine.build.build import build_model
from model.objective import TERMS, check_finite, term_weights
from tests.model_inputs import GRID, make_batch, make_model, model_config
from utils.config import load_config
from utils.labels import UNSCENES3D
from utils.registry import MODELS

BASE = Path(__file__).parents[1] / "config" / "_base_"
OCCUPANCY = ["cross_entropy", "lovasz_softmax", "sem_scal", "geo_scal"]
SPLAT = ["splat_semantic", "splat_lovasz", "splat_depth"]
IMAGE = ["depth", "image_semantic", "image_lovasz"]
TERMS_OF = {
    "both": [*OCCUPANCY, *IMAGE, "render_depth", "render_semantic", "render_alignment", *SPLAT],
    "camera": [*OCCUPANCY, *IMAGE, "render_depth", *SPLAT],
    "lidar": OCCUPANCY,
}


def without_other_sensor(batch, modality):
    """The batch as the data set would give it to a network of this modality."""
    if modality == "camera":
        return replace(batch, points=None)
    if modality == "lidar":
        return replace(batch, images=None, pixel_from_lidar=None, depth_m=None)
    return batch


@pytest.mark.parametrize("modality", ["both", "camera", "lidar"])
@pytest.mark.parametrize("size", [1, 2])
def test_modes(modality, size):
    model = make_model(modality=modality)
    batch = without_other_sensor(make_batch(size), modality)
    assert model(batch).shape == (size, 12, *GRID.shape)
    losses = model(batch, mode="loss")
    assert list(losses) == [f"loss_{name}" for name in TERMS_OF[modality]]
    assert all(term.shape == () and term.requires_grad for term in losses.values())
    predictions = model(batch, mode="predict")
    assert [prediction.stem for prediction in predictions] == batch.stems
    for prediction in predictions:
        assert prediction.occupancy.shape == GRID.shape
        assert prediction.occupancy.dtype == torch.uint8


@pytest.mark.parametrize("modality", ["both", "camera", "lidar"])
def test_every_parameter_gets_a_gradient(modality):
    model = make_model(modality=modality)
    sum(model(make_batch(), mode="loss").values()).backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert without == []


def test_several_processes_know_what_the_elevation_alone_does_not_teach():
    """With weights that get no gradient, processes wait for each other's in vain."""
    small = {
        "grid.voxel_m": 1.2,
        "grid.shape": (64, 64, 8),
        "dataset.image_size": (64, 96),
        "model.parts.image_encoder.backbone": "resnet18",
        "model.parts.image_encoder.weights": None,
        "model.parts.decoder.channels": (16, 16),
    }
    cfg = load_config(BASE.parent / "unscenes3d/unscenes3d_elevation_only.py", small)
    model = build_model(cfg)
    sum(model(synthetic_batch(cfg, 1), mode="loss").values()).backward()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    assert any(weight.grad is None for weight in weights) == cfg.runtime.find_unused_parameters


def test_builds_only_what_the_modality_uses():
    assert not hasattr(make_model(modality="lidar"), "image_encoder")
    assert not hasattr(make_model(modality="camera"), "lidar_encoder")


def test_rendering_costs_nothing_at_inference(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("inference rendered")

    for name in ("label_views", "image_terms", "volume_terms", "splat_terms"):
        monkeypatch.setattr(f"model.rendering_terms.{name}", never)
    model = make_model()
    monkeypatch.setattr(model.fusion.classify, "forward", never)
    monkeypatch.setattr(model.refinement, "forward", never)
    outputs = model.infer(make_batch())
    assert outputs.fused[1:] == (None, None, None)
    assert len(model(make_batch(), mode="predict")) == 2


def test_without_rendering_the_same_network_gives_the_same_logits():
    plain = make_model(rendering=None)
    assert plain.refinement is None
    assert list(plain(make_batch(), mode="loss")) == [
        f"loss_{name}" for name in (*OCCUPANCY, "depth")
    ]
    full = make_model()
    plain.load_state_dict(full.state_dict(), strict=False)
    assert torch.equal(plain(make_batch()), full(make_batch()))


def test_the_gaussians_images_teach_the_head_and_the_volumes_images_do_not():
    model, batch = make_model(), make_batch()
    terms = model.losses(batch)
    for name, reaches in [("loss_splat_semantic", True), ("loss_render_semantic", False)]:
        (gradient,) = torch.autograd.grad(
            terms[name], model.head.classify.weight, retain_graph=True, allow_unused=True
        )
        assert (gradient is not None and gradient.abs().max() > 0) == reaches


def test_each_sensor_is_taught_by_the_other_ones_images():
    model, batch = make_model(), make_batch()
    terms = model.losses(batch)
    for name, part in [
        ("loss_image_semantic", model.image_encoder.backbone.stem[0].weight),
        ("loss_image_lovasz", model.lift.heads[0].weight),
        ("loss_render_depth", model.lift.heads[0].weight),
        ("loss_render_semantic", model.lidar_encoder.to_volume.weight),
        ("loss_render_alignment", model.lift.heads[0].weight),
        ("loss_render_alignment", model.lidar_encoder.to_volume.weight),
    ]:
        (gradient,) = torch.autograd.grad(terms[name], part, retain_graph=True)
        assert gradient.abs().max() > 0


def test_virtual_cameras_are_seen_by_the_gaussians():
    config = model_config()["rendering"] | dict(virtual=("displaced", "bird"))
    with_them, without = make_model(rendering=config), make_model()
    batch = make_batch()
    first, second = (model(batch, mode="loss") for model in (with_them, without))
    assert first["loss_splat_semantic"] != second["loss_splat_semantic"]
    assert first["loss_render_depth"] == second["loss_render_depth"]


def test_counts_of_classes_balance_the_images():
    loss = model_config()["loss"]
    counts = [0, *range(1000, 12000, 1000)]
    balanced = make_model(loss=loss | dict(class_counts=counts, effective_number_beta=0.999))
    plain = make_model()
    weights = balanced.pixel_class_weights
    assert weights[0] == 0
    assert (weights[1:-1] > weights[2:]).all()
    first, second = (model(make_batch(), mode="loss") for model in (balanced, plain))
    assert first["loss_splat_semantic"] != second["loss_splat_semantic"]
    assert first["loss_cross_entropy"] == second["loss_cross_entropy"]


def test_predictions_are_the_likeliest_labels():
    model = make_model().eval()
    batch = make_batch()
    with torch.no_grad():
        probability = model(batch).softmax(dim=1)
        predictions = model(batch, mode="predict")
    for frame, prediction in enumerate(predictions):
        label = probability[frame].argmax(dim=0)
        assert torch.equal(prediction.occupancy, label.to(torch.uint8))


def test_predictions_have_the_probability_that_voxels_are_free():
    model = make_model().eval()
    batch = make_batch()
    with torch.no_grad():
        probability = model(batch).softmax(dim=1)
        predictions = model(batch, mode="predict")
    for frame, prediction in enumerate(predictions):
        torch.testing.assert_close(prediction.log_free.exp(), probability[frame, 0])


def test_a_batch_of_two_is_two_batches_of_one():
    model = make_model().eval()
    batch = make_batch(2, cameras=2)
    together = model(batch)
    for frame in range(2):
        alone = Batch(
            stems=batch.stems[frame : frame + 1],
            scenes=batch.scenes[frame : frame + 1],
            images=batch.images[frame : frame + 1],
            points=batch.points[frame : frame + 1],
            pixel_from_lidar=batch.pixel_from_lidar[frame : frame + 1],
        )
        # Convolutions of another batch size sum in another order.
        torch.testing.assert_close(model(alone)[0], together[frame], atol=1e-4, rtol=1e-4)


def test_the_same_seed_gives_the_same_loss():
    first, second = (make_model(seed=3)(make_batch(), mode="loss") for _ in range(2))
    assert first == second
    assert first != make_model(seed=4)(make_batch(), mode="loss")


@pytest.mark.parametrize("modality", ["both", "camera", "lidar"])
def test_learns_one_batch_overfit(modality):
    model = make_model(modality=modality)
    batch = make_batch()
    optimizer = OptimWrapper(torch.optim.Adam(model.parameters(), lr=0.01))
    for _ in range(30):
        model.train_step(batch, optimizer)
    labeled = batch.occupancy != 255
    predicted = torch.stack([item.occupancy for item in model.eval().val_step(batch)])
    is_wrong = (predicted != batch.occupancy) & labeled
    occupied = labeled & (batch.occupancy > 0)
    # Of the untrained network's predictions nearly all occupied voxels are wrong.
    assert is_wrong.sum() < 0.1 * occupied.sum()


def test_the_feature_volume_may_have_the_labels_resolution():
    config = model_config(coarsening=1)
    config["parts"]["lidar_encoder"]["stage_channels"] = (8, 12)
    model = MODELS.build(config)
    assert model(make_batch(1)).shape == (1, 12, *GRID.shape)


def test_the_full_grid():
    config = model_config(grid=LABEL_GRID)
    config["parts"]["head"]["channels"] = 4
    config["parts"]["lift"]["channels"] = config["parts"]["lidar_encoder"]["channels"] = 4
    config["parts"]["fusion"]["channels"] = 4
    config["parts"]["decoder"]["channels"] = (4, 8, 8)
    model = MODELS.build(config).eval()
    with torch.no_grad():
        (prediction,) = model(make_batch(1), mode="predict")
    assert prediction.occupancy.shape == (256, 256, 32)


def test_depth_is_supervised_only_where_there_is_depth():
    batch = replace(make_batch(), depth_m=None)
    assert "loss_depth" not in make_model()(batch, mode="loss")


def test_class_weights_reach_the_cross_entropy():
    batch = make_batch()
    weights = model_config()["loss"]["weights"]
    plain = make_model()(batch, mode="loss")
    only_truck = [0.0] * 12
    only_truck[2] = 1.0
    model = make_model(loss=dict(weights=weights, class_weights=only_truck))
    balanced = model(batch, mode="loss")
    log_probability = make_model()(batch).log_softmax(dim=1)
    expected = -log_probability[:, 2][batch.occupancy == 2].mean()
    torch.testing.assert_close(balanced["loss_cross_entropy"], expected)
    assert plain["loss_lovasz_softmax"] == balanced["loss_lovasz_softmax"]


def test_terms_are_weighted():
    weights = model_config()["loss"]["weights"]
    plain = make_model()(make_batch(), mode="loss")
    double = make_model(loss=dict(weights=weights | dict(depth=1.0)))(make_batch(), mode="loss")
    torch.testing.assert_close(double["loss_depth"], 2 * plain["loss_depth"])


def test_autocast_keeps_logits_and_losses_in_float32():
    model, batch = make_model(), make_batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(batch).dtype == torch.float32
        losses = model(batch, mode="loss")
    assert all(term.dtype == torch.float32 and term.isfinite() for term in losses.values())


@pytest.mark.parametrize(
    ("field", "mode"),
    [
        ("images", "tensor"),
        ("pixel_from_lidar", "tensor"),
        ("points", "predict"),
        ("occupancy", "loss"),
    ],
)
def test_a_missing_field_is_named(field, mode):
    with pytest.raises(ValueError, match=f"frames .'16.0', '16.1'. were read without '{field}'"):
        make_model()(replace(make_batch(), **{field: None}), mode=mode)


def test_an_infinite_loss_stops_before_the_weights_change():
    model, batch = make_model(modality="lidar"), make_batch()
    with torch.no_grad():
        model.head.classify.bias[3] = torch.nan
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    optimizer = OptimWrapper(torch.optim.Adam(model.parameters(), lr=0.01))
    with pytest.raises(FloatingPointError, match=r"frames \['16.0', '16.1'\].*cross_entropy.*nan"):
        model.train_step(batch, optimizer)
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name].nan_to_num(0)) or name == "head.classify.bias"


def test_finite_terms_pass():
    check_finite({"loss_a": 1.0, "loss_b": 0.0}, ["1.0"])
    with pytest.raises(FloatingPointError, match=r"loss_b.*inf"):
        check_finite({"loss_a": 1.0, "loss_b": torch.inf}, ["1.0"])


def test_pretrained_weights_are_loaded_when_training_starts(tmp_path):
    config = model_config()
    config["parts"]["image_encoder"]["weights"] = str(tmp_path / "nowhere.pth")
    model = MODELS.build(config)  # Scoring a checkpoint needs no such file.
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        model.init_weights()
    make_model(modality="lidar").init_weights()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(modality="radar"), "modality must be one of"),
        (dict(labels="cityscapes"), "unknown label set"),
        (
            dict(loss=dict(weights=dict.fromkeys([*TERMS, "lovász"], 1.0))),
            r"loss\.weights has unknown terms \['lovász'\]",
        ),
        (
            dict(loss=dict(weights=dict.fromkeys(OCCUPANCY, 1.0)), rendering=None),
            r"loss\.weights lacks \['depth'\], which this network computes",
        ),
        (
            dict(loss=model_config()["loss"] | dict(class_weights=[1.0, 2.0])),
            "one value for each of the 12 classes",
        ),
    ],
)
def test_wrong_arguments_are_rejected(changes, message):
    with pytest.raises(ValueError, match=message):
        make_model(**changes)


NO_EVIDENCE = dict(evidence_channels=None)
VARIANTS = {
    "RenderFusion": {},
    "ConcatFusion": dict(fusion=dict(type="ConcatFusion", channels=16)),
    "KnnFusion": dict(fusion=dict(type="KnnFusion", channels=16)),
    "without Gaussians": dict(refinement=None),
    "without evidence": dict(
        lift=model_config()["parts"]["lift"] | NO_EVIDENCE,
        lidar_encoder=model_config()["parts"]["lidar_encoder"] | NO_EVIDENCE,
    ),
    "elevation": dict(
        elevation=dict(
            type="ElevationHead", cells=dict(near_right_m=(2.0, -4.0), cell_m=0.5, shape=(8, 8))
        )
    ),
}


@pytest.mark.parametrize("modality", ["both", "camera", "lidar"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_network_needs_weights_of_the_terms_that_it_computes_and_no_others(variant, modality):
    parts = model_config()["parts"] | VARIANTS[variant]
    batch = replace(make_batch(), elevation_m=torch.zeros(2, 8, 8))
    computed = [name.removeprefix("loss_") for name in all_terms(parts, modality, batch)]
    config = dict(modality=modality, parts=parts)
    weights = dict.fromkeys(computed, 1.0)
    needed = make_model(**config, loss=dict(weights=weights)).loss_weights
    assert set(needed) == set(computed)
    for name in computed:
        rest = {key: 1.0 for key in computed if key != name}
        with pytest.raises(ValueError, match=rf"lacks \['{name}'\]"):
            term_weights(rest, needed)
    with pytest.raises(ValueError, match=rf"lacks \['{computed[-1]}'\]"):
        make_model(**config, loss=dict(weights=dict.fromkeys(computed[:-1], 1.0)))


def test_a_compiled_network_keeps_fp32_without_advice_against_it():
    make_model().compile_parts()
    warnings.warn("TensorFloat32 tensor cores for float32 matrix multiplication", stacklevel=1)


def all_terms(parts, modality, batch):
    return make_model(modality=modality, parts=parts)(batch, mode="loss")


@pytest.mark.parametrize("novel_views", [0, 1])
def test_novel_views_need_a_weight(novel_views):
    rendering = model_config()["rendering"] | dict(novel_views=novel_views)
    model = make_model(rendering=rendering)
    assert ("novel_depth" in model.loss_weights) == bool(novel_views)


def test_a_part_cannot_set_what_the_network_determines():
    parts = model_config()["parts"]
    parts["head"]["num_classes"] = 3
    with pytest.raises(ValueError, match=r"OccupancyHead: the network sets \['num_classes'\]"):
        make_model(parts=parts)


def test_a_misspelt_part_is_rejected():
    config = model_config()
    config["parts"]["encoder"] = config["parts"].pop("image_encoder")
    with pytest.raises(TypeError, match="encoder"):
        MODELS.build(config)


def test_an_unknown_mode_is_rejected():
    with pytest.raises(ValueError, match="mode must be"):
        make_model()(make_batch(), mode="train")


def test_the_shape_checker_is_on():
    model, batch = make_model(), make_batch()
    with pytest.raises(TypeCheckError):
        model.image_encoder(batch.images[0])
    with pytest.raises(TypeCheckError):
        model.image_encoder(batch.images.float())


@pytest.mark.parametrize("modality", ["both", "camera", "lidar"])
@pytest.mark.parametrize(("name", "factor"), [("model_small.py", 4), ("model.py", 1)])
def test_base_configs_build(name, factor, modality):
    config = Config.fromfile(BASE / name)
    model = MODELS.build(
        config.model,
        default_args=dict(
            grid=LABEL_GRID.coarsen(factor), labels=UNSCENES3D.name, modality=modality
        ),
    )
    assert model.grid.shape == LABEL_GRID.coarsen(factor).shape


@pytest.mark.gpu
@pytest.mark.parametrize("modality", ["both", "camera", "lidar"])
def test_one_training_step_is_the_same_on_a_gpu(modality):
    def step(device):
        # tf32 convolutions would differ in the third digit.
        torch.backends.cudnn.allow_tf32 = False
        model = make_model(modality=modality).to(device)
        optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        losses = model.train_step(make_batch(), optimizer)
        weights = {name: weight.detach().cpu() for name, weight in model.named_parameters()}
        return losses, weights

    before = {
        name: weight.detach() for name, weight in make_model(modality=modality).named_parameters()
    }
    (cpu_losses, cpu_weights), (gpu_losses, gpu_weights) = step("cpu"), step("cuda")
    assert gpu_losses == pytest.approx(cpu_losses, rel=1e-3, abs=1e-5)
    for name, weight in cpu_weights.items():
        update, gpu_update = weight - before[name], gpu_weights[name] - before[name]
        # Sums of thousands of gradients in another order, and gsplat's skipped Gaussians.
        error = (gpu_update - update).norm()
        assert error <= 0.02 * update.norm() + 1e-5, name
