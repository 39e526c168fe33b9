import logging

import numpy as np
import pytest

from dataset.rellis3d import classes
from dataset.rellis3d.agreement import LabeledFrame, check, measure
from dataset.rellis3d.labels import RELEASES, LabelForm
from dataset.rellis3d.layout import Frame
from tests.rellis3d_files import label_rows, scan
from utils.labels import WILDOCC


def labeled(number=1, release="V1", turn=1.0):
    """A frame of the tiny world; ``turn`` −1 mirrors the labels' y."""
    frame = Frame("00000", number)
    records, ids = scan(frame)
    is_point = records[:, :3].any(axis=1)
    points = records[is_point].copy()
    points[:, :2] *= -1
    rows = label_rows(frame, release)
    if turn < 0:
        rows[:, 1] = RELEASES[release].shape[1] - 1 - rows[:, 1]
    return LabeledFrame(rows, points, ids[is_point])


@pytest.fixture(scope="module")
def v1():
    return [labeled(0), labeled(2)]


def as_benchmark(frame):
    table = classes.label_table(classes.RELLIS_IDS, WILDOCC)
    ids = table[frame.rows[:, 3]]
    ids[ids == WILDOCC.index("others")] = 0
    return frame._replace(rows=np.hstack([frame.rows[:, :3], ids[:, None]]))


def test_v1_is_in_the_frame_of_the_ouster(v1, caplog):
    found = measure(v1, RELEASES["V1"])
    assert found.best == ("ouster", "rellis")
    assert found.shares["ouster", "rellis"] > 0.95
    assert max(share for way, share in found.shares.items() if way != found.best) < 0.6
    assert found.ids == (3, 4, 19, 31)
    assert found.largest[:2] == (99, 99)
    with caplog.at_level(logging.INFO, "dataset.rellis3d.agreement"):
        check(found, LabelForm(RELEASES["V1"]), "wildocc")
    assert "labels of 'wildocc' are read as V1; share of points" in caplog.text


def test_another_reading_is_refused_with_the_right_one(v1):
    with pytest.raises(ValueError, match=(
        r"'wildocc': labels_axes='forward' and labels_ids='rellis' disagree with the points "
        r"\(.*ouster/rellis 9.*\). Set dataset.labels_axes='ouster' and dataset.labels_ids='rellis'"
    )):  # fmt: skip
        check(measure(v1, RELEASES["V1"]), LabelForm(RELEASES["V1"], "forward"), "wildocc")


def test_ids_of_the_benchmark_are_told_from_those_of_the_data_set(v1):
    found = measure([as_benchmark(frame) for frame in v1], RELEASES["V1"])
    assert found.best == ("ouster", "benchmark")
    with pytest.raises(ValueError, match=r"Set .* dataset.labels_ids='benchmark'"):
        check(found, LabelForm(RELEASES["V1"]), "wildocc")


def test_v2_may_be_mirrored():
    found = measure([labeled(1, "V2.0", turn=-1)], RELEASES["V2.0"])
    assert found.best == ("mirrored_x", "rellis")


def test_v1_read_as_v2_is_named(v1):
    form = LabelForm(RELEASES["V2.0"], "forward")
    with pytest.raises(ValueError, match=(
        r"expected labels of V2\.0, 160×160×40 voxels, found indices up to \[99, 99, \d+\] in 2 "
        r"frames, as in V1\. Correct dataset\.labels_grid"
    )):  # fmt: skip
        check(measure(v1, form.grid), form, "wildocc")


def test_labels_of_other_frames_agree_with_nothing(v1):
    shifted = [frame._replace(rows=frame.rows + np.array([0, 0, 30, 0])) for frame in v1]
    with pytest.raises(ValueError, match="found few with any reading"):
        check(measure(shifted, RELEASES["V1"]), LabelForm(RELEASES["V1"]), "wildocc")


def test_what_cannot_be_checked_is_said(v1, caplog):
    blank = [frame._replace(point_ids=0 * frame.point_ids) for frame in v1]
    found = measure(blank, RELEASES["V1"])
    assert np.isnan(list(found.shares.values())).all()
    check(found, LabelForm(RELEASES["V1"]), "wildocc")
    assert "could not be checked: 2 frames have fewer than 20 labeled points" in caplog.text


def test_a_tie_is_a_warning(caplog):
    """Nothing but a flat meadow says nothing of the frame."""
    flat = labeled(0)
    is_grass = flat.point_ids == 3
    every = np.argwhere(np.ones((100, 100, 1)))
    rows = np.hstack([every + np.array([0, 0, 3]), np.full((len(every), 1), 3)])
    meadow = LabeledFrame(rows, flat.points[is_grass], flat.point_ids[is_grass])
    found = measure([meadow], RELEASES["V1"])
    check(found, LabelForm(RELEASES["V1"], "mirrored_y"), "wildocc")
    assert "about as well with another reading" in caplog.text
