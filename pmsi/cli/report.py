"""Write the report of a robustness sweep."""

import argparse

from pmsi.base.errors import ConfigError, lookup
from pmsi.cli.flags import add_runs, path
from pmsi.cli.output import write_output
from pmsi.config.command import command
from pmsi.robustness.export import as_csv, images_as_csv
from pmsi.robustness.results import SweepResults, read_results
from pmsi.runs import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="Robustness sweep: its id, or the start of it.")
    help = "File to write: .html, or .csv with a line for each run, cell and output."
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help=help)
    parser.add_argument("--per-image", action="store_true", help="With .csv: a line for each image and run.")
    parser.add_argument("--no-pictures", dest="pictures", action="store_false", help="With .html: open no data set.")
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Write the report of the cells that a sweep has finished."""
    write = lookup("ending of a report", ENDINGS, typed.out.suffix.lower())
    if typed.per_image and typed.out.suffix.lower() != ".csv":
        raise ConfigError(f"--per-image is for .csv, not for {typed.out.name}: leave it out, or write a .csv.")
    write_output(typed.out, write(read_results(Run.open(typed.runs, typed.run)), typed))
    print(typed.out)
    return 0


def _html(results: SweepResults, typed: argparse.Namespace) -> str:
    from pmsi.robustness.page import as_html

    return as_html(results, command=command(results.config), pictures=typed.pictures)


def _csv(results: SweepResults, typed: argparse.Namespace) -> str:
    return images_as_csv(results) if typed.per_image else as_csv(results)


ENDINGS = {".html": _html, ".csv": _csv}
"""The function that makes a report, by the ending of its file."""
