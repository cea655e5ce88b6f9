"""Time runs, exported files and untrained networks side by side, one image at a time."""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from pmsi.base.errors import ConfigError
from pmsi.base.files import to_json
from pmsi.base.text import aligned, percent, short
from pmsi.cli.arguments import TRAINED_OR_FILE, add_like, add_runs
from pmsi.cli.flags import whole
from pmsi.cli.inputs import open_model_file
from pmsi.config import TrainConfig
from pmsi.data.preprocessing import normalize
from pmsi.engine.checkpoint import find_checkpoint, load_model
from pmsi.engine.costs import costs_of
from pmsi.engine.folding import folded
from pmsi.export.latency import Latency, Timed, measure
from pmsi.graph import is_model_file
from pmsi.methods import METHODS, build
from pmsi.model import Recognizer
from pmsi.runs import Run
from pmsi.runs.record import data_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help = f"{TRAINED_OR_FILE[:-1]}; several."
    parser.add_argument("models", nargs="*", metavar="RUN", help=help)
    for name, default, help in (
        ("method", ["baseline"], "Methods of untrained networks, with --backbone [baseline]."),
        ("backbone", [], "Untrained networks of these backbones, timm:NAME too."),
    ):
        parser.add_argument(f"--{name}", nargs="+", default=default, metavar="NAME", help=help)
    add_like(parser, "image_size", "Side of the image of untrained networks", type=whole(32, 2048), metavar="N")
    add_like(parser, "smooth_conv", "Smooth conv blocks of untrained networks", metavar="NAME")
    parser.add_argument("--classes", type=whole(2, 10**5), default=200, metavar="N", help="Their classes [200].")
    parser.add_argument("--threads", type=whole(1, 512), default=1, metavar="N", help="Threads of an answer [1].")
    parser.add_argument("--rounds", type=whole(2, 10**4), default=50, metavar="N", help="Answers of each model [50].")
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Print the table of latencies, fastest first."""
    models = [*_given(typed), *_untrained(typed)]
    if not models:
        raise ConfigError("There is nothing to time. Give runs or .onnx files, or --backbone NAME.")
    print(f"{len(models)} models, {typed.rounds} rounds, {typed.threads} thread(s) …", file=sys.stderr)
    found = sorted(measure(models, typed.threads, typed.rounds), key=lambda latency: latency.median_ms)
    if typed.json:
        print(to_json([_as_json(latency, typed) for latency in found], indent=1))
    else:
        print(_readable(found))
    return 0


def _given(typed: argparse.Namespace) -> Iterator[Timed]:
    """Yield the typed runs, by torch on the CPU as the app computes them, and files, by ONNX Runtime."""
    for word in typed.models:
        if is_model_file(word):
            yield _of_file(word, typed.threads)
        else:
            run = Run.open(typed.runs, word)
            model, config, classes = load_model(run, torch.device("cpu"))
            accuracy = (run.result() or {}).get("last", {}).get("accuracy", {}).get(model.primary)
            size = find_checkpoint(run).stat().st_size
            yield dataclasses.replace(
                _of_network(run.id, model, config, len(classes)),
                bytes=size,
                accuracy=accuracy,
                test_images=data_of(run).test,
            )


def _of_file(word: str, threads: int) -> Timed:
    predictor = open_model_file(word, threads)
    file = predictor.file
    accuracy = (file.about["accuracy"] or {}).get(file.primary)
    if "int8" in file.about:
        accuracy = file.about["int8"]["accuracy"]["int8"][file.primary]
    return Timed(
        name=Path(word).name,
        side=file.image_size,
        engine="ONNX Runtime",
        answer=lambda image: file.answer(image[None]),
        bytes=Path(word).stat().st_size,
        macs=costs_of(predictor.config, len(file.classes)).macs_predict,
        accuracy=accuracy,
        test_images=file.about["test_images"],
    )


def _untrained(typed: argparse.Namespace) -> Iterator[Timed]:
    for backbone in typed.backbone:
        for method in typed.method:
            config = TrainConfig(
                method=method,
                backbone=backbone,
                weights="none",
                image_size=typed.image_size,
                smooth_conv=typed.smooth_conv,
            )
            model = build(config, typed.classes, pretrained=False).eval()
            yield _of_network(f"{METHODS[method].title} on {backbone}", model, config, typed.classes)


def _of_network(name: str, model: Recognizer, config: TrainConfig, classes: int) -> Timed:
    costs, network = costs_of(config, classes), folded(model)

    @torch.inference_mode()
    def answer(image: object) -> object:
        return network(normalize(torch.as_tensor(image)[None]))

    return Timed(name, config.image_size, "torch", answer, costs.weight_bytes, costs.macs_predict)


def _as_json(latency: Latency, typed: argparse.Namespace) -> dict[str, object]:
    about = {field.name: getattr(latency.model, field.name) for field in dataclasses.fields(Timed)}
    del about["answer"]
    times = {name: round(getattr(latency, name), 3) for name in ("median_ms", "low_ms", "high_ms")}
    return about | times | {"threads": typed.threads, "rounds": typed.rounds}


def _readable(found: list[Latency]) -> str:
    """Return the table as text; quartiles stand beside the median."""
    rows = [("model", "px", "engine", "ms", "quartiles", "MB", "multiply-adds", "accuracy")]
    for latency in found:
        model = latency.model
        tested = "" if model.accuracy is None else f"{percent(model.accuracy)} of {model.test_images or '?'}"
        rows.append(
            (
                model.name,
                str(model.side),
                model.engine,
                f"{latency.median_ms:.1f}",
                f"{latency.low_ms:.1f}–{latency.high_ms:.1f}",
                f"{model.bytes / 1e6:.1f}",
                "" if model.macs is None else short(model.macs),
                tested,
            )
        )
    return "\n".join(aligned(rows))
