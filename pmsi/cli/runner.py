"""Work off a queue of a runs folder (called by the local launcher)."""

import argparse

from pmsi.cli.flags import add_runs
from pmsi.runs.launchers.local import serve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = "Device whose queue is served: cpu, or a GPU as CUDA_VISIBLE_DEVICES names it [cpu]."
    parser.add_argument("--device", default="cpu", metavar="NAME", help=text)
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Work off the queue of a runs folder for one device."""
    serve(typed.runs, typed.device)
    return 0
