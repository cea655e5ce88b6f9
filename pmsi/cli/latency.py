"""Time runs, exported files and untrained networks side by side, one image at a time."""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from pmsi.base.errors import ConfigError, lookup
from pmsi.base.files import to_json
from pmsi.base.text import aligned, percent, short
from pmsi.cli.flags import TRAINED_OR_FILE, add_like, add_runs, path, whole
from pmsi.cli.output import write_output
from pmsi.config import TrainConfig
from pmsi.engine.checkpoint import has_checkpoint
from pmsi.export.latency import Latency, Timed, measure, of_file, of_run, of_untrained, plot
from pmsi.graph import is_model_file
from pmsi.runs import Run, known_runs

PLOTS = (".png", ".svg", ".pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help = f"{TRAINED_OR_FILE[:-1]}; several."
    parser.add_argument("models", nargs="*", metavar="RUN", help=help)
    parser.add_argument("--all", action="store_true", help="All runs with a model.")
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
    help = f"Draw accuracy against milliseconds and megabytes ({' | '.join(PLOTS)})."
    parser.add_argument("--plot", type=path, metavar="FILE", help=help)
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Print the table of latencies, fastest first."""
    if typed.plot is not None:
        lookup("ending of a plot", dict.fromkeys(PLOTS), typed.plot.suffix.lower())
    models = [*_models(typed)]
    if not models:
        raise ConfigError("There is nothing to time. Give runs or .onnx files, --all, or --backbone NAME.")
    print(f"{len(models)} models, {typed.rounds} rounds, {typed.threads} thread(s) …", file=sys.stderr)
    found = sorted(measure(models, typed.threads, typed.rounds), key=lambda latency: latency.median_ms)
    if typed.plot is not None:
        write_output(typed.plot, plot(found, typed.threads, typed.plot.suffix[1:].lower()))
    if typed.json:
        print(to_json([_as_json(latency, typed) for latency in found], indent=1))
    else:
        print(_readable(found))
    return 0


def _models(typed: argparse.Namespace) -> Iterator[Timed]:
    """Yield what is typed: runs, files, and untrained networks."""
    every = [run.id for run in known_runs(typed.runs) if isinstance(run.config, TrainConfig)] if typed.all else []
    for word in dict.fromkeys([*typed.models, *every]):
        if is_model_file(word):
            yield of_file(Path(word).expanduser(), typed.threads)
        elif word not in every or has_checkpoint(Run.open(typed.runs, word).checkpoints):
            yield from of_run(Run.open(typed.runs, word), typed.threads)
    for backbone, method in product(typed.backbone, typed.method):
        sizes = {"image_size": typed.image_size, "smooth_conv": typed.smooth_conv}
        yield of_untrained(TrainConfig(method=method, backbone=backbone, weights="none", **sizes), typed.classes)


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
