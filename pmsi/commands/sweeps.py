"""Commands about sweeps: how long one takes; the report of one, as a page or as lines of numbers."""

import argparse
from typing import TYPE_CHECKING

from pmsi import jobs
from pmsi.commands.output import write_output
from pmsi.config import RobustnessConfig
from pmsi.errors import ConfigError, lookup
from pmsi.files import to_json
from pmsi.flags import command
from pmsi.runs import Run
from pmsi.wording import duration

if TYPE_CHECKING:
    from pmsi.robustness.reading import SweepResults

Arguments = argparse.Namespace


def look_ahead(typed: Arguments, config: RobustnessConfig) -> int:
    """Say how much a sweep has to do and about how long that takes here; start nothing."""
    from pmsi.estimates import Estimator  # imports torch
    from pmsi.robustness import cells_of

    jobs.check(config, typed.runs)
    cells, runs, seconds = len(cells_of(config)), len(config.of), Estimator(typed.runs).seconds(config)
    if typed.json:
        print(to_json({"cells": cells, "runs": runs, "seconds": seconds}))
        return 0
    each = f" for each of {runs} runs" if runs > 1 else ""
    print(f"{cells} passes over the test images{each}: about {duration(seconds)} on this machine.")
    return 0


def report(typed: Arguments) -> int:
    """Write the report of a sweep, as far as it is finished."""
    from pmsi.robustness.reading import read_results

    write = lookup("ending of a report", ENDINGS, typed.out.suffix.lower())
    if typed.per_image and typed.out.suffix.lower() != ".csv":
        raise ConfigError(f"--per-image is for .csv, not for {typed.out.name}: leave it out, or write a .csv.")
    write_output(typed.out, write(read_results(Run.open(typed.runs, typed.run)), typed))
    print(typed.out)
    return 0


def _html(results: "SweepResults", typed: Arguments) -> str:
    from pmsi.robustness.page import as_html

    return as_html(results, command=command(results.config), pictures=typed.pictures)


def _csv(results: "SweepResults", typed: Arguments) -> str:
    from pmsi.robustness.export import as_csv, images_as_csv

    return images_as_csv(results) if typed.per_image else as_csv(results)


ENDINGS = {".html": _html, ".csv": _csv}
"""How a report is written, by the ending of its file."""
