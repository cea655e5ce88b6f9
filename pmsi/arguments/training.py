"""What the subcommands take that make runs, and those that look ahead: their flags are fields of configs."""

import argparse
from collections.abc import Callable

from pmsi.arguments.shared import TRAINED, add_preset, add_queue, add_runs
from pmsi.config import CONFIGS, ExplainConfig, RobustnessConfig, TrainConfig
from pmsi.flags import add_flags, flag, path, whole
from pmsi.launchers import LAUNCHERS


def task(task: str, of: str | None = None) -> Callable[[argparse.ArgumentParser], None]:
    """Return what adds a task's flags, and the runs that it works on (argparse's ``nargs``)."""

    def add(parser: argparse.ArgumentParser) -> None:
        if of is not None:
            parser.add_argument("of", nargs=None if of == "1" else of, metavar="RUN", help=TRAINED)
        if task == TrainConfig.task:
            add_preset(parser)
            _first_batch(parser)
        if task in (TrainConfig.task, RobustnessConfig.task, ExplainConfig.task):
            _ahead(parser)
        add_flags(parser, CONFIGS[task])
        add_runs(parser)
        add_queue(parser)

    return add


def _ahead(parser: argparse.ArgumentParser) -> None:
    """Add what a task can be asked for in place of working on it."""
    parser.add_argument("--dry-run", action="store_true", help="Say about how long it takes here; start nothing.")
    parser.add_argument("--json", action="store_true", help="With --dry-run: print JSON.")


def _first_batch(parser: argparse.ArgumentParser) -> None:
    help = "Picture of what the first batch shows in each phase, to be written; start nothing."
    parser.add_argument("--first-batch", type=path, metavar="FILE", help=help)


def phases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", metavar="RUN", help="Training run whose settings flags change [the paper's].")
    parser.add_argument("--epoch", type=whole(1, 10**6), default=1, metavar="N", help="Epoch, from 1 [1].")
    parser.add_argument("--batch", type=whole(1, 10**9), default=1, metavar="N", help="Batch of the epoch, from 1 [1].")
    help = "In place of --batch: the training image of this key alone, in the batch in which it comes."
    parser.add_argument("--image", metavar="KEY", help=help)
    parser.add_argument("--most", type=whole(1, 10**6), default=8, metavar="N", help="Images of the batch [8].")
    parser.add_argument(
        "--out", type=path, required=True, metavar="FILE", help="Picture to write: a row for each phase."
    )
    add_preset(parser)
    add_flags(parser, TrainConfig)
    add_runs(parser)


def grid(parser: argparse.ArgumentParser) -> None:
    help = "Setting and the values that it takes; one or two of them, such as lr_new=0.003,0.01 seed=0,1,2."
    parser.add_argument("--vary", nargs="+", action="extend", required=True, metavar="NAME=A,B", help=help)
    parser.add_argument("--dry-run", action="store_true", help="Say how many runs and how long; start nothing.")
    parser.add_argument("--json", action="store_true", help="With --dry-run: print JSON.")
    help = f"Whose queue ({' | '.join(LAUNCHERS)}) [local]."
    parser.add_argument("--launcher", choices=tuple(LAUNCHERS), metavar="NAME", help=help)
    add_preset(parser)
    add_flags(parser, TrainConfig)
    add_runs(parser)


def tables(parser: argparse.ArgumentParser) -> None:
    from pmsi.campaign.command import read_set
    from pmsi.tables import EPOCHS, FORMATS, TABLES

    parser.add_argument("number", choices=tuple(TABLES), metavar="NUMBER", help=f"Table: {', '.join(TABLES)}.")
    parser.add_argument("--seeds", type=whole(1, 1000), default=1, metavar="N", help="Seeds, from --seed on [1].")
    sets = "Data sets of Tables 1, 6, 7 and fig1: cub=DIR cars=DIR aircraft=DIR … [the one of --dataset]."
    parser.add_argument("--sets", type=read_set, nargs="+", metavar="NAME=DIR", help=sets)
    parser.add_argument("--dry-run", action="store_true", help="Say how many runs and how long; start nothing.")
    parser.add_argument("--show", action="store_true", help="Lay out what there is; start nothing.")
    for name, words, help in (
        ("format", FORMATS, "How the table is laid out"),
        ("epoch", EPOCHS, "Epoch whose accuracy counts"),
        ("launcher", LAUNCHERS, "Who starts the runs"),
    ):
        text = f"{help} [{next(iter(words))}] ({' | '.join(words)})."
        parser.add_argument(flag(name), choices=tuple(words), default=next(iter(words)), metavar="NAME", help=text)
    parser.add_argument("--out", type=path, metavar="FILE", help="Write the table there; else it is printed.")
    add_preset(parser)
    add_flags(parser, TrainConfig)
    add_runs(parser)
