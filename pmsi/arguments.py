"""What each subcommand takes: a function for each, which adds its arguments to a parser.

Flags of tasks come from the fields of their configs.
"""

import argparse
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from pmsi.config import CONFIGS, TrainConfig, options_of
from pmsi.flags import add_flags, flag, folder, path, place, whole
from pmsi.launchers import LAUNCHERS
from pmsi.presets import PRESETS
from pmsi.runs import default_root

TRAINED = "Training run (its id, or how it begins)."


def _runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", type=folder, default=default_root(), metavar="DIR", help="Runs folder [$PMSI_RUNS, else runs]."
    )


def _shared(parser: argparse.ArgumentParser, name: str, help: str, **options: Any) -> None:
    """Add a flag that means what the config's field ``name`` means: its default and its words are the field's."""
    about = next(about for about in fields(TrainConfig) if about.name == name)
    words = tuple(options_of(about) or ())
    listed = f" ({' | '.join(words)})" if words else ""
    options |= {"choices": words} if words else {}
    parser.add_argument(flag(name), default=about.default, help=f"{help} [{about.default}]{listed}.", **options)


def _preset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", metavar="NAME", help=f"Start from a preset ({' | '.join(PRESETS)}); other flags change it."
    )


def task(task: str, of: str | None = None) -> Callable[[argparse.ArgumentParser], None]:
    """Return what adds a task's flags, and the runs that it works on (argparse's ``nargs``)."""

    def add(parser: argparse.ArgumentParser) -> None:
        if of is not None:
            parser.add_argument("of", nargs=None if of == "1" else of, metavar="RUN", help=TRAINED)
        if task == TrainConfig.task:
            _preset(parser)
        add_flags(parser, CONFIGS[task])
        _runs(parser)
        _queue(parser)

    return add


def _queue(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--queue", action="store_true", help="Put it into the queue and return; else work on it here.")
    help = f"Whose queue ({' | '.join(LAUNCHERS)}); means --queue [local]."
    parser.add_argument("--launcher", choices=tuple(LAUNCHERS), metavar="NAME", help=help)


def mosaic(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=path, metavar="IMAGE", help="Picture to cut.")
    parser.add_argument("--r", type=whole(0, 8), default=3, metavar="N", help="Recursions, 0 to 8 [3].")
    _shared(parser, "seed", "Seed of the layout", type=whole(0, 2**31 - 1), metavar="N")
    size = TrainConfig().image_size
    parser.add_argument(
        "--size", type=whole(1, 4096), default=size, metavar="N", help=f"Side in pixels, a multiple of 2^r [{size}]."
    )
    _shared(parser, "permutation", "One of the 24 orders of four patches, or of the six 4-cycles", metavar="NAME")
    parser.add_argument(
        "--strip", action="store_true", help="Show r = 0, 1, …, N side by side with borders; else G(p, N) alone."
    )
    parser.add_argument("--layout", type=path, metavar="FILE", help="Write the layout as JSON too.")
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help="Picture to write (.png, .jpg, …).")


def predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    parser.add_argument("images", nargs="+", type=path, metavar="IMAGE", help="Pictures to recognise.")
    parser.add_argument("--top", type=whole(1, 10**6), default=5, metavar="N", help="Classes shown for each head [5].")
    _shared(parser, "device", "Where to compute", metavar="NAME")
    _runs(parser)


def explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    parser.add_argument("image", type=path, metavar="IMAGE", help="Picture to explain.")
    parser.add_argument("--head", metavar="NAME", help="Output to explain: S3, S4, concat, mix … [the primary one].")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="Class to explain [the one predicted].")
    parser.add_argument(
        "--out", type=folder, required=True, metavar="DIR", help="Folder for the pictures and maps.json."
    )
    _shared(parser, "device", "Where to compute", metavar="NAME")
    _runs(parser)


def runs(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help in {
        "list": "All runs, newest first.",
        "show": "One run: its state, settings, results and the command that repeats it.",
        "stop": "Ask a run to stop; it writes a checkpoint first.",
        "resume": "Go on with a run that was stopped, interrupted or failed.",
    }.items():
        action = actions.add_parser(name, help=help, description=help)
        if name != "list":
            action.add_argument("run", metavar="RUN", help="Run (its id, or how it begins).")
        if name == "resume":
            _queue(action)
        if name in ("list", "show"):
            action.add_argument("--json", action="store_true", help="Print JSON.")
        _runs(action)


def data(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="The data sets that can be read.", description="The data sets that can be read.")
    for name, help in {
        "check": "Read a data set, look at every image, and say what is in it and what is wrong with it.",
        "preview": "Write a contact sheet: some images of each class.",
    }.items():
        action = actions.add_parser(name, help=help, description=help)
        _shared(action, "dataset", "Data set", metavar="NAME")
        action.add_argument(
            "--data", type=place, metavar="DIR", help="Its folder (or a zip, for folder), where it is not built in."
        )
        if name == "check":
            action.add_argument("--json", action="store_true", help="Print JSON.")
        else:
            action.add_argument(
                "--columns", type=whole(1, 50), default=6, metavar="N", help="Images of each class [6]."
            )
            action.add_argument("--out", type=path, required=True, metavar="FILE", help="Picture to write.")


def info(parser: argparse.ArgumentParser) -> None:
    start = TrainConfig()
    for name, kind, default, help in (
        ("method", str, None, "Methods [all]."),
        ("backbone", str, [start.backbone], f"Networks that make the stage maps, timm:NAME too [{start.backbone}]."),
        ("image_size", int, [start.image_size], f"Sides of the image, in pixels [{start.image_size}]."),
        ("smooth_conv", str, None, "Smooth conv blocks of the methods that have them [all]."),
    ):
        metavar = "N" if kind is int else "NAME"
        parser.add_argument(flag(name), nargs="+", type=kind, default=default, metavar=metavar, help=help)
    _shared(parser, "stage_num", "StageNum: how many of the last stages take part", type=int, metavar="N")
    for name, help in {"channels": "c [half of the last stage's channels].", "hidden": "h [c/2]."}.items():
        parser.add_argument(flag(name), type=int, metavar="N", help=help)
    parser.add_argument("--classes", type=whole(2, 10**6), default=200, metavar="N", help="Classes [200, as in CUB].")
    _shared(parser, "batch_size", "Images in a batch, which the memory of training goes by", type=int, metavar="N")
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def tables(parser: argparse.ArgumentParser) -> None:
    from pmsi.campaign.command import read_set
    from pmsi.launchers import LAUNCHERS
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
    _preset(parser)
    add_flags(parser, TrainConfig)
    _runs(parser)


def app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=whole(1, 65535), default=8501, metavar="N", help="Port [8501].")
    _runs(parser)


def execute(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=folder, metavar="FOLDER", help="Run folder.")


def runner(parser: argparse.ArgumentParser) -> None:
    _runs(parser)
