"""`pmsi maps`: where a trained model looks on all test images, in numbers."""

import argparse
import dataclasses

from pmsi.base.files import to_json
from pmsi.base.text import duration
from pmsi.cli.task import add_dry_run, add_of, add_task, start, typed_config
from pmsi.config import ExplainConfig

HELP = "Where a trained model looks, in numbers."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_of(parser)
    add_dry_run(parser)
    add_task(parser, ExplainConfig)


def run(typed: argparse.Namespace) -> int:
    """Make the report that the flags describe, or say how long it takes."""
    config = typed_config(typed, ExplainConfig())
    return _look_ahead(typed, config) if typed.dry_run else start(config, typed)


def _look_ahead(typed: argparse.Namespace, config: ExplainConfig) -> int:
    """Say how many images are to be explained and about how long that takes here; start nothing."""
    from pmsi.maps import check, estimate  # torch, which pmsi --help does without

    check(config, typed.runs)
    found = estimate(config, typed.runs)
    if typed.json:
        print(to_json(dataclasses.asdict(found)))
        return 0
    print(
        f"{found.images} test images, {found.seconds_an_image:.2g} s each by {config.method}, and {found.tried} of "
        f"them put to trial: about {duration(found.seconds)} on this machine."
    )
    return 0
