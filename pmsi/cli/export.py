"""Write a trained model as one file."""

import argparse
import sys

from pmsi.base.steps import written_to
from pmsi.cli.flags import TRAINED, add_runs, path
from pmsi.export.formats import export
from pmsi.runs import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    help = (
        "File to write: .safetensors (weights, for this program), .pt2 (a program that needs only torch) or .onnx (a "
        "photo in; answers and maps out), .html (a page for phones that needs no network) or .zip (it as a site)."
    )
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help=help)
    stored = parser.add_mutually_exclusive_group()
    stored.add_argument(
        "--half",
        dest="precision",
        action="store_const",
        const="float16",
        help="Round the weights to half precision: half the size.",
    )
    help = "Only .onnx: answers alone, in 8-bit integers calibrated on training images; a quarter of the size."
    stored.add_argument("--int8", dest="precision", action="store_const", const="int8", help=help)
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Write a trained model to one file."""
    typed.out.parent.mkdir(parents=True, exist_ok=True)
    with written_to(sys.stderr):
        export(Run.open(typed.runs, typed.run), typed.out, typed.precision)
    print(typed.out)
    return 0
