"""The command line: one subcommand for each task, and each only a thin shell around a plain function.

What a subcommand takes is in `pmsi.arguments`, what it does in `pmsi.commands`; this module has the table of them,
parses, and turns errors into one line.
"""

import argparse
import difflib
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pmsi import __version__, arguments
from pmsi.base.errors import PMSIError
from pmsi.cli import info as reports
from pmsi.commands import data, explaining, grid, images, programs, runs, shipping, sweeps

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


def _one_line(text: object) -> str:
    return " ".join(line.strip() for line in str(text).splitlines())


COMMANDS: dict[str, Command] = {
    "mosaic": Command("Cut a picture into a recursive mosaic G(p, r).", arguments.mosaic, images.mosaic),
    "phases": Command("Show a batch as training shows it in each phase.", arguments.phases, grid.phases),
    "train": Command("Train a model.", arguments.task("train"), runs.task),
    "evaluate": Command("Accuracy of every head of a trained model.", arguments.task("evaluate", "1"), runs.task),
    "predict": Command("Recognise pictures; prints JSON.", arguments.predict, images.predict),
    "robustness": Command("Accuracy on perturbed images.", arguments.task("robustness", "+"), runs.task),
    "explain": Command("Show where the last three stages look (Grad-CAM).", arguments.explain, explaining.explain),
    "maps": Command("Where a trained model looks, in numbers.", arguments.task("maps", "1"), runs.task),
    "grid": Command("Train for each value of one or two settings, as a queue.", arguments.grid, grid.grid),
    "runs": Command("List, show, compare, label, delete, stop and resume runs.", arguments.runs, runs.runs),
    "data": Command(
        "List, check, preview and import data sets; what a run got wrong; the cache.", arguments.data, data.data
    ),
    "info": Command("What each method costs, and what the stages see.", arguments.info, reports.info),
    "tables": Command("Run a table of the paper, beside its printed numbers.", arguments.tables, programs.tables),
    "report": Command("Write the report of a sweep.", arguments.report, sweeps.report),
    "export": Command("Write a trained model as one file.", arguments.export, shipping.export),
    "demo": Command("Make the runs that come with the program.", arguments.demo, shipping.demo),
    "app": Command("Open the lab in the browser.", arguments.app, programs.app),
    "execute": Command("Work on a run folder here (what a launcher calls).", arguments.execute, runs.execute),
    "runner": Command("Serve a queue of a runs folder (what the local launcher calls).", arguments.runner, runs.runner),
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


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status; an error of ours is one line on stderr."""
    words = list(sys.argv[1:] if words is None else words)
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
