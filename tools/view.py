"""View frames in the browser: voxels, points, cameras, Gaussians and prediction errors.

    python tools/view.py --py-config CONFIG --data-root DIR             # a data set
    python tools/view.py --py-config CONFIG --data-root DIR --pred DIR  # with predictions
    python tools/view.py --resume-from FILE --data-root DIR             # with a network
    python tools/view.py --pred DIR                                     # predictions only

Prints the address to open. On a remote server, forward the port first:
ssh -L 8080:localhost:8080 SERVER
"""

import argparse
import importlib.util
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.number_options import count, whole_number
from engine.prediction.options import add_source_options, build_source, live_sensors
from utils.console import run_script, say, start_logging


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_source_options(parser)
    group = parser.add_argument_group("server")
    group.add_argument(
        "--ahead",
        type=whole_number(0),
        default=6,
        metavar="N",
        help="frames to preload (default: 6)",
    )
    group.add_argument("--keep", type=count, default=24, metavar="N",
        help="frames to keep in memory (default: 24)")  # fmt: skip
    group.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 allows access from the network (default: 127.0.0.1, "
        "this machine only)",
    )
    group.add_argument(
        "--port",
        type=whole_number(0, 2**16 - 1),
        default=8080,
        help="port to listen on (default: 8080)",
    )
    return parser.parse_args(argv)


def check_server(args: argparse.Namespace) -> None:
    """Check the options before the data set is loaded.

    Raises:
        ValueError: If viser is not installed, a number is out of range, or the port is in use.
    """
    if importlib.util.find_spec("viser") is None:
        raise ValueError(
            "the viewer needs viser, which is not installed: pip install -r requirements.txt"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((args.host, args.port))
        except OSError as error:
            raise ValueError(
                f"cannot listen on {args.host}:{args.port}: {error.strerror}; choose another "
                "--host or --port"
            ) from error


def main(args: argparse.Namespace) -> None:
    """Serve the viewer until it is stopped."""
    start_logging()
    check_server(args)
    source = build_source(args)
    import viser  # Optional: check_server reports when it is missing.

    from engine.viewer.session import Session

    server = viser.ViserServer(args.host, args.port, verbose=False)
    session = Session(
        server, source, ahead=args.ahead, keep=args.keep, sensors=live_sensors(source)
    )
    say(f"{len(source.stems)} frames at http://{args.host}:{server.get_port()}  (Ctrl+C stops it)")
    try:
        session.run()
    except KeyboardInterrupt:
        say("stopped")
    finally:
        session.close()
        server.stop()


if __name__ == "__main__":
    arguments = parse_arguments()
    run_script(lambda: main(arguments))
