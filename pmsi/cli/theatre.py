"""Animate what a run answered for six test images while it was trained, and where its stages looked."""

import argparse

from pmsi.base.errors import ConfigError, RunError
from pmsi.cli.flags import TRAINED, add_runs, path
from pmsi.cli.output import write_output
from pmsi.pictures.theatre import animation
from pmsi.runs import Run
from pmsi.runs.labels import labels_of
from pmsi.runs.theatre import Theatre, theatre_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    parser.add_argument("--beside", metavar="RUN", help="Another run of the same test images, below it.")
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help="The animation (.gif).")
    help = "Maps of one scale of colours: image (those of an image at a moment) or map (each its own) [image]."
    parser.add_argument("--scale", default="image", choices=("image", "map"), help=help)
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Write the animation."""
    if typed.out.suffix.lower() != ".gif":
        raise ConfigError(f"--out {typed.out}: expected a name that ends in .gif.")
    runs = [Run.open(typed.runs, id) for id in (typed.run, typed.beside) if id]
    theatres = [kept(one) for one in runs]
    if len({(one.keys, one.pictures) for one in theatres}) > 1:
        raise RunError(f"Run {runs[0].id} and run {runs[1].id} were tested on other images. Leave --beside out.")
    titles = [f"{name} · {one.id[-4:]}" if (name := labels_of(one).name) else one.id for one in runs]
    write_output(typed.out, animation(dict(zip(titles, theatres, strict=True)), typed.scale))
    print(typed.out)
    return 0


def kept(run: Run) -> Theatre:
    """Return the theatre of a run; RunError if it kept none."""
    theatre = theatre_of(run)
    if theatre is None or not theatre.moments:
        raise RunError(
            f"Run {run.id} has kept no answers while it was trained: it is older than that, or was trained with "
            "--no-theatre. Train it again to see it learn."
        )
    return theatre
