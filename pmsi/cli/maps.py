"""`pmsi maps`: where a trained model looks on all test images, in numbers."""

import argparse

from pmsi.cli.task import add_of, add_task, start, typed_config
from pmsi.config import ExplainConfig

HELP = "Where a trained model looks, in numbers."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_of(parser)
    add_task(parser, ExplainConfig)


def run(typed: argparse.Namespace) -> int:
    return start(typed_config(typed, ExplainConfig()), typed)
