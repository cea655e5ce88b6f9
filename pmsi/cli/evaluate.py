"""Accuracy of every head of a trained model."""

import argparse
from dataclasses import replace

from pmsi.base.errors import ConfigError
from pmsi.base.files import to_json
from pmsi.base.statistics import wilson
from pmsi.cli.flags import TRAINED_OR_FILE, place, to_config
from pmsi.cli.inputs import open_model_file
from pmsi.cli.task import add_task, start, typed_config
from pmsi.config import EvaluateConfig
from pmsi.config.command import POSITIONAL
from pmsi.data import open_dataset
from pmsi.evaluation import check_file_classes
from pmsi.graph import is_model_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(POSITIONAL, metavar="RUN", help=TRAINED_OR_FILE)
    help = "Only for an .onnx file: the data set, such as plumage [that of its training]."
    parser.add_argument("--dataset", metavar="NAME", help=help)
    parser.add_argument("--data", type=place, metavar="DIR", help="Only for an .onnx file: the data set's folder.")
    add_task(parser, EvaluateConfig)


def run(typed: argparse.Namespace) -> int:
    if is_model_file(typed.of):
        return _evaluate_file(typed)
    if typed.dataset is not None or typed.data is not None:
        raise ConfigError("--dataset and --data are for an .onnx file: a run is evaluated on the data of its training.")
    return start(typed_config(typed, EvaluateConfig()), typed)


def _evaluate_file(typed: argparse.Namespace) -> int:
    """Print the accuracy of every head of an exported file on a data set's images, with 95 % intervals, as JSON."""
    from pmsi.export.evaluation import accuracy  # optional packages

    predictor, config = open_model_file(typed.of), to_config(EvaluateConfig(), typed)
    trained = predictor.config
    elsewhere = typed.dataset not in (None, trained.dataset)  # where the folder of its training is none
    place = typed.data if typed.data is not None or elsewhere else trained.data
    dataset = open_dataset(replace(trained, dataset=typed.dataset or trained.dataset, data=place))
    check_file_classes(typed.of, predictor.classes, dataset)
    samples = dataset.split(config.split)
    found = accuracy(predictor.file, dataset, samples, trained, config.batch_size)
    interval = {head: wilson(round(value * len(samples)), len(samples)) for head, value in found.items()}
    about = {"file": typed.of, "data": dataset.name, "split": config.split, "images": len(samples)}
    print(to_json(about | {"primary": predictor.primary, "accuracy": found, "interval": interval}, indent=1))
    return 0
