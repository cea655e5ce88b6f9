"""Measure where a trained model looks, on all test images."""

import argparse
import dataclasses

from pmsi.base.files import to_json
from pmsi.base.text import duration
from pmsi.cli.task import add_dry_run, add_of, add_task, start, typed_config
from pmsi.config import MapsConfig
from pmsi.maps import check, estimate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_of(parser)
    add_dry_run(parser)
    add_task(parser, MapsConfig)


def run(typed: argparse.Namespace) -> int:
    """Run the task that the flags describe, or print how long it takes."""
    config = typed_config(typed, MapsConfig())
    return _dry_run(typed, config) if typed.dry_run else start(config, typed)


def _dry_run(typed: argparse.Namespace, config: MapsConfig) -> int:
    """Print how many images are explained and about how long that takes."""
    check(config, typed.runs)
    found = estimate(config, typed.runs)
    if typed.json:
        print(to_json(dataclasses.asdict(found)))
        return 0
    print(
        f"{found.images} test images, {found.seconds_an_image:.2g} s each by {config.method}; faithfulness on "
        f"{found.faithfulness} of them: about {duration(found.seconds)} on this machine."
    )
    return 0
