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
            _ahead(parser)
        add_flags(parser, CONFIGS[task])
        _runs(parser)
        _queue(parser)

    return add


def _ahead(parser: argparse.ArgumentParser) -> None:
    """Add what ``train`` can be asked for in place of training."""
    parser.add_argument("--dry-run", action="store_true", help="Say about how long it takes here; start nothing.")
    parser.add_argument("--json", action="store_true", help="With --dry-run: print JSON.")
    help = "Picture of what the first batch shows in each phase, to be written; start nothing."
    parser.add_argument("--first-batch", type=path, metavar="FILE", help=help)


def _queue(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--queue", action="store_true", help="Put it into the queue and return; else work on it here.")
    help = f"Whose queue ({' | '.join(LAUNCHERS)}); means --queue [local]."
    parser.add_argument("--launcher", choices=tuple(LAUNCHERS), metavar="NAME", help=help)


def mosaic(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image", type=path, metavar="IMAGE", help="Picture to cut; with --dataset, an image's key there."
    )
    parser.add_argument("--dataset", metavar="NAME", help="Data set of the image, such as plumage.")
    parser.add_argument("--data", type=place, metavar="DIR", help="Its folder, where it is not built in.")
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
    parser.add_argument("--no-borders", dest="borders", action="store_false", help="Draw no borders of patches.")
    parser.add_argument("--layout", type=path, metavar="FILE", help="Write the layout as JSON too.")
    help = "Picture to write (.png, .jpg, …), or the recursion as it happens (.gif)."
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help=help)


def predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    parser.add_argument("images", nargs="+", type=path, metavar="IMAGE", help="Pictures to recognise.")
    parser.add_argument("--top", type=whole(1, 10**6), default=5, metavar="N", help="Classes shown for each head [5].")
    _shared(parser, "device", "Where to compute", metavar="NAME")
    _runs(parser)


def explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    parser.add_argument("images", nargs="+", type=path, metavar="IMAGE", help="Pictures to explain.")
    parser.add_argument("--beside", nargs="+", default=[], metavar="RUN", help="More runs, for --figure.")
    parser.add_argument("--head", metavar="NAME", help="Output to explain: S3, S4, concat, mix … [the primary one].")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="Class to explain [the one predicted].")
    parser.add_argument("--method", default="gradcam", metavar="NAME", help="How maps are made [gradcam].")
    parser.add_argument("--out", type=folder, metavar="DIR", help="Folder for the pictures and maps.json of one image.")
    parser.add_argument(
        "--figure", type=path, metavar="FILE", help="All images and runs as one figure for print (.png or .svg)."
    )
    parser.add_argument("--scale", default="map", metavar="NAME", help="Maps of one scale: map, image or all [map].")
    _shared(parser, "device", "Where to compute", metavar="NAME")
    _runs(parser)


