"""`pmsi maps`: measures a trained model's class activation maps on all test images."""

import argparse

from pmsi.cli.task import add_of, add_task, start, typed_config
from pmsi.config import MapsConfig

HELP = "Measure where a trained model looks, on all test images."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_of(parser)
    add_task(parser, MapsConfig)


def run(typed: argparse.Namespace) -> int:
    return start(typed_config(typed, MapsConfig()), typed)
