import json

import pytest

from engine.robustness.results import Results, Run, read_baseline, read_results, resume

NETWORK, PROTOCOL = {"weights_sha256": "abc"}, {"split": "val", "frames_sha256": "def"}
SCORES = {
    Run("clean", 0): {"miou": 0.5, "iou": 0.9},
    Run("dark", 2): {"miou": 0.4, "iou": 0.8},
}


def write(path, scores=None):
    Results(NETWORK, PROTOCOL, dict(SCORES if scores is None else scores)).write(path)
    return path


def test_results_survive_the_file(tmp_path):
    path = write(tmp_path / "results.json")
    assert read_results(path).scores == SCORES
    content = json.loads(path.read_text())
    assert content["scores"]["dark"]["2"]["miou"] == 0.4
    assert content["summary"]["corruptions"]["dark"]["ra"] == {"2": 0.8}
    assert not list(tmp_path.glob(".*"))


def test_a_run_resumes_its_own_results(tmp_path):
    path = tmp_path / "results.json"
    assert resume(path, NETWORK, PROTOCOL).scores == {}
    write(path)
    assert resume(path, NETWORK, PROTOCOL).scores == SCORES


@pytest.mark.parametrize(
    ("network", "protocol", "name"),
    [
        ({"weights_sha256": "other"}, PROTOCOL, "weights_sha256 other, found abc"),
        (NETWORK, PROTOCOL | {"split": "test"}, "split test, found val"),
    ],
)
def test_results_of_something_else_are_not_resumed(tmp_path, network, protocol, name):
    path = write(tmp_path / "results.json")
    with pytest.raises(ValueError, match=rf"results\.json: expected .*{name}\. Choose another"):
        resume(path, network, protocol)


def test_a_baseline_may_be_another_network_on_the_same_frames(tmp_path):
    path = write(tmp_path / "results.json")
    assert read_baseline(path, PROTOCOL).miou() == {"clean": {0: 0.5}, "dark": {2: 0.4}}
    with pytest.raises(ValueError, match=r"frames_sha256 x, found def\. Score the baseline with"):
        read_baseline(path, PROTOCOL | {"frames_sha256": "x"})
    write(path, {Run("dark", 1): {"miou": 0.1}})
    with pytest.raises(ValueError, match="expected a clean score, found none"):
        read_baseline(path, PROTOCOL)


def test_another_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"results .*no\.json not found"):
        read_results(tmp_path / "no.json")
    path = tmp_path / "other.json"
    for content in ("[1]", "{", '{"scores": {"clean": {"0": {}}}, "network": {}, "protocol": {}}'):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"other\.json: expected results of eval_robustness"):
            read_results(path)
