"""Show a training batch as the network's input in each phase."""

import argparse
import sys

from pmsi.base.errors import ConfigError, DataError
from pmsi.cli.console import image_counter
from pmsi.cli.flags import add_flags, add_preset, add_runs, path, whole
from pmsi.cli.output import picture_format, save_picture
from pmsi.cli.task import training_base, training_config, typed_config
from pmsi.config import TrainConfig
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset
from pmsi.pictures.phases import batch_by_phase, batch_keys, place_of, sheet, target_text
from pmsi.runs import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", metavar="RUN", help="Training run whose settings flags change [the paper's].")
    parser.add_argument("--epoch", type=whole(1, 10**6), default=1, metavar="N", help="Epoch, from 1 [1].")
    parser.add_argument("--batch", type=whole(1, 10**9), default=1, metavar="N", help="Batch of the epoch, from 1 [1].")
    help = "In place of --batch: only the training image of this key, in its batch."
    parser.add_argument("--image", metavar="KEY", help=help)
    parser.add_argument("--most", type=whole(1, 10**6), default=8, metavar="N", help="Images of the batch [8].")
    parser.add_argument(
        "--out", type=path, required=True, metavar="FILE", help="Picture to write: a row for each phase."
    )
    add_preset(parser)
    add_flags(parser, TrainConfig)
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Write a batch as each phase's input; print the labels of its images."""
    picture_format(typed.out)
    config = _settings(typed)
    with image_counter(sys.stderr, "images checked") as progress:
        dataset = open_dataset(config, progress)
    batch, first, most = _which(typed, config, dataset)
    found = batch_by_phase(config, dataset, typed.epoch - 1, batch)
    save_picture(sheet(found, most, first), typed.out)
    print(f"{typed.out}: epoch {typed.epoch}, batch {batch + 1}, from image {first + 1} on; from top to bottom")
    for each in found:
        images = range(first, min(first + most, len(each.images)))
        words = ", ".join(target_text(each, dataset.classes, number) for number in images)
        print(f"  {each.phase.head}, r = {each.phase.r}: {words}")
    return 0


def _settings(typed: argparse.Namespace) -> TrainConfig:
    """Return the config of the run, the preset or the paper, with the typed flags applied."""
    if typed.run is None:
        start = training_base(typed)
    elif typed.preset is not None:
        raise ConfigError(f"Both a run ({typed.run}) and a preset ({typed.preset}): give only one of them.")
    else:
        start = training_config(Run.open(typed.runs, typed.run))
    return typed_config(typed, start)


def _which(typed: argparse.Namespace, config: TrainConfig, dataset: Dataset) -> tuple[int, int, int]:
    """Return the typed batch, its first image to show (both from 0), and how many images at most."""
    if typed.image is None:
        return typed.batch - 1, 0, typed.most
    place = place_of(typed.image, batch_keys(config, dataset, typed.epoch - 1))
    if place is None:
        raise DataError(
            f"The image {typed.image!r} is in no batch of epoch {typed.epoch}. Expected the key of a training "
            "image, as `pmsi data images` lists them. An epoch leaves out its last, incomplete batch: try another too."
        )
    return (*place, 1)
