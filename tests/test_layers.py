import numpy as np
import pytest
import torch

from dataset import layout
from dataset.occupancy_files import write_prediction
from dataset.sample import Sample
from engine.frames.sources import Predicted, ViewFrame
from engine.pictures.frame_errors import ERRORS
from engine.pictures.layers import LayerOptions, hidden_labels, layers_of, open_peers
from utils.labels import IGNORE, UNSCENES3D

GRID = layout.LABEL_GRID.coarsen(8)
ROAD, TRUCK = UNSCENES3D.index("driveable_surface"), UNSCENES3D.index("truck")
CORRECT, MISSED, INVENTED = (ERRORS.index(name) for name in ("correct", "missed", "invented"))


def label():
    voxels = np.zeros(GRID.shape, np.uint8)
    voxels[:4, :, 0], voxels[4:8, :, 0] = ROAD, TRUCK
    voxels[8:] = IGNORE
    return voxels


def prediction():
    voxels = label()
    voxels[8:] = 0
    voxels[0, :, 0] = 0  # Missed road.
    voxels[5, :, 1] = TRUCK  # Invented.
    voxels[9, :, 0] = ROAD  # Where the label is ignored.
    return voxels


def frame(*, labeled=True, predicted=True):
    occupancy = torch.from_numpy(label()) if labeled else None
    found = Predicted(prediction()) if predicted else None
    return ViewFrame(Sample("1.0", occupancy=occupancy), found)


def layers(view, peers=None, **options):
    chosen = LayerOptions("Ours", peers or {}, **options)
    return {one.name: one for one in layers_of(view, GRID, UNSCENES3D, chosen).layers}


def test_peers_come_first_and_the_label_last(tmp_path):
    write_prediction(tmp_path, "1.0", prediction())
    peers = open_peers([f"Co-Occ={tmp_path}"], GRID, UNSCENES3D)
    found = layers(frame(), peers)
    assert list(found) == ["Co-Occ", "Ours", "Label"]
    np.testing.assert_array_equal(found["Co-Occ"].voxels, found["Ours"].voxels)
    assert list(layers(frame(labeled=False), peers)) == ["Co-Occ", "Ours"]
    assert list(layers(frame(predicted=False))) == ["Label"]


def test_scores_are_of_the_frame():
    # 8 rows of label, 7 of them hit and one invented.
    assert layers(frame())["Ours"].note.startswith("IoU 77.8  mIoU ")
    assert layers(frame())["Label"].note == ""
    assert layers(frame(labeled=False))["Ours"].note == ""


def test_errors_follow_their_prediction():
    found = layers(frame(), errors=True)
    assert list(found) == ["Ours", "Ours: errors", "Label"]
    errors = found["Ours: errors"]
    assert errors.labels is ERRORS
    assert (errors.voxels[0, :, 0] == MISSED).all()
    assert (errors.voxels[5, :, 1] == INVENTED).all()


def test_what_is_hidden_has_no_errors_either():
    found = layers(frame(), errors=True, hidden=(ROAD,))
    for name in ("Ours", "Label"):
        assert ROAD not in found[name].voxels
        assert TRUCK in found[name].voxels
    errors = found["Ours: errors"].voxels
    assert not (errors == MISSED).any()
    assert (errors == INVENTED).any()
    assert set(np.unique(errors[4:8, :, 0])) == {CORRECT}


def test_predictions_that_no_score_counts_can_be_left_out():
    assert (layers(frame())["Ours"].voxels[9, :, 0] == ROAD).all()
    assert not layers(frame(), only_scored=True)["Ours"].voxels[8:].any()


def test_peers_in_other_voxels_are_shown_but_not_compared(tmp_path):
    fine = layout.LABEL_GRID.coarsen(4)
    write_prediction(tmp_path, "1.0", np.ones(fine.shape, np.uint8))
    peers = open_peers([f"Peer={tmp_path}"], GRID, UNSCENES3D)
    shown = layers(frame(), peers)["Peer"]
    assert shown.grid == fine
    assert shown.note == ""
    with pytest.raises(ValueError, match=r"1.0: 'Peer' has voxels of 1.2 m and the label of 2.4 m"):
        layers(frame(), peers, errors=True)


def test_a_frame_with_nothing_to_show_is_rejected():
    with pytest.raises(ValueError, match=r"frame 1.0 has no label and no prediction: choose other"):
        layers(frame(labeled=False, predicted=False))


def test_a_frame_that_a_peer_lacks_is_named(tmp_path):
    write_prediction(tmp_path, "2.0", prediction())
    peers = open_peers([f"Peer={tmp_path}"], GRID, UNSCENES3D)
    with pytest.raises(FileNotFoundError, match=r"1\.0"):
        layers(frame(), peers)


@pytest.mark.parametrize("word", ["folder", "=folder", "Name="])
def test_peers_are_names_and_folders(word):
    with pytest.raises(ValueError, match=r"--compare needs NAME=DIR.*got"):
        open_peers([word], GRID, UNSCENES3D)


def test_a_name_is_given_once(tmp_path):
    write_prediction(tmp_path, "1.0", prediction())
    with pytest.raises(ValueError, match="--compare has the name 'A' twice"):
        open_peers([f"A={tmp_path}", f"A={tmp_path}"], GRID, UNSCENES3D)


def test_hidden_classes_by_name_and_as_ground():
    assert hidden_labels(["truck"], UNSCENES3D, ground=False) == (TRUCK,)
    ground = hidden_labels([], UNSCENES3D, ground=True)
    names = {UNSCENES3D.class_names[one] for one in ground}
    assert names == {"driveable_surface", "terrain", "muddy"}
    with pytest.raises(ValueError, match="no class 'lorry'"):
        hidden_labels(["lorry"], UNSCENES3D, ground=False)


def test_a_layer_is_found_by_its_name():
    found = layers_of(frame(), GRID, UNSCENES3D, LayerOptions("Ours", {}))
    assert found.layer("Label") is found.label
    assert found.label.is_label
    assert found.layer("Peer") is None
    bare = layers_of(frame(labeled=False), GRID, UNSCENES3D, LayerOptions("Ours", {}))
    assert bare.label is None


def test_the_label_is_called_as_told_and_names_are_told_apart():
    assert list(layers(frame(), label_name="Ground truth")) == ["Ours", "Ground truth"]
    with pytest.raises(ValueError, match=r"need different names, got \['Ours', 'Ours'"):
        layers(frame(), label_name="Ours")
