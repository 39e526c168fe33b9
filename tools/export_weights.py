"""Write trained weights as safetensors, to share them.

    python tools/export_weights.py out/demo/model_state_dict.pth --out demo.safetensors

The file contains the config of the training, so --resume-from demo.safetensors is enough for every
script. Weights without their config, as older versions wrote them, need --py-config. The config
names the folder of the data set: --data-root replaces it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.build.build import build_model
from engine.checkpoint.origin import describe_training
from engine.checkpoint.weights import fill, read_weights
from engine.command_line import add_config_options, read_config
from model.weight_files import SAFETENSORS, save_safetensors
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
    add_config_options(parser, required=False)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Write the file.

    Raises:
        ValueError: If the output has another ending, or the weights do not match their config.
    """
    start_logging()
    if args.out.suffix != SAFETENSORS:
        raise ValueError(f"--out must end in {SAFETENSORS}, got {args.out}")
    weights = read_weights(args.weights)
    cfg = read_config(args, weights=weights)
    fill(build_model(cfg), weights.tensors, weights.path)
    facts = describe_training(cfg)
    facts["versions"] = weights.facts.get("versions", facts["versions"])
    save_safetensors(weights.tensors, facts, args.out)
    values = sum(value.numel() for value in weights.tensors.values())
    say(f"{args.out}: {len(weights.tensors)} tensors, {values:,} values")


if __name__ == "__main__":
    arguments = parse_arguments()
    run_script(lambda: main(arguments))
