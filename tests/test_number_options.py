import argparse
import importlib

import pytest

from engine.number_options import count, number, parse_size, positive, whole_number


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (count, "1", 1),
        (whole_number(0), "0", 0),
        (whole_number(-2, 3), "-2", -2),
        (positive, "1e-3", 1e-3),
        (number(), "-4", -4.0),
        (number(0.25, 8), "8", 8.0),
    ],
)
def test_a_number_in_the_range_is_parsed(parse, text, value):
    assert parse(text) == value
    assert type(parse(text)) is type(value)


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (count, "0", "expected a whole number of at least 1, got '0'"),
        (count, "1.5", "expected a whole number of at least 1, got '1.5'"),
        (count, "", "expected a whole number of at least 1, got ''"),
        (whole_number(0, 9), "10", "expected a whole number from 0 to 9, got '10'"),
        (positive, "0", "expected a number above 0, got '0'"),
        (positive, "nan", "expected a number above 0, got 'nan'"),
        (positive, "inf", "expected a number above 0, got 'inf'"),
        (number(), "-inf", "expected a finite number, got '-inf'"),
        (number(0.5), "wide", "expected a number of at least 0.5, got 'wide'"),
        (number(0.05, 0.3), "0.4", "expected a number from 0.05 to 0.3, got '0.4'"),
        (number(0, 1, is_open=True), "1", "expected a number between 0 and 1, got '1'"),
    ],
)
def test_a_number_out_of_the_range_is_refused(parse, text, message):
    with pytest.raises(argparse.ArgumentTypeError) as error:
        parse(text)
    assert str(error.value) == message


MINESIM = "--out o --scenes 2 --frames 2"
SCORE = "--pred p --gt g"


@pytest.mark.parametrize(
    ("script", "words", "option"),
    [
        ("eval_iou", "--py-config c.py --work-dir w", "--batch-size 0"),
        ("eval_iou", "--py-config c.py --work-dir w", "--resolution 0"),
        ("eval_iou", "--py-config c.py --work-dir w", "--thresh 1"),
        ("predict", "--py-config c.py --resume-from w --out o", "--batch-size 0"),
        ("predict", "--py-config c.py --resume-from w --out o", "--limit -1"),
        ("train", "--py-config c.py --work-dir w", "--gradient-accumulation 0"),
        ("eval_novel_depth", "--py-config c.py", "--frames 0"),
        ("eval_novel_depth", "--py-config c.py", "--max-distance 0"),
        ("eval_novel_depth", "--py-config c.py", "--min-depth nan"),
        ("eval_elevation", "--py-config c.py", "--num-pictures -1"),
        ("tools.make_minesim", MINESIM, "--map-voxel 0.4"),
        ("tools.make_minesim", MINESIM, "--ground-cell 0.1"),
        ("tools.make_minesim", MINESIM, "--scenes 0"),
        ("tools.make_minesim", MINESIM, "--num-sweeps 10"),
        ("tools.overfit", "--py-config c.py", "--iterations 0"),
        ("tools.benchmark", "--py-config c.py", "--warmup -1"),
        ("tools.visualize", "views --out o", "--scale 0"),
        ("tools.visualize", "views --out o", "--limit -1"),
        ("tools.visualize", "branches --out o", "--stride 0"),
        ("tools.view", "--pred p", "--keep 0"),
        ("tools.view", "--pred p", "--port 65536"),
        ("tools.view", "--pred p", "--gaussians 0"),
        ("tools.check_dataset", "data", "--workers 0"),
        ("tools.score", SCORE, "--coarsen 0"),
        ("tools.score", SCORE, "--grid 0 1 1"),
        ("tools.score", SCORE, "--num-classes 1"),
        ("tools.score", SCORE, "--min-depth 0"),
        ("tools.score", SCORE, "--ignore-label -1"),
    ],
)
def test_scripts_name_the_option(monkeypatch, capsys, script, words, option):
    module = importlib.import_module(script)
    monkeypatch.setattr("sys.argv", [script, *words.split(), *option.split()])
    with pytest.raises(SystemExit, match="2"):
        module.parse_arguments() if hasattr(module, "parse_arguments") else module.main()
    name = option.split()[0]
    assert f"argument {name}: expected a" in capsys.readouterr().err


def test_a_size_is_width_and_height():
    assert parse_size("480x300") == parse_size("480X300") == (480, 300)


@pytest.mark.parametrize("text", ["480", "480x", "ax300", "480x300x3", "-4x3", "0x300"])
def test_a_size_of_another_form_is_rejected(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected WIDTHxHEIGHT such as"):
        parse_size(text)
