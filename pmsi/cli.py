"""The command line: one subcommand for each task, and each only a thin shell around a plain function.

What a subcommand does is in `pmsi.commands`; this module parses, and turns errors into one line. Flags of tasks come
from the fields of their configs.
"""

import argparse
import difflib
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from pmsi import __version__, commands, reports
from pmsi.config import CONFIGS, TrainConfig, options_of
from pmsi.errors import PMSIError
from pmsi.flags import add_flags, flag, folder, path, place, whole
from pmsi.launchers import LAUNCHERS
from pmsi.presets import PRESETS
from pmsi.runs import default_root

Arguments = argparse.Namespace
FAILED, INTERRUPTED = 2, 130
STATUSES = "Exit status: 0 done; 1 the run was stopped or failed; 2 an error, in one line on stderr; 130 interrupted."


@dataclass(frozen=True)
class Command:
    """A subcommand: its one-line help, its arguments, and what it calls; ``run`` returns the exit status."""

    help: str
    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Arguments], int]


class Parser(argparse.ArgumentParser):
    """A parser that puts what is wrong in one line, and takes no flag for another one that it begins."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown words here, where the subcommand and its flags are known."""
        typed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            known = [name for action in self._actions for name in action.option_strings]
            close = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
            hint = f". Did you mean {close[0]}?" if close else ""
            self.error(f"unknown argument {unknown[0]!r}{hint}")
        return typed, unknown

    def error(self, message: str) -> NoReturn:
        end = "" if message.endswith("?") else "."
        self.exit(FAILED, f"pmsi: {_one_line(message)}{end} See: {self.prog} --help\n")


TRAINED = "Training run (its id, or how it begins)."


def _one_line(text: object) -> str:
    return " ".join(line.strip() for line in str(text).splitlines())


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


def _task(task: str, of: str | None = None) -> Callable[[argparse.ArgumentParser], None]:
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


def _mosaic(parser: argparse.ArgumentParser) -> None:
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


def _predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    parser.add_argument("images", nargs="+", type=path, metavar="IMAGE", help="Pictures to recognise.")
    parser.add_argument("--top", type=whole(1, 10**6), default=5, metavar="N", help="Classes shown for each head [5].")
    _shared(parser, "device", "Where to compute", metavar="NAME")
    _runs(parser)


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    parser.add_argument("image", type=path, metavar="IMAGE", help="Picture to explain.")
    parser.add_argument("--head", metavar="NAME", help="Output to explain: S3, S4, concat, mix … [the primary one].")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="Class to explain [the one predicted].")
    parser.add_argument(
        "--out", type=folder, required=True, metavar="DIR", help="Folder for the pictures and maps.json."
    )
    _shared(parser, "device", "Where to compute", metavar="NAME")
    _runs(parser)


def _runs_command(parser: argparse.ArgumentParser) -> None:
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


def _data(parser: argparse.ArgumentParser) -> None:
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


def _info(parser: argparse.ArgumentParser) -> None:
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


def _tables(parser: argparse.ArgumentParser) -> None:
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


def _app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=whole(1, 65535), default=8501, metavar="N", help="Port [8501].")
    _runs(parser)


def _execute(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=folder, metavar="FOLDER", help="Run folder.")


COMMANDS: dict[str, Command] = {
    "mosaic": Command("Cut a picture into a recursive mosaic G(p, r).", _mosaic, commands.mosaic),
    "train": Command("Train a model.", _task("train"), commands.task),
    "evaluate": Command("Accuracy of every head of a trained model.", _task("evaluate", "1"), commands.task),
    "predict": Command("Recognise pictures; prints JSON.", _predict, commands.predict),
    "robustness": Command("Accuracy on perturbed images.", _task("robustness", "+"), commands.task),
    "explain": Command("Show where the last three stages look (Grad-CAM).", _explain, commands.explain),
    "maps": Command("Where a trained model looks, in numbers.", _task("maps", "1"), commands.task),
    "runs": Command("List, show, stop and resume runs.", _runs_command, commands.runs),
    "data": Command("List, check and preview data sets.", _data, commands.data),
    "info": Command("Parameters, multiply-adds and memory of each method.", _info, reports.info),
    "tables": Command("Run a table of the paper and lay it out beside its printed numbers.", _tables, commands.tables),
    "app": Command("Open the lab in the browser.", _app, commands.app),
    "execute": Command("Work on a run folder here (what a launcher calls).", _execute, commands.execute),
    "runner": Command("Serve the queue of a runs folder (what the local launcher calls).", _runs, commands.runner),
}


def make_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all subcommands; only ``chosen`` gets its arguments, which may need torch's tables."""
    parser = Parser(
        prog="pmsi",
        description="Fine-grained recognition with progressive multi-stage interactive training.",
        epilog=f"pmsi COMMAND --help shows its flags. {STATUSES}",
    )
    parser.add_argument("--version", action="version", version=f"pmsi {__version__}")
    subparsers = parser.add_subparsers(dest="task", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=command.help, description=command.help)
        if chosen in (None, name):
            command.add(subparser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status; an error of ours is one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show × gets a question mark
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115 (closed by the shell; print would use stdout)
    try:
        try:
            return _run(words)
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in the buffer goes nowhere, without complaint
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except PMSIError as error:
        return _failed(error)
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}.")


def _run(words: Sequence[str]) -> int:
    chosen = next((word for word in words if word in COMMANDS), "")
    typed = make_parser(chosen).parse_args(words)
    return COMMANDS[typed.task].run(typed)


def _failed(message: object) -> int:
    print(f"pmsi: {_one_line(message)}", file=sys.stderr)
    return FAILED
