"""A run is a folder: its config, its metrics, its log, its checkpoints, and how it ended."""

from pmsi.runs.lifecycle import State
from pmsi.runs.run import SHIPPED, Onlooker, Run, Stopped, default_root, known_runs, list_runs
from pmsi.runs.status import ErrorReport, Status

__all__ = [
    "SHIPPED",
    "ErrorReport",
    "Onlooker",
    "Run",
    "State",
    "Status",
    "Stopped",
    "default_root",
    "known_runs",
    "list_runs",
]
