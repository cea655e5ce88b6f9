"""`pmsi robustness`: a sweep, the accuracy of trained models on perturbed test images."""

import argparse

from pmsi import tasks
from pmsi.base.files import to_json
from pmsi.base.text import duration
from pmsi.cli.task import add_dry_run, add_of, add_task, start, typed_config
from pmsi.config import RobustnessConfig

HELP = "Accuracy on perturbed images."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_of(parser, "+")
    add_dry_run(parser)
    add_task(parser, RobustnessConfig)


def run(typed: argparse.Namespace) -> int:
    """Make the sweep that the flags describe, or say how long it takes."""
    config = typed_config(typed, RobustnessConfig())
    return _look_ahead(typed, config) if typed.dry_run else start(config, typed)


def _look_ahead(typed: argparse.Namespace, config: RobustnessConfig) -> int:
    """Say how much a sweep has to do and about how long that takes here; start nothing."""
    from pmsi.robustness import cells_of
    from pmsi.tables.estimate import Estimator

    tasks.check(config, typed.runs)
    cells, runs, seconds = len(cells_of(config)), len(config.of), Estimator(typed.runs).seconds(config)
    if typed.json:
        print(to_json({"cells": cells, "runs": runs, "seconds": seconds}))
        return 0
    each = f" for each of {runs} runs" if runs > 1 else ""
    print(f"{cells} passes over the test images{each}: about {duration(seconds)} on this machine.")
    return 0
