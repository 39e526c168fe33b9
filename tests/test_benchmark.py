import pytest
import torch
from torch import nn

from engine.benchmark import floor, synthetic
from engine.benchmark import measure as module
from engine.benchmark.end_to_end import END_TO_END, STAGES
from engine.benchmark.measure import MeasureOptions, benchmark, term_variants, top_kernels
from engine.benchmark.timing import Clock
from model.decoder import UNet3d
from model.lidar_encoder import LidarEncoder
from tests.benchmark_config import tiny_config
from tests.model_inputs import make_model

CPU = torch.device("cpu")
CAMERA = ["image_encoder", "lift"]
COMMON = ["fusion", "decoder", "head", "whole"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(synthetic, "POINTS_PER_SWEEP", 500)
    monkeypatch.setitem(floor.MATRIX_SIZE, "cpu", 64)
    monkeypatch.setitem(floor.COPY_BYTES, "cpu", 2**16)


def options(**changes):
    return MeasureOptions(**dict(precisions=("fp32",), iterations=2, warmup=1) | changes)


@pytest.mark.parametrize(
    ("modality", "stages"),
    [
        ("both", ["voxelize", *CAMERA, "lidar_encoder", *COMMON]),
        ("camera", [*CAMERA, *COMMON]),
        ("lidar", ["voxelize", "lidar_encoder", *COMMON]),
    ],
)
def test_inference_by_stage(tmp_path, modality, stages):
    report = benchmark(tiny_config(tmp_path, modality=modality), options(), CPU)
    assert (report["device"], report["modality"], report["training"]) == ("CPU", modality, [])
    times = report["inference"]["fp32"]["stages"]
    assert list(times) == stages
    assert all(time["p10_ms"] <= time["median_ms"] <= time["p90_ms"] for time in times.values())
    assert min(time["p10_ms"] for time in times.values()) > 0
    assert report["inference"]["fp32"]["peak_bytes"] is None
    counted = [name for name in stages if name != "voxelize"]
    assert list(report["work"]) == list(report["floor_ms"]["fp32"]) == counted
    flops = {name: work["flops"] for name, work in report["work"].items()}
    assert sum(flops.values()) == 2 * flops["whole"]
    assert all(count > 0 for count in flops.values())
    parameters = report["parameters"]
    assert sum(parameters.values()) == 2 * parameters["whole"]
    assert ("points" in report["inputs"]) == (modality != "camera")
    assert ("image_size" in report["inputs"]) == (modality != "lidar")


def test_the_time_of_a_part_counts_in_its_stage_and_in_the_whole(tmp_path, monkeypatch):
    now = [0.0]

    def tick():
        now[0] += 1e-6
        return now[0]

    monkeypatch.setattr("engine.benchmark.timing.time.perf_counter", tick)

    def forward(self, *inputs, original=UNet3d.forward):
        now[0] += 0.5
        return original(self, *inputs)

    monkeypatch.setattr(UNet3d, "forward", forward)
    report = benchmark(tiny_config(tmp_path, modality="lidar"), options(), CPU)
    stages = report["inference"]["fp32"]["stages"]
    times_ms = {name: time["median_ms"] for name, time in stages.items()}
    for name in ("decoder", "whole"):
        assert times_ms.pop(name) == pytest.approx(500, abs=0.1)
    assert max(times_ms.values()) < 0.1


def test_floor_is_work_over_rates(tmp_path):
    report = benchmark(tiny_config(tmp_path, modality="lidar"), options(), CPU)
    rate, work = report["rates"]["fp32"], report["work"]["decoder"]
    seconds = max(work["flops"] / rate["flops_per_s"], work["num_bytes"] / rate["bytes_per_s"])
    assert report["floor_ms"]["fp32"]["decoder"] == pytest.approx(1e3 * seconds)


def test_training_with_and_without_rendering(tmp_path):
    report = benchmark(tiny_config(tmp_path), options(batch_sizes=(1, 2)), CPU)
    rows = report["training"]
    measured = [(row["terms"], row["precision"], row["batch_size"]) for row in rows]
    assert measured == [
        (terms, "fp32", size) for terms in ("all terms", "without rendering") for size in (1, 2)
    ]
    for row in rows:
        rate = 1e3 * row["batch_size"] / row["step"]["median_ms"]
        assert row["frames_per_s"] == pytest.approx(rate)
        assert row["kernels"] is None


def test_a_step_trains_the_network_of_the_variant(tmp_path, monkeypatch):
    seen = []

    def build(cfg):
        network = make_model(rendering=cfg.model.rendering)
        before = network.head.classify.weight.detach().clone()
        seen.append((network, before))
        return network

    monkeypatch.setattr(module, "build_model", build)
    benchmark(tiny_config(tmp_path), options(batch_sizes=(1,), warmup=0), CPU)
    inference, whole, without = (network for network, _ in seen)
    changed = [not torch.equal(network.head.classify.weight, before) for network, before in seen]
    assert changed == [False, True, True]
    assert (inference.training, whole.training) == (False, True)
    assert whole.rendering is not None
    assert without.rendering is None
    assert without.refinement is None


def test_variants(tmp_path):
    cfg = tiny_config(tmp_path)
    variants = term_variants(cfg)
    assert variants["all terms"] is cfg
    assert cfg.model.rendering is not None
    assert variants["without rendering"].model.rendering is None
    assert list(term_variants(variants["without rendering"])) == ["all terms"]
    assert list(term_variants(tiny_config(tmp_path, modality="lidar"))) == ["all terms"]


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (FloatingPointError("nan"), "the loss is not finite"),
    ],
)
def test_a_failed_step_is_reported_and_the_others_measured(tmp_path, monkeypatch, error, failure):
    def fail_once(cfg, options, clock, precision, size):
        if size == 2:
            raise error
        return {"frames_per_s": 3.0}

    monkeypatch.setattr(module, "_time_training", fail_once)
    cfg = tiny_config(tmp_path, modality="lidar")
    rows = benchmark(cfg, options(batch_sizes=(2, 1)), CPU)["training"]
    assert rows[0]["failure"] == failure
    assert rows[1]["frames_per_s"] == 3
    assert "failure" not in rows[1]


