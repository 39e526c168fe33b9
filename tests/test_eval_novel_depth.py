"""The command line of novel-view depth is settled, and says that the scoring is not there."""

import subprocess
import sys
from pathlib import Path

import pytest

from eval_novel_depth import main, parse_arguments

DOCUMENTED = [
    "--py-config",
    "config/nuscenes/nuscenes_novel_depth.py",
    "--work-dir",
    "out/nuscenes/novel_depth",
    "--resume-from",
    "out/nuscenes/novel_depth/model_state_dict.pth",
]


def test_documented_command_parses() -> None:
    args = parse_arguments(DOCUMENTED)
    assert args.py_config == "config/nuscenes/nuscenes_novel_depth.py"
    assert args.work_dir == Path("out/nuscenes/novel_depth")
    assert args.resume_from == Path("out/nuscenes/novel_depth/model_state_dict.pth")
    assert (args.depth_tgt, args.batch, args.num_rays) == ("raw", 0, (96, 200))


def test_options_parse() -> None:
    options = "--batch 4096 --num-rays 48 160 --depth-tgt max --renderer gaussians --seed 1"
    args = parse_arguments([*DOCUMENTED, *options.split()])
    assert (args.batch, args.num_rays, args.depth_tgt) == (4096, [48, 160], "max")
    assert (args.renderer, args.seed) == ("gaussians", 1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--py-config, --work-dir"),
        ([*DOCUMENTED, "--depth-tgt", "median"], "invalid choice: 'median'"),
        ([*DOCUMENTED, "--depht-tgt", "raw"], "unrecognized arguments: --depht-tgt"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_arguments(arguments)
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


def test_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(parse_arguments(DOCUMENTED))
    printed = capsys.readouterr()
    assert stop.value.code == 2
    assert printed.out == ""
    assert "Missing: rendering the depth" in printed.err
    assert "at the camera poses of other frames" in printed.err


def test_runs_as_a_script() -> None:
    script = Path(__file__).parents[1] / "eval_novel_depth.py"
    command = [sys.executable, str(script), *DOCUMENTED]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert "Missing:" in run.stderr
    assert "Traceback" not in run.stderr
