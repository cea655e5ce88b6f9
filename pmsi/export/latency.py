"""How long models take for one image on this machine, measured side by side."""

import io
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pmsi.base.seeding import numpy_generator
from pmsi.base.text import percent
from pmsi.config import TrainConfig
from pmsi.data.preprocessing import normalize
from pmsi.engine.checkpoint import load_model
from pmsi.engine.costs import costs_of
from pmsi.engine.folding import folded
from pmsi.graph.about import config_of
from pmsi.graph.engine import LONG, graph_of, open_file
from pmsi.methods import METHODS, build
from pmsi.model import Recognizer
from pmsi.runs import Run
from pmsi.runs.record import data_of

if TYPE_CHECKING:
    from pmsi.graph.onnx_model import OnnxModel

TORCH, RUNTIME = "torch", "ONNX Runtime"

WARM_UP = 3
"""Calls before the first one that counts: a network's first ones are slower."""


@dataclass(frozen=True)
class Timed:
    """A model to time. ``answer(image)`` takes (3, side, side) uint8 and returns when the answer is there.

    ``accuracy`` (0–1, with its number of test images) and ``macs`` (multiply-adds of an image) are None where unknown.
    """

    name: str
    side: int
    engine: str
    answer: Callable[..., object]
    bytes: int
    macs: int | None = None
    accuracy: float | None = None
    test_images: int | None = None


def of_run(run: Run, threads: int) -> Iterator[Timed]:
    """Yield a run's model on the CPU by torch, and by its graph where it has one here."""
    model, config, classes = load_model(run, torch.device("cpu"))
    accuracy = (run.result() or {}).get("last", {}).get("accuracy", {}).get(model.primary)
    tested = replace(_of_network(run.id, model, config, len(classes)), accuracy=accuracy, test_images=data_of(run).test)
    yield tested
    if graph := graph_of(model, (config.resize_to, config.image_size), LONG, threads):
        yield replace(tested, engine=RUNTIME, answer=_by_graph(graph), bytes=graph.size)


def of_file(path: Path, threads: int) -> Timed:
    """Return an exported file; raises ExportError."""
    file = open_file(path, threads)
    about, config = file.about, config_of(file)
    accuracy = about["int8"]["accuracy"]["int8"] if "int8" in about else about.get("accuracy") or {}
    tested = accuracy.get(file.primary), about.get("test_images")
    macs = costs_of(config, len(file.classes)).macs_predict
    return Timed(path.name, file.image_size, RUNTIME, _by_graph(file), file.size, macs, *tested)


def of_untrained(config: TrainConfig, classes: int) -> Timed:
    """Return a network with random weights."""
    model = build(config, classes, pretrained=False).eval()
    return _of_network(f"{METHODS[config.method].title} on {config.backbone}", model, config, classes)


def _by_graph(graph: "OnnxModel") -> Callable[..., object]:
    return lambda image: graph.answer(image[None])


def _of_network(name: str, model: Recognizer, config: TrainConfig, classes: int) -> Timed:
    costs, network = costs_of(config, classes), folded(model)

    @torch.inference_mode()
    def answer(image: object) -> object:
        return network(normalize(torch.as_tensor(image)[None]))

    return Timed(name, config.image_size, TORCH, answer, costs.weight_bytes, costs.macs_predict)


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one image: the median, and the quartiles of all rounds."""

    model: Timed
    median_ms: float
    low_ms: float
    high_ms: float


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with some threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(models: Sequence[Timed], threads: int, rounds: int) -> list[Latency]:
    """Return the latency of each model, one image at a time.

    Rounds are interleaved: each asks every model once, so that what slows the machine slows all of them.
    """
    generator = numpy_generator("latency")
    images = [generator.integers(0, 256, (3, model.side, model.side), dtype="uint8") for model in models]
    taken: list[list[float]] = [[] for _ in models]
    with torch_threads(threads):
        for turn in range(-WARM_UP, rounds):
            for model, image, times in zip(models, images, taken, strict=True):
                began = time.perf_counter()
                model.answer(image)
                if turn >= 0:
                    times.append(1000 * (time.perf_counter() - began))
    return [_latency(model, times) for model, times in zip(models, taken, strict=True)]


def _latency(model: Timed, times: list[float]) -> Latency:
    low, median, high = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    return Latency(model, median, low, high)


COLOURS = {TORCH: "#7a7a7a", RUNTIME: "#1f6b52"}


def plot(found: Sequence[Latency], threads: int, kind: str) -> bytes:
    """Return accuracy against milliseconds as a picture (png, svg, pdf); the area of a mark is the model's megabytes.

    Whiskers are quartiles. Models whose accuracy is not known stand below the axis.
    """
    from matplotlib.figure import Figure  # here, because it takes a second

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    known = [one.model.accuracy for one in found if one.model.accuracy is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    below = low - 0.2 * max(high - low, 0.05)
    for one in found:
        model, y = one.model, below if one.model.accuracy is None else one.model.accuracy
        colour, megabytes = COLOURS[model.engine], model.bytes / 1e6
        axes.errorbar(
            one.median_ms, y, xerr=[[one.median_ms - one.low_ms], [one.high_ms - one.median_ms]], color=colour
        )
        axes.scatter(one.median_ms, y, s=12 * megabytes, color=colour, alpha=0.5)
        text = f"{model.name}, {model.side} px, {megabytes:.0f} MB"
        axes.annotate(text, (one.median_ms, y), (4, 4), textcoords="offset points", fontsize=7)
    axes.set(
        xscale="log", xlabel=f"milliseconds an image, {threads} thread(s), median and quartiles", ylabel="accuracy"
    )
    axes.yaxis.set_major_formatter(lambda value, _: percent(value) if value >= low - 1e-9 else "")
    axes.grid(alpha=0.3)
    axes.legend(handles=[axes.scatter([], [], color=colour, label=name) for name, colour in COLOURS.items()])
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=160)
    return file.getvalue()
