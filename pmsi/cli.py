"""The command line: one subcommand for each task, and each only a thin shell around a plain function.

What a subcommand does is in `pmsi.commands`; this module parses, and turns errors into one line. Flags of tasks come
from the fields of their configs.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pmsi import __version__, commands
from pmsi.config import CONFIGS, TrainConfig
from pmsi.data import DATASETS
from pmsi.errors import PMSIError
from pmsi.flags import add_flags
from pmsi.presets import PRESETS
from pmsi.runs import default_root

Arguments = argparse.Namespace
FAILED = 2
"""Exit status after an error that has a message; 1 is for a run that did not finish, 130 for an interruption."""


@dataclass(frozen=True)
class Command:
    """A subcommand: its one-line help, its arguments, and what it calls; ``run`` returns the exit status."""

    help: str
    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Arguments], int]


def _runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", type=Path, default=default_root(), metavar="DIR", help="Runs folder [$PMSI_RUNS, else runs]."
    )


def _task(task: str, of: str | None = None) -> Callable[[argparse.ArgumentParser], None]:
    """Return what adds a task's flags, and the runs that it works on (argparse's ``nargs``)."""

    def add(parser: argparse.ArgumentParser) -> None:
        if of is not None:
            parser.add_argument("of", nargs=None if of == "1" else of, metavar="RUN", help="Training run (its id).")
        if task == TrainConfig.task:
            parser.add_argument(
                "--preset", metavar="NAME", help=f"Start from a preset ({' | '.join(PRESETS)}); other flags change it."
            )
        add_flags(parser, CONFIGS[task])
        _runs(parser)
        parser.add_argument(
            "--queue", action="store_true", help="Put the run into the queue and return; else work on it here."
        )

    return add


def _mosaic(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, metavar="IMAGE", help="Picture to cut.")
    parser.add_argument("--r", type=int, default=3, metavar="N", help="Recursions [3].")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="Seed of the layout [0].")
    parser.add_argument("--size", type=int, default=448, metavar="N", help="Side in pixels [448].")
    parser.add_argument(
        "--permutation", default="uniform", metavar="NAME", help="uniform (24 orders) or cycle (six) [uniform]."
    )
    parser.add_argument(
        "--strip", action="store_true", help="Show r = 0, 1, …, N side by side with borders; else G(p, N) alone."
    )
    parser.add_argument("--layout", type=Path, metavar="FILE", help="Write the layout as JSON too.")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="Picture to write (.png, .jpg, …).")


def _predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="Training run (its id).")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="Pictures to recognise.")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="Classes shown for each head [5].")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu or cuda [auto].")
    _runs(parser)


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="Training run (its id).")
    parser.add_argument("image", type=Path, metavar="IMAGE", help="Picture to explain.")
    parser.add_argument(
        "--head", metavar="NAME", help="Output to explain: S3, S4, S5, concat, mix … [the primary one]."
    )
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="Class to explain [the one predicted].")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="Folder for the pictures and maps.json.")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu or cuda [auto].")
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
            action.add_argument("--queue", action="store_true", help="Put it into the queue; else work on it here.")
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
        action.add_argument(
            "--dataset", default="plumage", metavar="NAME", help=f"Data set [plumage] ({' | '.join(DATASETS)})."
        )
        action.add_argument("--data", metavar="DIR", help="Its folder.")
        if name == "check":
            action.add_argument("--json", action="store_true", help="Print JSON.")
        else:
            action.add_argument("--columns", type=int, default=6, metavar="N", help="Images of each class [6].")
            action.add_argument("--out", type=Path, required=True, metavar="FILE", help="Picture to write.")


def _app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8501, metavar="N", help="Port [8501].")
    _runs(parser)


def _execute(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="Run folder.")


COMMANDS: dict[str, Command] = {
    "mosaic": Command("Cut a picture into a recursive mosaic G(p, r).", _mosaic, commands.mosaic),
    "train": Command("Train a model.", _task("train"), commands.task),
    "evaluate": Command("Accuracy of every head of a trained model.", _task("evaluate", "1"), commands.task),
    "predict": Command("Recognise pictures; prints JSON.", _predict, commands.predict),
    "robustness": Command("Accuracy on perturbed images.", _task("robustness", "+"), commands.task),
    "explain": Command("Show where the last three stages look (Grad-CAM).", _explain, commands.explain),
    "runs": Command("List, show, stop and resume runs.", _runs_command, commands.runs),
    "data": Command("List, check and preview data sets.", _data, commands.data),
    "app": Command("Open the lab in the browser.", _app, commands.app),
    "execute": Command("Work on a run folder here (what a launcher calls).", _execute, commands.execute),
    "runner": Command("Serve the queue of a runs folder (what the local launcher calls).", _runs, commands.runner),
}


def make_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all subcommands; only ``chosen`` gets its arguments, which may need torch's tables."""
    parser = argparse.ArgumentParser(
        prog="pmsi", description="Fine-grained recognition with progressive multi-stage interactive training."
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
    chosen = next((word for word in words if word in COMMANDS), "")
    typed = make_parser(chosen).parse_args(words)
    try:
        return COMMANDS[typed.task].run(typed)
    except PMSIError as error:
        print(f"pmsi: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        return 130
