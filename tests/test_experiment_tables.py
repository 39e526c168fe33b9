import pytest

from engine.experiments.pages import replace_part, update_page
from engine.experiments.tables import NOTHING, bench_section, mean_and_deviation


def scores(miou, car=None):
    bands = [
        {"from_m": 0.0, "to_m": 25.0, "miou": miou},
        {"from_m": 25.0, "to_m": None, "miou": None},
    ]
    return {
        "iou": 0.5, "miou": miou, "long_tail_miou": miou / 2, "rayiou": 0.25, "frames": 200,
        "per_class_iou": {"car": car, "truck": 0.5}, "by_distance": bands,
    }  # fmt: skip


def record(variant, seed, miou, *, car=None, **more):
    return {
        "variant": variant,
        "seed": seed,
        "date": "2026-01-02",
        "commit": "0123456789",
        "machine": {"gpu": "NVIDIA H200"},
        "data": {"title": "MineSim-Bench, version 1", "hash": "ab"},
        "training": {"seconds": 300.0, "frames_per_s": 20.0, "peak_gib": 30.5},
        "scores": {"val": scores(0.9), "test": scores(miou, car)},
    } | more


def rows(text, first):
    """Cells of the rows that begin with a name, in order of the tables."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [cells[1:] for cells in lines if cells[0] == first]


def test_without_records_nothing_is_claimed():
    assert bench_section([]) == NOTHING


def test_the_mean_over_seeds_and_its_deviation():
    assert mean_and_deviation([0.1]) == "10.00"
    assert mean_and_deviation([0.1, 0.3]) == "20.00 ± 14.14"  # Of a sample: divided by n − 1.
    assert mean_and_deviation([0.1, None, 0.3]) == "20.00 ± 14.14"
    assert mean_and_deviation([None]) == mean_and_deviation([]) == "–"
    assert mean_and_deviation([30.44], 1, 1) == "30.4"


def test_tables_of_two_variants():
    records = [
        record("full", 1, 0.3, car=0.2),
        record("full", 2, 0.5, car=0.4, latency={"median_ms": 11.04, "parameters": 36_500_000}),
        record("lidar", 1, 0.25, car=0.1),
    ]
    text = bench_section(records)
    assert text.startswith(
        "MineSim-Bench, version 1, 200 frames of the test split; 2026-01-02, NVIDIA"
    )
    assert "commit 0123456." in text
    assert max(map(len, text.partition("\n\n")[0].splitlines())) <= 100
    overall, distance, cost = rows(text, "full UnsOcc")
    assert overall == ["2", "50.00 ± 0.00", "40.00 ± 14.14", "20.00 ± 7.07", "25.00 ± 0.00"]
    assert distance == ["40.00 ± 14.14", "–"]
    assert cost == ["5.0 ± 0.0", "20.0 ± 0.0", "30.5 ± 0.0", "36.5", "11.0"]
    assert rows(text, "IoU of a class") == [["LiDAR", "full UnsOcc", "full − LiDAR"]]
    assert rows(text, "car") == [["10.00", "30.00", "+20.00"]]
    assert rows(text, "excavator") == [["–", "–", "–"]]
    assert rows(text, "mIoU by distance") == [["0–25 m", "25 m and more"]]
    assert text.index("| LiDAR |") < text.index("| full UnsOcc |")
    assert "mRA" not in text


def test_robustness_is_shown_for_the_runs_that_have_it():
    measured = {"frames": 50, "clean_miou": 0.4, "mra": {"camera": 0.9, "all": 0.8}}
    records = [record("full", 1, 0.3, robustness=measured), record("lidar", 1, 0.2)]
    text = bench_section(records)
    assert rows(text, "full UnsOcc")[-1] == ["50", "40.00", "90.00", "80.00"]
    assert "| variant | frames | clean mIoU | mRA, camera | mRA, all |" in text
    assert len(rows(text, "LiDAR")) == 3


def test_a_config_of_ones_own_comes_first():
    text = bench_section([record("lidar", 1, 0.2), record("mine", 1, 0.3)])
    assert text.index("| mine |") < text.index("| LiDAR |")


def test_records_of_different_data_do_not_mix():
    other = record("full", 1, 0.3, data={"title": "MineSim-Bench, version 2", "hash": "cd"})
    with pytest.raises(ValueError, match=r"different data: MineSim-Bench, version 1 \(ab\), Mine"):
        bench_section([record("lidar", 1, 0.2), other])


def test_generated_parts_are_replaced_and_nothing_else(tmp_path):
    page = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n<!-- y: begin -->\n<!-- y: end -->\n"
    found = replace_part(page, "x", r"new \1")
    assert found == page.replace("\nold\n", "\n\nnew \\1\n\n")
    path = tmp_path / "page.md"
    path.write_text(found)
    assert update_page(path, {"x": r"new \1"}) == (found, False)
    assert update_page(path, {"y": "text"})[1]
    with pytest.raises(ValueError, match=r"page\.md: expected the lines '<!-- z: begin -->' and"):
        update_page(path, {"z": "text"})
