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

from engine.prediction.options import add_source_options, build_source
from utils.console import run_script, say, start_logging


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_source_options(parser)
    how = parser.add_argument_group("how")
    how.add_argument("--ahead", type=int, default=6, help="frames loaded ahead (default: 6)")
    how.add_argument("--keep", type=int, default=24, help="frames kept in memory (default: 24)")
    how.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets the whole network in (default: this machine only)",
    )
    how.add_argument("--port", type=int, default=8080, help="(default: 8080)")
    return parser.parse_args(argv)


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
    if not 0 <= args.port < 2**16:
        raise ValueError(f"--port is from 0 (any that is free) to 65535, got {args.port}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((args.host, args.port))
        except OSError as error:
            raise ValueError(
                f"cannot listen at {args.host}:{args.port}: {error.strerror}; choose another "
                "--host or --port"
            ) from error


def main(args: argparse.Namespace) -> None:
    """Serve the page until the program is stopped."""
    start_logging()
    check_server(args)
    source = build_source(args)
    import viser  # optional; here, where its absence has been told

    from engine.viewer.session import Session

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
