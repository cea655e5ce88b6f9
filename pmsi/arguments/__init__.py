"""What each subcommand takes: a function for each, which adds its arguments to a parser.

Flags of tasks come from the fields of their configs. What is done with all this is in `pmsi.commands`.
"""

from pmsi.arguments.images import explain, mosaic, predict
from pmsi.arguments.keeping import data, runs
from pmsi.arguments.programs import app, demo, execute, export, info, report, runner
from pmsi.arguments.training import grid, phases, tables, task

__all__ = [
    "app",
    "data",
    "demo",
    "execute",
    "explain",
    "export",
    "grid",
    "info",
    "mosaic",
    "phases",
    "predict",
    "report",
    "runner",
    "runs",
    "tables",
    "task",
]
