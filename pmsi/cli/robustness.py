"""Accuracy of trained models on perturbed images."""

import argparse

from pmsi import tasks
from pmsi.base.files import to_json
from pmsi.base.text import duration
from pmsi.cli.flags import TRAINED_OR_FILE
from pmsi.cli.task import add_dry_run, add_of, add_task, start, typed_config
from pmsi.config import RobustnessConfig
from pmsi.robustness import cells_of
from pmsi.tables.estimate import Estimator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_of(parser, "+", TRAINED_OR_FILE)
    add_dry_run(parser)
    add_task(parser, RobustnessConfig)


def run(typed: argparse.Namespace) -> int:
    """Run the sweep that the flags describe, or print how long it takes."""
    config = typed_config(typed, RobustnessConfig(), files=True)
    return _dry_run(typed, config) if typed.dry_run else start(config, typed)


def _dry_run(typed: argparse.Namespace, config: RobustnessConfig) -> int:
    """Print the number of passes of a sweep and about how long they take."""
    tasks.check(config, typed.runs)
    cells, runs, seconds = len(cells_of(config)), len(config.of), Estimator(typed.runs).seconds(config)
    if typed.json:
        print(to_json({"cells": cells, "runs": runs, "seconds": seconds}))
        return 0
    each = f" for each of {runs} runs" if runs > 1 else ""
    print(f"{cells} passes over the test images{each}: about {duration(seconds)} on this machine.")
    return 0