def runs(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, (help, many) in {
        "list": ("All runs, newest first.", None),
        "show": ("One run: its state, settings, results and the command that repeats it.", ""),
        "stop": ("Ask a run to stop; it writes a checkpoint first.", ""),
        "resume": ("Go on with a run that was stopped, interrupted or failed.", ""),
        "compare": ("Training runs beside each other: accuracies, time, and settings that differ.", "+"),
        "label": ("Name, tag or annotate a run; prints its labels.", ""),
        "delete": ("Delete runs; they can be restored until they are purged.", "+"),
        "restore": ("Bring deleted runs back; without a name, list them.", "*"),
        "purge": ("Remove deleted runs for good, by default all of them.", "*"),
    }.items():
        action = actions.add_parser(name, help=help, description=help)
        if many is not None:
            action.add_argument("run", nargs=many or None, metavar="RUN", help="Run (its id, or how it begins).")
        if name in ("list", "show", "compare"):
            action.add_argument("--json", action="store_true", help="Print JSON.")
        _OF_ACTION.get(name, lambda parser: None)(action)
        _runs(action)


def _list(parser: argparse.ArgumentParser) -> None:
    from pmsi.keeping.listing import ORDERS

    for name, help in {
        "text": "Only runs in whose id, name, tags, note or settings these words occur.",
        "state": "Only runs in this state.",
        "method": "Only training runs of this method.",
        "dataset": "Only training runs on this data set.",
        "tag": "Only runs with this tag.",
    }.items():
        parser.add_argument(flag(name), default="", metavar=name.upper(), help=help)
    help = f"Order [newest] ({' | '.join(ORDERS)})."
    parser.add_argument("--sort", choices=tuple(ORDERS), default="newest", metavar="NAME", help=help)


def _label(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", metavar="TEXT", help="Name that is shown for the run; empty takes it away.")
    parser.add_argument("--tag", dest="tags", nargs="*", metavar="TAG", help="Its tags, in place of those that it has.")
    parser.add_argument("--note", metavar="TEXT", help="Note; empty takes it away.")


def _head(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--head", metavar="NAME", help="Output whose accuracy is told [each run's primary one].")


def _days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=whole(0, 36500), default=0, metavar="N", help="Keep the last N days' [0].")


_OF_ACTION = {"list": _list, "resume": _queue, "compare": _head, "label": _label, "purge": _days}
"""What an action of ``pmsi runs`` takes besides runs."""


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
    help = "Copy class folders, or a zip of them, into a new data set; every picture is looked at."
    action = actions.add_parser("import", help=help, description=help)
    action.add_argument("source", type=path, metavar="SOURCE", help="Folder of class folders, or a zip of it.")
    action.add_argument("--name", required=True, metavar="NAME", help="Name of the new data set, not yet taken.")
    action.add_argument("--into", type=folder, metavar="DIR", help="Where data sets are [$PMSI_DATASETS, else data].")
    help = "What a training run got wrong: the hardest test images, and the classes that it confuses most."
    action = actions.add_parser("mistakes", help=help, description=help)
    action.add_argument("run", metavar="RUN", help=TRAINED)
    action.add_argument("--head", metavar="NAME", help="Output: S3, concat, mix … [the primary one].")
    action.add_argument("--count", type=whole(1, 10**6), default=10, metavar="N", help="Lines of each list [10].")
    action.add_argument("--json", action="store_true", help="Print JSON.")
    _runs(action)


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


def grid(parser: argparse.ArgumentParser) -> None:
    help = "Setting and the values that it takes; one or two of them, such as lr_new=0.003,0.01 seed=0,1,2."
    parser.add_argument("--vary", nargs="+", action="extend", required=True, metavar="NAME=A,B", help=help)
    parser.add_argument("--dry-run", action="store_true", help="Say how many runs and how long; start nothing.")
    parser.add_argument("--json", action="store_true", help="With --dry-run: print JSON.")
    help = f"Whose queue ({' | '.join(LAUNCHERS)}) [local]."
    parser.add_argument("--launcher", choices=tuple(LAUNCHERS), metavar="NAME", help=help)
    _preset(parser)
    add_flags(parser, TrainConfig)
    _runs(parser)


def export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    help = "File to write: .safetensors (weights, for this program) or .pt2 (a program that needs torch alone)."
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help=help)
    parser.add_argument("--half", action="store_true", help="Round the weights to half precision: half the size.")
    _runs(parser)


def demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=folder, required=True, metavar="DIR", help="Folder that is made or replaced.")
    _shared(parser, "weights", "Weights to start from: imagenet, none, or a file", metavar="FILE")
    _runs(parser)


def report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="Sweep (its id, or how it begins).")
    help = "File to write: .html, or .csv with a line for each run, cell and output."
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help=help)
    parser.add_argument("--per-image", action="store_true", help="With .csv: a line for each image and run.")
    parser.add_argument("--no-pictures", dest="pictures", action="store_false", help="With .html: open no data set.")
    _runs(parser)


def app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=whole(1, 65535), default=8501, metavar="N", help="Port [8501].")
    _runs(parser)


def execute(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=folder, metavar="FOLDER", help="Run folder.")


def runner(parser: argparse.ArgumentParser) -> None:
    text = "Device whose queue is served: cpu, or a GPU as CUDA_VISIBLE_DEVICES names it [cpu]."
    parser.add_argument("--device", default="cpu", metavar="NAME", help=text)
    _runs(parser)
