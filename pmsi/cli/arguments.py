"""Arguments that several subcommands take: the runs folder, a preset, a queue, images, perturbations."""

import argparse
from dataclasses import fields
from typing import Any

from pmsi.choices import options_of
from pmsi.cli.flags import folder, place, whole
from pmsi.config import TrainConfig
from pmsi.config.command import flag
from pmsi.config.presets import PRESETS
from pmsi.runs import default_root
from pmsi.runs.launchers import LAUNCHERS

TRAINED = "Training run: its id, or the start of it."
TRAINED_OR_FILE = f"{TRAINED[:-1]}; or an exported .onnx file."


KEYED = "; with --dataset, the key of an image there"


def add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", type=folder, default=default_root(), metavar="DIR", help="Runs folder [$PMSI_RUNS, else runs]."
    )


def add_like(parser: argparse.ArgumentParser, name: str, help: str, **options: Any) -> None:
    """Add a flag for the config field ``name``, with the field's default and allowed values."""
    about = next(about for about in fields(TrainConfig) if about.name == name)
    words = tuple(options_of(about) or ())
    listed = f" ({' | '.join(words)})" if words else ""
    options |= {"choices": words} if words else {}
    parser.add_argument(flag(name), default=about.default, help=f"{help} [{about.default}]{listed}.", **options)


def add_images_of(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", metavar="NAME", help="Data set of the image, such as plumage.")
    parser.add_argument("--data", type=place, metavar="DIR", help="Its folder, where it is not built in.")


def add_preset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", metavar="NAME", help=f"Start from a preset ({' | '.join(PRESETS)}); other flags change it."
    )


def add_queue(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--queue", action="store_true", help="Queue the run and return; else work on it in the foreground."
    )
    help = f"Launcher whose queue is used ({' | '.join(LAUNCHERS)}); means --queue [local]."
    parser.add_argument("--launcher", choices=tuple(LAUNCHERS), metavar="NAME", help=help)


def add_perturbed(parser: argparse.ArgumentParser) -> None:
    help = "Perturb the network's input, by one perturbation after the other: color_jitter=0.5 gaussian_noise=5."
    parser.add_argument("--perturb", nargs="+", default=[], metavar="NAME=X", help=help)
    help = "Seed of the perturbations; an image's key is part of its seed too [0]."
    parser.add_argument("--seed", type=whole(0, 2**31 - 1), default=0, metavar="N", help=help)
