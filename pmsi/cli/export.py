"""Write a trained model as one file."""

import argparse

from pmsi.cli.arguments import TRAINED, add_runs
from pmsi.cli.flags import path
from pmsi.export.formats import export
from pmsi.runs import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    help = "File to write: .safetensors (weights, for this program) or .pt2 (a program that needs only torch)."
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help=help)
    parser.add_argument("--half", action="store_true", help="Round the weights to half precision: half the size.")
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Write a trained model to one file."""
    typed.out.parent.mkdir(parents=True, exist_ok=True)
    export(Run.open(typed.runs, typed.run), typed.out, typed.half)
    print(typed.out)
    return 0
