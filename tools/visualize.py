"""Render figures and videos for papers and reports, without a display.

    python tools/visualize.py views    SOURCE --out DIR        # four views, one page per frame
    python tools/visualize.py compare  SOURCE --out FILE.png   # one page of frames x methods
    python tools/visualize.py branches SOURCE --out DIR        # rendering of each network branch
    python tools/visualize.py film     SOURCE --out FILE.mp4   # video of a drive, or FILE.gif

SOURCE is as in tools/view.py: --py-config CONFIG [--data-root DIR] shows labels; --pred DIR adds
saved predictions; --resume-from FILE shows those of a network, with the config in FILE unless
--py-config is given; --pred DIR alone needs no data set.
--compare NAME=DIR adds predictions of another method.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset.options import spread
from engine.checkpoint.weights import read_weights
from engine.command_line import read_config, sensors_values
from engine.frames.sources import FrameSource, Predicted, Recordings, ViewFrame
from engine.number_options import count, number, parse_size, positive, whole_number
from engine.pictures.branch_figure import branch_tables, stack_pages
from engine.pictures.branch_maps import RenderedFrame, render_branches
from engine.pictures.figures import FigureOptions, Table, comparison_table, views_table
from engine.pictures.film import MAX_COLORS, check_film, write_film
from engine.pictures.film_frame import film_frame
from engine.pictures.frame_views import VIEWS
from engine.pictures.image_files import check_image_path, write_image
from engine.pictures.layers import FigureFrame, LayerOptions, hidden_labels, layers_of, open_peers
from engine.pictures.page import STYLES
from engine.prediction.options import add_source_options, build_source, load_predictor
from utils.console import run_script, say, start_logging
from utils.labels import label_set
from utils.progress import with_progress

FIGURES = {
    "views": VIEWS,
    "compare": ("front",),
    "branches": VIEWS,
    "film": ("driver",),
}
"""Kinds of figures and their default views."""
LABELS = ("occupancy",)
"""Fields to read besides those of the sensors."""


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figure", choices=FIGURES, help="kind of figure")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH",
        help="output folder (views, branches) or file (compare, film)")  # fmt: skip
    add_source_options(parser)
    _add_content(parser.add_argument_group("content"))
    _add_looks(parser.add_argument_group("appearance"))
    return parser.parse_args(argv)


def _add_content(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--compare", nargs="+", default=[], metavar="NAME=DIR",
        help="predictions of other methods, DIR/STEM.npy")  # fmt: skip
    add("--name", default="Prediction", metavar="NAME",
        help="title of the prediction (default: Prediction)")  # fmt: skip
    add(
        "--label-name",
        default="Label",
        metavar="NAME",
        help="title of the label, such as 'Ground truth' (default: Label)",
    )
    add("--rows", nargs="+", default=[], metavar="NAME",
        help="compare: title of each frame (default: its scene)")  # fmt: skip
    add("--limit", type=whole_number(0), metavar="N",
        help="draw N frames, evenly spaced (default: 0, all; compare: 4)")  # fmt: skip
    add("--views", nargs="+", choices=VIEWS, help="views to draw (default: all; "
        "compare: front; film: driver)")  # fmt: skip
    add("--camera", type=whole_number(0), default=0, metavar="N", help="camera of the front "
        "view (default: 0)")  # fmt: skip
    add("--errors", action=argparse.BooleanOptionalAction,
        help="draw the errors of predictions (default: only film without --compare)")  # fmt: skip
    add("--scores", action="store_true", help="show IoU and mIoU of each prediction")
    add("--no-input", action="store_true", help="hide the camera image and the points")
    add("--no-ground", action="store_true", help="hide the ground classes, such as terrain")
    add("--hide", nargs="+", default=[], metavar="CLASS", help="classes to hide")
    add("--only-scored", action="store_true", help="hide predictions where the label is ignored")


def _add_looks(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--width", type=count, default=1600, metavar="PX", help="page width (default: 1600)")
    add("--scale", type=number(0.25, 8), default=1.0, metavar="K",
        help="scale factor of the resolution, 2 or 3 for print (default: 1)")  # fmt: skip
    add("--background", choices=sorted(STYLES), default="white",
        help="background color (default: white)")  # fmt: skip
    add("--format", choices=("png", "jpg"), default="png", help="page format (default: png)")
    add("--title", metavar="TEXT",
        help="page title (default: scene and stem; '': none)")  # fmt: skip
    add("--panels", type=Path, metavar="DIR", help="also write each panel to a file in DIR")
    add("--size", type=parse_size, default=(1280, 720), metavar="WxH",
        help="video size (default: 1280x720)")  # fmt: skip
    add(
        "--fps",
        type=positive,
        default=4.0,
        metavar="N",
        help="video frames per second (default: 4)",
    )
    add("--colors", type=whole_number(2, MAX_COLORS), default=MAX_COLORS, metavar="N",
        help="palette size of a GIF; 64 halves the file size (default: 256)")  # fmt: skip
    add("--stride", type=count, default=1, metavar="N",
        help="branches: render every N-th pixel (default: 1)")  # fmt: skip


def main(args: argparse.Namespace) -> None:
    """Draw the figures.

    Raises:
        ValueError: If a number is out of range, or options do not go together.
    """
    start_logging()
    draw = {"views": _views, "compare": _compare, "branches": _branches, "film": _film}
    draw[args.figure](args)


def _views(args: argparse.Namespace) -> None:
    options = figure_options(args)
    for frame in frames_of(args, build_source(args, annotations=LABELS)):
        table = views_table(frame, options)
        _write(args, args.out / f"{frame.sample.stem}.{args.format}", [table], options)
    say(f"pages in {args.out}")


def _compare(args: argparse.Namespace) -> None:
    options = figure_options(args)
    check_image_path(args.out)
    frames = list(frames_of(args, build_source(args, annotations=LABELS)))
    _write(args, args.out, [comparison_table(frames, options)], options)
    say(f"{args.out}: {', '.join(frame.sample.stem for frame in frames)}")


def _branches(args: argparse.Namespace) -> None:
    if args.resume_from is None or args.pred is not None:
        raise ValueError("branches are rendered by a network: pass --resume-from, not --pred")
    options, weights = figure_options(args), read_weights(args.resume_from)
    cfg = read_config(args, sensors_values(args), weights=weights)
    labels = label_set(cfg.labels)
    network = load_predictor(args, cfg, weights).network
    source = Recordings(cfg, args.split, stems=args.stems, scene=args.scene, annotations=LABELS)
    rendered: dict[str, RenderedFrame] = {}

    def predict(frame: ViewFrame) -> ViewFrame:
        sample = frame.sample
        shown = render_branches(
            network,
            sample,
            camera=args.camera,
            stride=args.stride,
            num_gaussians=args.gaussians,
        )
        rendered[sample.stem] = shown
        return ViewFrame(sample, Predicted(shown.occupancy))

    for frame in frames_of(args, source, predict):
        stem = frame.sample.stem
        tables = branch_tables(frame, rendered.pop(stem), labels, options)
        _write(args, args.out / f"{stem}.{args.format}", tables, options)
    say(f"pages in {args.out}")


def _film(args: argparse.Namespace) -> None:
    options = figure_options(args)
    check_film(args.out, args.size, args.fps, colors=args.colors)
    if args.panels is not None:
        raise ValueError("--panels cannot be used with film: choose views or compare")
    source = build_source(args, annotations=LABELS)
    count = len(chosen(source, args))
    codec = write_film(
        args.out,
        (
            film_frame(frame, number / count, args.size, options)
            for number, frame in enumerate(frames_of(args, source), 1)
        ),
        fps=args.fps,
        colors=args.colors,
    )
    say(f"{args.out}: {count} frames, {count / args.fps:.1f} s, {codec}")


def figure_options(args: argparse.Namespace) -> FigureOptions:
    """Build the figure options from the command line.

    Raises:
        ValueError: If an option is invalid for the figure.
    """
    if args.rows and args.figure != "compare":
        raise ValueError(f"--rows can only be used with compare, not with {args.figure}")
    return FigureOptions(
        views=tuple(args.views or FIGURES[args.figure]),
        width=args.width,
        style=STYLES[args.background]._replace(scale=args.scale),
        camera=args.camera,
        inputs=not args.no_input,
        scores=args.scores,
        title=args.title,
        row_names=tuple(args.rows),
    )


def chosen(source: FrameSource, args: argparse.Namespace) -> list[int]:
    """Return the indices of the frames to draw.

    Raises:
        ValueError: If the limit is negative.
    """
    limit = args.limit
    if limit is None:
        limit = 4 if args.figure == "compare" and not args.stems else 0
    return spread(range(len(source.stems)), limit)


def frames_of(
    args: argparse.Namespace,
    source: FrameSource,
    predict: Callable[[ViewFrame], ViewFrame] = lambda frame: frame,
) -> Iterator[FigureFrame]:
    """Yield the frames to draw, with the layers to compare."""
    is_single = args.figure == "film" and not args.compare
    content = LayerOptions(
        name=args.name,
        label_name=args.label_name,
        peers=open_peers(args.compare, source.grid, source.labels),
        errors=is_single if args.errors is None else args.errors,
        hidden=hidden_labels(args.hide, source.labels, ground=args.no_ground),
        only_scored=args.only_scored,
    )
    indices = chosen(source, args)
    frames = (predict(source.read(index)) for index in indices)
    shown = with_progress(frames, args.figure, len(indices), facts=lambda frame: frame.sample.stem)
    for frame in shown:
        yield layers_of(frame, source.grid, source.labels, content)


def _write(
    args: argparse.Namespace, path: Path, tables: Sequence[Table], options: FigureOptions
) -> None:
    write_image(path, stack_pages([table.page(options.style) for table in tables], options.style))
    if args.panels is not None:
        for table in tables:
            table.write_panels(args.panels)


if __name__ == "__main__":
    arguments = parse_arguments()
    run_script(lambda: main(arguments))
