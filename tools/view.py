"""Look at frames in the browser: voxels, points, cameras, Gaussians and where a prediction errs.

    python tools/view.py --py-config CONFIG --data-root DIR                     # a data set
    python tools/view.py --py-config CONFIG --data-root DIR --pred DIR          # and predictions
    python tools/view.py --py-config CONFIG --data-root DIR --resume-from FILE  # predicted now
    python tools/view.py --pred DIR                                             # no data set

Prints the address to open. On a server without a display, forward the port:
``ssh -L 8080:localhost:8080 SERVER``.
"""

import argparse
import importlib.util
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from predict import pick_device
from utils.build import build_grid, build_model, place
from utils.checkpoint import load_weights
from utils.config import load_config, parse_options
from utils.console import run_script, say, start_logging
from utils.labels import LABEL_SETS, label_set
from utils.viewer.frames import FrameSource, Predictor, Recordings, SavedPredictions


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_argument_group("what to look at")
    what.add_argument("--py-config", metavar="FILE", help="config of the data set and the network")
    what.add_argument("--data-root", metavar="DIR", help="the data set; default: the config's")
    what.add_argument("--pred", type=Path, metavar="DIR", help="predictions, STEM.npy a frame")
    what.add_argument(
        "--resume-from",
        type=Path,
        metavar="FILE",
        help="weights: each frame is predicted when shown",
    )
    what.add_argument("--split", choices=("all", "train", "val", "test"), default="all")
    what.add_argument("--scene", metavar="NAME", help="only this drive, such as scene_00006")
    what.add_argument("--stems", nargs="+", metavar="STEM", help="only these frames")
    what.add_argument(
        "--labels",
        choices=sorted(LABEL_SETS),
        default="unscenes3d",
        help="classes of predictions without a config (default: unscenes3d)",
    )
    what.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE")
    how = parser.add_argument_group("how")
    how.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    how.add_argument(
        "--gaussians", type=int, metavar="N", help="Gaussians a frame (default: as in training)"
    )
    how.add_argument("--ahead", type=int, default=6, help="frames loaded ahead (default: 6)")
    how.add_argument("--keep", type=int, default=24, help="frames kept in memory (default: 24)")
    how.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets the whole network in (default: this machine only)",
    )
    how.add_argument("--port", type=int, default=8080, help="(default: 8080)")
    return parser.parse_args(argv)


def build_source(args: argparse.Namespace) -> FrameSource:
    """The frames that the command line asks for.

    Raises:
        ValueError: If its options do not go together.
        FileNotFoundError: If something named is not there.
    """
    if args.py_config is None:
        return _predictions_alone(args)
    if args.pred is not None and args.resume_from is not None:
        raise ValueError("--pred and --resume-from are two predictions of a frame: give one")
    options = parse_options(args.cfg_options)
    if args.data_root is not None:
        options["data_root"] = args.data_root
    cfg = load_config(args.py_config, options)
    labels = label_set(cfg.labels)
    predicted, predict = None, None
    if args.pred is not None:
        saved = SavedPredictions(args.pred, build_grid(cfg), labels)
        predict = saved.predict
        predicted = saved.stems if args.stems is None else None
    if args.resume_from is not None:
        network = build_model(cfg)
        load_weights(network, args.resume_from)
        network = place(network, pick_device(args.device))
        predict = Predictor(network, labels, num_gaussians=args.gaussians)
    return Recordings(
        cfg, args.split, predict=predict, stems=args.stems, among=predicted, scene=args.scene
    )


def _predictions_alone(args: argparse.Namespace) -> FrameSource:
    given = {"--data-root": args.data_root, "--resume-from": args.resume_from}
    given |= {"--scene": args.scene, "--stems": args.stems}
    if args.pred is None:
        raise ValueError("nothing to look at: give --py-config FILE, or --pred DIR, or both")
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} needs --py-config, which says how to read the data set")
    return SavedPredictions(args.pred, None, label_set(args.labels))


def check_server(args: argparse.Namespace) -> None:
    """Refuse what would fail after everything has been loaded.

    Raises:
        ValueError: If viser is not installed, a number is out of range or the port is taken.
    """
    if importlib.util.find_spec("viser") is None:
        raise ValueError(
            "the viewer needs viser, which is not installed: pip install -r requirements.txt"
        )
    if args.keep < 1 or args.ahead < 0:
        raise ValueError(f"--keep is at least 1 and --ahead 0, got {args.keep} and {args.ahead}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((args.host, args.port))
        except OSError as error:
            raise ValueError(
                f"cannot listen at {args.host}:{args.port}: {error.strerror}; choose another --port"
            ) from error


def main(args: argparse.Namespace) -> None:
    """Serve the page until the program is stopped."""
    start_logging()
    check_server(args)
    source = build_source(args)
    import viser  # optional; here, where its absence has been told

    from utils.viewer.session import Session

    server = viser.ViserServer(args.host, args.port, verbose=False)
    session = Session(server, source, ahead=args.ahead, keep=args.keep)
    say(f"{len(source.stems)} frames at http://{args.host}:{server.get_port()}  (Ctrl+C ends)")
    try:
        session.run()
    except KeyboardInterrupt:
        say("closed")
    finally:
        session.close()
        server.stop()


if __name__ == "__main__":
    arguments = parse_arguments()
    run_script(lambda: main(arguments))
