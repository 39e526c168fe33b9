r"""Write trained weights as safetensors, to share them.

    python tools/export_weights.py out/demo/model_state_dict.pth --out demo.safetensors
    python tools/export_weights.py out/demo/model_state_dict.pth --out demo.safetensors --half \
        --scores out/demo/scores.json --about license=Apache-2.0 training="make demo"

The file contains the config of the training, so --resume-from demo.safetensors is enough for every
script. Weights without their config, as older versions wrote them, need --py-config. The config
names the folder of the data set: --data-root replaces it. --half stores the weights in half
precision. --scores and --about store what the weights reach and where they come from.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from torch import Tensor

from engine.build.build import build_model
from engine.checkpoint.origin import describe_training
from engine.checkpoint.weights import fill, read_weights
from engine.command_line import add_config_options, read_config
from model.weight_files import SAFETENSORS, check_finite, save_safetensors
from utils.console import run_script, say, start_logging
from utils.outputs import output_file


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("weights", type=Path, metavar="FILE", help="checkpoint to export")
    add("--out", required=True, type=output_file, metavar="FILE",
        help=f"file to write, with the ending {SAFETENSORS}")  # fmt: skip
    add("--half", action="store_true", help="store the weights in half precision (float16)")
    add("--scores", type=Path, metavar="FILE", help="JSON of eval_iou.py to store, too")
    add("--about", nargs="+", type=_fact, default=[], metavar="KEY=TEXT", help="facts to store, "
        "such as data, training, latency and license")  # fmt: skip
    add_config_options(parser, required=False)
    return parser.parse_args(argv)


def _fact(text: str) -> tuple[str, str]:
    """Parse a fact.

    Raises:
        argparse.ArgumentTypeError: If the text is not KEY=TEXT.
    """
    key, separator, value = text.partition("=")
    if not (key and separator and value):
        raise argparse.ArgumentTypeError(f"expected KEY=TEXT, got '{text}'")
    return key, value


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in half precision; whole numbers stay as they are."""
    return {
        name: value.half() if value.is_floating_point() else value
        for name, value in tensors.items()
    }


def main(args: argparse.Namespace) -> None:
    """Write the file.

    Raises:
        ValueError: If the output has another ending, the weights do not match their config, or a
            weight is too large for half precision.
    """
    start_logging()
    if args.out.suffix != SAFETENSORS:
        raise ValueError(f"--out must end in {SAFETENSORS}, got {args.out}")
    weights = read_weights(args.weights)
    cfg = read_config(args, weights=weights)
    fill(build_model(cfg), weights.tensors, weights.path)
    facts = describe_training(cfg)
    facts["versions"] = weights.facts.get("versions", facts["versions"])
    facts["about"] = dict(args.about)
    if args.scores is not None:
        facts["scores"] = json.loads(args.scores.read_text(encoding="utf-8"))
    tensors = weights.tensors
    if args.half:
        tensors = halved(tensors)
        check_finite(tensors, f"{weights.path} in half precision")
    save_safetensors(tensors, facts, args.out)
    values = sum(value.numel() for value in tensors.values())
    size = args.out.stat().st_size / 2**20
    say(f"{args.out}: {len(tensors)} tensors, {values:,} values, {size:.1f} MiB")


if __name__ == "__main__":
    arguments = parse_arguments()
    run_script(lambda: main(arguments))
