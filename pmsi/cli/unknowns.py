"""Measure whether trained models tell images that are of none of their classes."""

import argparse

from pmsi.cli.task import add_of, add_task, start, typed_config
from pmsi.config import UnknownsConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_of(parser, "+")
    add_task(parser, UnknownsConfig)


def run(typed: argparse.Namespace) -> int:
    """Run the task that the flags describe."""
    return start(typed_config(typed, UnknownsConfig()), typed)
