"""Run: a folder with a config, metrics, a log, checkpoints and a result."""

from pmsi.runs.lifecycle import State
from pmsi.runs.run import SHIPPED, Run, SecondaryRun, Stopped, default_root, known_runs, list_runs
from pmsi.runs.status import ErrorReport, Status
