"""What the subcommands about runs and data sets take, by their actions."""

import argparse

from pmsi.arguments.shared import TRAINED, add_like, add_queue, add_runs
from pmsi.flags import flag, folder, path, place, whole


def runs(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, (help, many) in {
        "list": ("All runs, newest first, and those that come with the program.", None),
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
        add_runs(action)


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


_OF_ACTION = {"list": _list, "resume": add_queue, "compare": _head, "label": _label, "purge": _days}
"""What an action of ``pmsi runs`` takes besides runs."""


def data(parser: argparse.ArgumentParser) -> None:
    from pmsi.mistakes import RANKINGS

    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="The data sets that can be read.", description="The data sets that can be read.")
    for name, help in {
        "check": "Read a data set, look at every image, and say what is in it and what is wrong with it.",
        "preview": "Write a contact sheet: some images of each class.",
        "images": "List the images of a data set: split, class, and the key that names an image.",
    }.items():
        action = actions.add_parser(name, help=help, description=help)
        add_like(action, "dataset", "Data set", metavar="NAME")
        action.add_argument(
            "--data", type=place, metavar="DIR", help="Its folder, or a zip or tar of it, where it is not built in."
        )
        add_like(action, "test_on", "Split of a folder that is tested on", metavar="NAME")
        add_like(action, "split", "How test images are drawn where a folder has no split", metavar="NAME")
        action.add_argument(
            "--name-encoding", metavar="NAME", help="Encoding of a zip's names, where it does not say it."
        )
        if name != "preview":
            action.add_argument("--json", action="store_true", help="Print JSON.")
        if name == "images":
            action.add_argument("--class", dest="class_name", metavar="NAME", help="Only those of this class.")
        if name == "preview":
            action.add_argument(
                "--columns", type=whole(1, 50), default=6, metavar="N", help="Images of each class [6]."
            )
            action.add_argument("--out", type=path, required=True, metavar="FILE", help="Picture to write.")
    help = "Copy class folders, or a zip of them, into a new data set; every picture is looked at."
    action = actions.add_parser("import", help=help, description=help)
    action.add_argument("source", type=path, metavar="SOURCE", help="Folder of class folders, or a zip or tar of it.")
    action.add_argument("--name-encoding", metavar="NAME", help="Encoding of a zip's names, where it does not say it.")
    action.add_argument("--name", required=True, metavar="NAME", help="Name of the new data set, not yet taken.")
    action.add_argument("--into", type=folder, metavar="DIR", help="Where data sets are [$PMSI_DATASETS, else data].")
    help = "What is kept between runs to be sooner: unpacked zips, decoded images, which images were checked."
    action = actions.add_parser("cache", help=help, description=f"{help} $PMSI_CACHE is its folder [~/.cache/pmsi].")
    action.add_argument("--clear", action="store_true", help="Remove all of it that no process uses.")
    help = "What a training run got wrong: the hardest test images, and the classes that it confuses most."
    action = actions.add_parser("mistakes", help=help, description=help)
    action.add_argument("run", metavar="RUN", help=TRAINED)
    action.add_argument("--head", metavar="NAME", help="Output: S3, concat, mix … [the primary one].")
    help = f"Which images come first ({' | '.join(RANKINGS)}) [hardest]."
    action.add_argument("--order", choices=tuple(RANKINGS), default="hardest", metavar="NAME", help=help)
    action.add_argument("--count", type=whole(1, 10**6), default=10, metavar="N", help="Lines of each list [10].")
    action.add_argument("--json", action="store_true", help="Print JSON.")
    add_runs(action)
