"""The command line: COMMANDS, the parser, and errors in one line on stderr."""

import argparse
import contextlib
import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from pmsi import __version__
from pmsi.base.errors import PMSIError
from pmsi.cli.output import escaped
from pmsi.config.command import in_flags

FAILED, INTERRUPTED = 2, 130
STATUSES = "Exit status: 0 done; 1 the run was stopped or failed; 2 an error, in one line on stderr; 130 interrupted."


class Parser(argparse.ArgumentParser):
    """A parser that prints errors in one line and accepts no abbreviated flags."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; exits with an error for an unknown one, with the closest flag of the subcommand."""
        typed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            known = [name for action in self._actions for name in action.option_strings]
            close = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
            hint = f". Did you mean {close[0]}?" if close else ""
            self.error(f"unknown argument {unknown[0]!r}{hint}")
        return typed, unknown

    def error(self, message: str) -> NoReturn:
        """Print the message in one line on stderr and exit with `FAILED`."""
        end = "" if message.endswith("?") else "."
        self.exit(FAILED, f"pmsi: {_one_line(message)}{end} See: {self.prog} --help\n")


def _one_line(text: object) -> str:
    return " ".join(line.strip() for line in str(text).split("\n"))


COMMANDS = (
    "mosaic", "phases", "train", "evaluate", "predict", "robustness", "explain", "stages", "maps", "calibrate",
    "unknowns", "grid", "runs", "data", "info", "tables", "report", "theatre", "export", "latency", "demo", "app",
    "execute", "runner",
)  # fmt: skip
"""The subcommands. Each is a module here: its docstring's first line is its help, ``add_arguments(parser)`` its
arguments, and ``run(typed)`` does the work and returns the status. Only the one that is typed is imported."""


def command(name: str) -> ModuleType:
    """Return the module of a subcommand."""
    return importlib.import_module(f"pmsi.cli.{name}")


def help_of(name: str) -> str:
    """Return a subcommand's help, the first line of its file; importing all of them would take seconds."""
    with Path(__file__).with_name(f"{name}.py").open(encoding="utf-8") as file:
        return file.readline().strip().strip('"')


def make_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all subcommands; only ``chosen`` (None: all) gets its arguments, which may import torch."""
    parser = Parser(
        prog="pmsi",
        description="Fine-grained recognition with progressive multi-stage interactive training.",
        epilog=f"pmsi COMMAND --help shows its flags. {STATUSES}",
    )
    parser.add_argument("--version", action="version", version=f"pmsi {__version__}")
    subparsers = parser.add_subparsers(dest="task", required=True, metavar="COMMAND")
    for name in COMMANDS:
        subparser = subparsers.add_parser(name, help=help_of(name), description=help_of(name))
        if chosen in (None, name):
            command(name).add_arguments(subparser)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status; a PMSIError is printed in one line on stderr."""
    words = list(sys.argv[1:] if words is None else words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show × gets a question mark
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115 (closed by the shell; print would use stdout)
    with contextlib.redirect_stdout(escaped(sys.stdout)), contextlib.redirect_stderr(escaped(sys.stderr)):
        return _status(words)


def _status(words: Sequence[str]) -> int:
    try:
        try:
            return _run(words)
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the rest of the buffer is discarded
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except PMSIError as error:
        return _failed(in_flags(str(error)))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}.")


def _run(words: Sequence[str]) -> int:
    chosen = next((word for word in words if word in COMMANDS), "")
    typed = make_parser(chosen).parse_args(words)
    status: int = command(typed.task).run(typed)
    return status


def _failed(message: object) -> int:
    print(f"pmsi: {_one_line(message)}", file=sys.stderr)
    return FAILED
