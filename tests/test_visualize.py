import cv2
import numpy as np
import pytest
import torch

from dataset.occupancy_files import write_prediction
from engine.build.build import build_model
from tests import novel_depth_config
from tests.layout_files import write_tiny_unscenes3d
from tests.predict_config import write_config
from tools.visualize import chosen, main, parse_arguments
from utils.config import load_config

SMALL = ["--width", "400"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A config, data and predictions of all labeled frames."""
    folder = tmp_path_factory.mktemp("visualize")
    stems = write_tiny_unscenes3d(folder / "data", scenes={"scene_00000": "location_1"}, sweeps=0)
    for stem in stems:
        write_prediction(folder / "pred", stem, np.ones((32, 32, 4), np.uint8))
    config = write_config(folder)
    torch.save(build_model(load_config(config)).state_dict(), folder / "weights.pth")
    return folder


def run(figure, folder, out, *words):
    source = ["--py-config", str(folder / "config.py"), "--data-root", str(folder / "data")]
    main(parse_arguments([figure, *source, "--out", str(out), *SMALL, *words]))


def files(path):
    return sorted(file.name for file in path.iterdir())


def test_pages_of_views_and_their_panels(folder, tmp_path):
    run("views", folder, tmp_path / "pages", "--limit", "1", "--views", "front", "bird",
        "--panels", str(tmp_path / "panels"), "--no-ground", "--background", "dark")  # fmt: skip
    (page,) = (tmp_path / "pages").iterdir()
    assert cv2.imread(str(page)).shape[1] == pytest.approx(400, abs=8)
    assert len(files(tmp_path / "panels")) == 4  # Input and label, in two views.


def test_panels_are_called_as_prediction_and_label_are(folder, tmp_path):
    run("views", folder, tmp_path / "pages", "--limit", "1", "--views", "bird", "--no-errors",
        "--pred", str(folder / "pred"), "--name", "Ours", "--label-name", "Truth",
        "--panels", str(tmp_path / "panels"))  # fmt: skip
    parts = [name.split("_")[1] for name in files(tmp_path / "panels")]
    assert parts == ["input", "ours", "truth"]


def test_methods_beside_each_other(folder, tmp_path):
    out = tmp_path / "figure.png"
    run("compare", folder, out, "--pred", str(folder / "pred"), "--compare",
        f"Peer={folder / 'pred'}", "--scores", "--errors", "--only-scored")  # fmt: skip
    image = cv2.imread(str(out))
    assert image.shape[0] > 60
    assert files(tmp_path) == ["figure.png"]


def test_a_film_of_a_network(folder, tmp_path):
    weights = ["--resume-from", str(folder / "weights.pth"), "--device", "cpu"]
    run("film", folder, tmp_path / "film.gif", *weights, "--size", "480x320",
        "--colors", "32", "--fps", "5")  # fmt: skip
    gif = cv2.VideoCapture(str(tmp_path / "film.gif"))
    assert gif.get(cv2.CAP_PROP_FPS) == pytest.approx(5)
    shown = gif.read()[1]
    assert shown.shape == (320, 480, 3)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) <= 32


def test_predictions_alone_are_enough(folder, tmp_path):
    main(parse_arguments(["views", "--pred", str(folder / "pred"), "--out", str(tmp_path), *SMALL,
                          "--views", "bird", "--format", "jpg"]))  # fmt: skip
    assert all(name.endswith(".jpg") for name in files(tmp_path))
    assert len(files(tmp_path)) == 2


def test_branches_of_a_network_that_renders(folder, tmp_path):
    config = novel_depth_config.write_config(tmp_path, "unscenes3d", folder / "data")
    torch.save(build_model(load_config(config)).state_dict(), tmp_path / "weights.pth")
    main(parse_arguments(["branches", "--py-config", str(config), "--resume-from",
        str(tmp_path / "weights.pth"), "--device", "cpu", "--gaussians", "50", "--stride", "4",
        "--limit", "1", "--views", "bird", "--out", str(tmp_path / "pages"), *SMALL]))  # fmt: skip
    (page,) = (tmp_path / "pages").iterdir()
    assert cv2.imread(str(page)).std() > 10


def test_branches_are_of_a_network_that_renders(folder, tmp_path):
    with pytest.raises(ValueError, match="pass --resume-from, not --pred"):
        run("branches", folder, tmp_path)
    with pytest.raises(ValueError, match="this network renders nothing"):
        run("branches", folder, tmp_path, "--resume-from", str(folder / "weights.pth"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "--out", "figure.tiff"], r"must be .png or .jpg, got figure.tiff"),
        (["film", "--out", "film.avi"], r"must be .mp4 or .gif, got film.avi"),
        (["film", "--out", "film.gif", "--panels", "x"], "--panels cannot be used with film"),
        (["views", "--out", "x", "--rows", "a"], "--rows can only be used with compare, not"),
        (["views", "--out", "x"], "nothing to show"),
    ],
)
def test_options_that_cannot_be_are_rejected_before_anything_is_read(words, message):
    with pytest.raises(ValueError, match=message):
        main(parse_arguments(words))


def test_a_size_is_two_numbers(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["film", "--out", "x.gif", "--size", "1280"])
    assert "expected WIDTHxHEIGHT such as 1280x720, got '1280'" in capsys.readouterr().err


class Source:
    stems = [str(number) for number in range(20)]  # noqa: RUF012


def test_a_comparison_takes_a_few_frames_unless_told_otherwise():
    def count(*words):
        return len(chosen(Source(), parse_arguments([*words, "--out", "x"])))

    assert count("compare") == 4
    assert count("compare", "--limit", "0") == count("views") == 20
    assert count("compare", "--limit", "7") == 7
