"""Accuracy of every head of a trained model."""

import argparse

from pmsi.cli.task import add_of, add_task, start, typed_config
from pmsi.config import EvaluateConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_of(parser)
    add_task(parser, EvaluateConfig)


def run(typed: argparse.Namespace) -> int:
    return start(typed_config(typed, EvaluateConfig()), typed)
