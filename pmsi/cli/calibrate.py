"""Fit temperatures of trained models, and measure how far their probabilities can be believed."""

import argparse

from pmsi.cli.task import add_of, add_task, start, typed_config
from pmsi.config import CalibrateConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_of(parser, "+")
    add_task(parser, CalibrateConfig)


def run(typed: argparse.Namespace) -> int:
    """Run the task that the flags describe."""
    return start(typed_config(typed, CalibrateConfig()), typed)