def test_fp16_is_rejected_on_a_cpu_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "measure_rates", None)
    with pytest.raises(ValueError, match="precision fp16 needs a CUDA device"):
        benchmark(tiny_config(tmp_path), options(precisions=("fp32", "fp16")), CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(precisions=()), r"one or more of \['fp32', 'bf16', 'fp16'\], got \[\]"),
        (dict(precisions=("int8",)), r"got \['int8'\]"),
        (dict(iterations=0), "iterations and batch sizes must be at least 1"),
        (dict(batch_sizes=(1, 0)), r"got 2, \[1, 0\] and 1"),
        (dict(warmup=-1), "warmup at least 0"),
    ],
)
def test_numbers_out_of_range_are_rejected(changes, message):
    with pytest.raises(ValueError, match=message):
        options(**changes)


def test_an_unknown_part_is_not_compiled(tmp_path):
    cfg = tiny_config(tmp_path, modality="lidar")
    with pytest.raises(ValueError, match=r"no parts \['encoder'\] to compile; .*'decoder'"):
        benchmark(cfg, options(compiled=("encoder", "head")), CPU)


@pytest.mark.parametrize(
    ("compiled", "of_config", "names"),
    [
        (None, False, []),
        (None, True, ["lidar_encoder", "fusion", "decoder", "head"]),
        (("head",), True, ["head"]),
        (("decoder", "head"), False, ["decoder", "head"]),
    ],
)
def test_parts_are_compiled_once_a_network(tmp_path, monkeypatch, compiled, of_config, names):
    seen, mode = [], "max-autotune-no-cudagraphs"

    def note(part, *, options):
        seen.append((type(part).__name__, mode if options.get("max_autotune") else "default"))

    for kind in (nn.Module, LidarEncoder):
        monkeypatch.setattr(kind, "compile", note)
    monkeypatch.setattr(torch, "compile", lambda function, options: function)
    cfg = tiny_config(tmp_path, modality="lidar", runtime__compile=of_config)
    chosen = options(compiled=compiled, compile_mode=mode, batch_sizes=(1,), warmup=0)
    report = benchmark(cfg, chosen, CPU)
    assert report["compiled"] == names
    kinds = {
        "lidar_encoder": "LidarEncoder",
        "fusion": "RenderFusion",
        "decoder": "UNet3d",
        "head": "OccupancyHead",
    }
    # For inference, and for the one network that is trained.
    assert seen == [(kinds[name], chosen) for chosen in (mode, "default") for name in names]


