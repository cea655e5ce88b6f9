"""`pmsi tables`: runs what a table of the paper needs, and prints it beside the paper's numbers."""

import argparse
from pathlib import Path

from pmsi.cli.arguments import add_preset, add_runs
from pmsi.cli.flags import add_flags, path, whole
from pmsi.cli.output import write_output
from pmsi.config import TrainConfig
from pmsi.config.command import flag
from pmsi.runs.launchers import LAUNCHERS

HELP = "Run a table of the paper and print it beside the paper's numbers."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from pmsi.tables import EPOCHS, FORMATS, TABLES  # numpy and scipy, which pmsi --help does without

    parser.add_argument("number", choices=tuple(TABLES), metavar="NUMBER", help=f"Table: {', '.join(TABLES)}.")
    parser.add_argument("--seeds", type=whole(1, 1000), default=1, metavar="N", help="Seeds, from --seed on [1].")
    sets = "Data sets of Tables 1, 6, 7 and fig1: cub=DIR cars=DIR aircraft=DIR … [the one of --dataset]."
    parser.add_argument("--sets", type=read_set, nargs="+", metavar="NAME=DIR", help=sets)
    parser.add_argument("--dry-run", action="store_true", help="Print how many runs and about how long; start nothing.")
    parser.add_argument("--show", action="store_true", help="Print the table from the finished runs; start nothing.")
    for name, words, help in (
        ("format", FORMATS, "Format of the table"),
        ("epoch", EPOCHS, "Epoch whose accuracy counts"),
        ("launcher", LAUNCHERS, "Launcher of the runs"),
    ):
        text = f"{help} [{next(iter(words))}] ({' | '.join(words)})."
        parser.add_argument(flag(name), choices=tuple(words), default=next(iter(words)), metavar="NAME", help=text)
    parser.add_argument("--out", type=path, metavar="FILE", help="Write the table there; else it is printed.")
    add_preset(parser)
    add_flags(parser, TrainConfig)
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Run what a table of the paper needs, and print or write it."""
    from pmsi.cli.table_runs import tables_of  # numpy and scipy, which pmsi --help does without

    text, status = tables_of(typed)
    if typed.out and not typed.dry_run:
        write_output(typed.out, text)
        print(typed.out)
    else:
        print(text.rstrip("\n"))
    return status


def read_set(text: str) -> tuple[str, str | None]:
    """Return the name and folder of ``cub=DIR``; the folder of a built-in data set is None."""
    name, separator, place = text.partition("=")
    if not name or (separator and not place):
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=DIR, or NAME if the data set is built in")
    return name, str(Path(place).expanduser()) if place else None
