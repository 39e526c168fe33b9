import logging

import pytest

from dataset.rellis3d.layout import SEQUENCES, Frame
from dataset.rellis3d.splits import near_training, read_list, split_frames

EVERY = [Frame(name, number) for name in SEQUENCES for number in range(60)]


def write_lists(root, **splits):
    """Lists as released: two columns, cloud and labels."""
    for split, frames in splits.items():
        lines = [
            f"{name}/os1_cloud_node_kitti_bin/{number:06d}.bin "
            f"{name}/os1_cloud_node_semantickitti_label_id/{number:06d}.label"
            for name, number in frames
        ]
        (root / f"pt_{split}.lst").write_text("\n".join(lines) + "\n")


def test_the_published_lists(tmp_path):
    write_lists(tmp_path, train=[("00000", 3), ("00001", 0)], test=[("00000", 55)])
    assert split_frames(tmp_path, "train", "lists", EVERY) == [
        Frame("00000", 3),
        Frame("00001", 0),
    ]
    assert split_frames(tmp_path, "test", "lists", EVERY) == [Frame("00000", 55)]
    with pytest.raises(FileNotFoundError, match=(
        r"pt_val\.lst not found: copy the LiDAR split lists .* dataset\.split_source='sequence'"
    )):  # fmt: skip
        split_frames(tmp_path, "val", "lists", EVERY)


def test_lists_that_cut_a_sequence_are_warned_of(tmp_path, caplog):
    write_lists(tmp_path, train=[("00000", 20)], val=[("00000", n) for n in (5, 9, 10, 30, 31)])
    split_frames(tmp_path, "val", "lists", EVERY)
    assert (
        "2 of the 5 frames of 'val' are within 1 s of a frame of 'train' (00000-000010, "
        "00000-000030)"
    ) in caplog.text
    assert "dataset.split_source='sequence' keeps sequences whole" in caplog.text
    caplog.clear()
    split_frames(tmp_path, "train", "lists", EVERY)
    split_frames(tmp_path, "val", "lists", EVERY, is_whole=False)
    assert not caplog.text


def test_near_is_within_a_second_of_the_same_sequence():
    training = [Frame("00000", 20), Frame("00000", 50)]
    frames = [Frame("00000", n) for n in (9, 10, 30, 31, 39, 40)] + [Frame("00001", 20)]
    assert [f.number for f in near_training(frames, training)] == [10, 30, 40]


def test_whole_sequences(tmp_path, caplog):
    found = {
        split: {frame.sequence for frame in split_frames(tmp_path, split, "sequence", EVERY)}
        for split in ("train", "val", "test")
    }
    assert found == {"train": {"00000", "00001", "00002"}, "val": {"00003"}, "test": {"00004"}}
    assert not caplog.text
    split_frames(tmp_path, "train", "sequence", EVERY[:60])
    assert "lacks the sequences 00001, 00002 of 'train'" in caplog.text
    with pytest.raises(ValueError, match=r"'test' of .* \(sequence\) has no frame on disk"):
        split_frames(tmp_path, "test", "sequence", EVERY[:60])


def test_sequences_that_are_not_on_disk_are_left_out_with_numbers(tmp_path, caplog):
    write_lists(tmp_path, test=[("00000", 1), ("00004", 1), ("00004", 2)])
    with caplog.at_level(logging.WARNING):
        found = split_frames(tmp_path, "test", "lists", EVERY[:60])
    assert found == [Frame("00000", 1)]
    assert "lacks the sequences 00004, so 1 of the 3 frames of 'test' are left" in caplog.text


def test_frames_in_two_lists_are_refused(tmp_path):
    write_lists(tmp_path, train=[("00000", 1)], val=[("00000", 1)])
    with pytest.raises(ValueError, match="'train' and 'val' share 1 frames"):
        split_frames(tmp_path, "val", "lists", EVERY)


def test_the_lists_of_images_are_named(tmp_path):
    path = tmp_path / "pt_test.lst"
    path.write_text(
        "00000/pylon_camera_node/frame000104-1581624663_149.jpg "
        "00000/pylon_camera_node_label_id/frame000104-1581624663_149.png\n"
    )
    with pytest.raises(ValueError, match=r"line 1: expected 'SEQUENCE/os1.* not of the images"):
        read_list(path)


def test_a_list_may_have_clouds_only(tmp_path):
    path = tmp_path / "pt_test.lst"
    path.write_text("00000/os1_cloud_node_kitti_bin/000001.bin\n\n")
    assert read_list(path) == [Frame("00000", 1)]


@pytest.mark.parametrize(
    ("split", "source", "message"),
    [("mini", "lists", "unknown split 'mini'"), ("val", "auto", "unknown split_source 'auto'")],
)
def test_unknown_names(tmp_path, split, source, message):
    with pytest.raises(ValueError, match=message):
        split_frames(tmp_path, split, source, EVERY)
