from engine.benchmark.table import compare, describe, markdown

TIMING = dict(median_ms=1.2345, p10_ms=0.98765, p90_ms=123.45)


def report(**changes):
    """A report with one of everything."""
    stages = {"voxelize": TIMING, "lidar_encoder": TIMING, "whole": TIMING}
    return (
        dict(
            device="Some GPU",
            torch="2.11.0",
            date="2026-01-02",
            config="config/x.py",
            modality="both",
            options=dict(iterations=50, warmup=10, compile_mode="default", captured=False),
            compiled=[],
            inputs=dict(
                grid=[256, 256, 32],
                labeled_voxels=7,
                image_size=[384, 1280],
                points=60000,
                lidar_voxels=30000,
            ),
            parameters=dict(
                data_preprocessor=0, lidar_encoder=1234567, refinement=500, whole=1235067
            ),
            work=dict(
                lidar_encoder=dict(flops=23_456_000_000, num_bytes=7_000_000),
                whole=dict(flops=2_323_000_000_000, num_bytes=8_000_000),
            ),
            rates={"bf16": dict(flops_per_s=7.9e14, bytes_per_s=3.9e12)},
            floor_ms={"bf16": dict(lidar_encoder=0.03, whole=2.94)},
            inference={"bf16": dict(stages=stages, peak_bytes=2_345_000_000, kernels=None)},
            end_to_end={},
            training=[],
            training_files=[],
        )
        | changes
    )


def rows_of(text, title):
    """Cells of the table whose first cell begins with the title, by their first cell."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {title}"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:]]
    return {row[0]: row[1:] for row in rows}


def test_columns_are_aligned():
    assert markdown([["a", "b"], ["long name", "1"], ["x", "12345"]]) == "\n".join(
        [
            "| a         |     b |",
            "| --------- | ----: |",
            "| long name |     1 |",
            "| x         | 12345 |",
        ]
    )


def test_headline():
    options = dict(iterations=5, warmup=1, compile_mode="max-autotune-no-cudagraphs", captured=True)
    compiled = describe(report(options=options, compiled=["decoder", "head"])).splitlines()[0]
    assert describe(report()).splitlines()[0] == (
        "Some GPU; torch 2.11.0; 2026-01-02; config/x.py, modality both; image 384×1280; "
        "60,000 points in 30,000 LiDAR voxels; 256×256×32 label voxels; 50 timed runs, 10 warmup"
    )
    assert compiled.endswith(
        "5 timed runs, 1 warmup; compiled (max-autotune-no-cudagraphs): decoder, head; inference "
        "as a CUDA graph"
    )
    lidar = describe(report(inputs=dict(grid=[1, 2, 3]))).splitlines()[0]
    assert "image" not in lidar
    assert "points" not in lidar


def test_rates():
    rows = rows_of(describe(report()), "measured rate")
    assert rows["matmul TFLOP/s"] == ["790"]
    assert rows["copy GB/s"] == ["3900"]


def test_inference():
    rows = rows_of(describe(report()), "inference, batch 1")
    assert rows["inference, batch 1"] == ["M params", "GFLOP", "MB", "bf16 ms", "floor ms"]
    time = "1.23 (0.988–123)"
    assert rows["voxelize"] == ["–", "–", "–", time, "–"]
    assert rows["LiDAR encoder"] == ["1.23", "23.5", "7", time, "0.03"]
    assert rows["refinement"] == ["0.0005", "–", "–", "–", "–"]
    assert rows["whole"] == ["1.24", "2323", "8", time, "2.94"]
    assert rows["peak memory, GB"] == ["–", "–", "–", "2.35", "–"]
    assert "data preprocessor" not in rows
    assert list(rows)[-2:] == ["whole", "peak memory, GB"]


def test_training():
    row = dict(terms="all terms", precision="bf16", batch_size=4)
    step = dict(step=TIMING, frames_per_s=45.678, peak_bytes=None, kernels=None)
    text = describe(report(training=[row | step, row | dict(failure="out of memory")]))
    lines = [line for line in text.splitlines() if line.startswith("| all terms")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["all terms", "bf16", "4", "1.23 (0.988–123)", "45.7", "–"]
    assert cells[1] == ["all terms", "bf16", "4", "out of memory", "–", "–"]
    assert "training step" not in describe(report())


def files_row(**changes):
    return (
        dict(precision="bf16", batch_size=4, loop=TIMING, step=TIMING, share_of_step=0.956)
        | dict(frames_per_s=16.37, waiting_share=0.0123, peak_bytes=20_900_000_000)
        | changes
    )


def test_training_from_files():
    rows = rows_of(describe(report(training_files=[files_row()])), "train.py on files")
    time = "1.23 (0.988–123)"
    assert rows["bf16"] == ["4", time, time, "0.96", "16.4", "1.2%", "20.90"]
    assert "train.py on files" not in describe(report())


def test_a_recorded_frame_by_stage():
    stages = {"network": TIMING, "end to end": TIMING}
    measured = report(end_to_end={"bf16": dict(stages=stages, first_frame_s=41.2)})
    rows = rows_of(describe(measured), "recorded frame")
    assert rows["network"] == rows["end to end"] == ["1.23 (0.988–123)"]
    assert rows["first frame, s"] == ["41.2"]
    assert "recorded frame" not in describe(report())
    compared = rows_of(compare([measured, measured]), "ms (ratio to the first)")
    assert compared["end to end, bf16"] == ["1.23 (1.00)", "1.23 (1.00)"]


def test_configs_are_compared_with_the_first():
    step = dict(terms="all terms", precision="bf16", batch_size=4, step=TIMING, frames_per_s=1.0)
    first = report(training=[step], training_files=[files_row()])
    twice = {name: 2 * value for name, value in TIMING.items()}
    failed = dict(terms="all terms", precision="bf16", batch_size=4, failure="out of memory")
    second = report(config="config/y.py", training=[failed], training_files=[files_row(loop=twice)])
    rows = rows_of(compare([first, second]), "ms (ratio to the first)")
    assert rows["ms (ratio to the first)"] == ["config/x.py", "config/y.py"]
    assert rows["inference, bf16"] == ["1.23 (1.00)", "1.23 (1.00)"]
    assert rows["step, all terms, bf16, batch 4"] == ["1.23 (1.00)", "–"]
    assert rows["train.py on files, bf16, batch 4"] == ["1.23 (1.00)", "2.47 (2.00)"]


def test_kernels():
    kernel = dict(kernel="void f<a|b>" + 100 * "x", calls=2.0, ms=0.5, share=0.25)
    step = dict(step=TIMING, frames_per_s=1.0, peak_bytes=1, kernels=[kernel])
    training = [dict(terms="all terms", precision="bf16", batch_size=4) | step]
    rows = rows_of(describe(report(training=training)), "kernels: all terms, bf16, batch 4")
    (name,) = [name for name in rows if name.startswith("void f<a/b>x")]
    assert rows[name] == ["2", "0.500", "25.0%"]
    assert len(name) == 70
    assert "kernels: inference" not in describe(report(training=training))


def test_a_gpu_is_told_apart_in_the_notes():
    assert describe(report()).endswith("round to TF32.")
    assert "TF32" not in describe(report(device="CPU"))