def test_recorded_frames_are_timed_as_asked(tmp_path, monkeypatch):
    asked = []

    def measure(cfg, clock, *, amp, compiled, iterations, warmup):
        asked.append((amp, compiled, iterations, warmup))
        return {"decode": 1.0}

    monkeypatch.setattr(module, "time_end_to_end", measure)
    cfg = tiny_config(tmp_path, modality="lidar")
    assert benchmark(cfg, options(), CPU)["end_to_end"] == {}
    assert benchmark(cfg, options(end_to_end=True), CPU)["end_to_end"] == {"fp32": {"decode": 1.0}}
    assert asked == [("off", False, 2, 1)]


def test_the_slowest_kernels_come_first():
    matrix = torch.randn(200, 200)
    kernels = top_kernels(lambda: (matrix @ matrix).relu(), Clock(CPU))
    names = [kernel["kernel"] for kernel in kernels]
    assert names[0] == "aten::mm"
    assert "aten::relu" in names
    times = [kernel["ms"] for kernel in kernels]
    assert times == sorted(times, reverse=True)
    assert kernels[0]["calls"] == 1
    assert sum(kernel["share"] for kernel in kernels) == pytest.approx(1)


def test_everything_is_profiled_on_request(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PROFILED_RUNS", 1)
    cfg = tiny_config(tmp_path, modality="lidar")
    report = benchmark(cfg, options(profile=True, batch_sizes=(1,)), CPU)
    inference, (step,) = report["inference"]["fp32"]["kernels"], report["training"]
    assert len(inference) == len(step["kernels"]) == 20
    backward = {kernel["kernel"] for kernel in step["kernels"]}
    assert "aten::convolution_backward" in backward
    assert not any("backward" in kernel["kernel"] for kernel in inference)


@pytest.mark.gpu
def test_stages_of_a_graph_are_timed_within_it(tmp_path):
    chosen = options(precisions=("bf16",), captured=True, end_to_end=True, profile=True)
    report = benchmark(tiny_config(tmp_path), chosen, torch.device("cuda"))
    stages = report["inference"]["bf16"]["stages"]
    assert list(stages) == ["image_encoder", "lift", "lidar_encoder", *COMMON]
    times = {name: stage["median_ms"] for name, stage in stages.items()}
    assert min(times.values()) > 0
    one_after_another = ("image_encoder", "lift", "fusion", "decoder", "head")
    # Marks in a graph cost a few microseconds each.
    assert sum(times[name] for name in one_after_another) < 1.5 * times["whole"]
    assert report["inference"]["bf16"]["kernels"]
    assert list(report["end_to_end"]["bf16"]["stages"]) == [*STAGES, END_TO_END]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_a_gpu(tmp_path, precision):
    device = torch.device("cuda")
    chosen = options(precisions=(precision,), batch_sizes=(1,), profile=True)
    report = benchmark(tiny_config(tmp_path), chosen, device)
    measured = report["inference"][precision]
    assert measured["peak_bytes"] > 0
    assert measured["kernels"]
    for row in report["training"]:
        assert row["peak_bytes"] > measured["peak_bytes"]
        assert row["kernels"]
