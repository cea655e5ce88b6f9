"""Speed of a whole robustness sweep: the task, and a plain loop over runs, cells and images.

    python -m benchmarks.sweep
    python -m benchmarks.sweep --size 224 --smooth-conv separable
    python -m benchmarks.sweep --images 96 --methods baseline pmr --perturbations color_jitter gaussian_noise c_fog
    python -m benchmarks.sweep --device cuda --images 480

The plain loop decodes each image for each run and cell, resizes and crops it by torchvision on Pillow images, perturbs
it, and runs batches through the original model. The task decodes and perturbs once for all runs, hashes the pixels,
answers by the models' graphs (--engine torch: by folded copies), and also computes its statistics and writes its files.
Graphs are made before, once for the life of a model; their seconds are printed. Both are timed from the
checkpoints on disk to the accuracies, in turns; the median counts. Hashes of the pixels and predictions are first
checked to be equal. Plumage is first drawn into JPEG files. The models are not trained, but have BatchNorm statistics.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image
from torch import nn

from benchmarks.reading import SPECIES, drawn
from pmsi.base.vision import functional
from pmsi.config import RobustnessConfig, TrainConfig
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset
from pmsi.data.loading import EvaluationLoader
from pmsi.data.preprocessing import MEAN, STD, normalize
from pmsi.engine.checkpoint import CHECKPOINT, load_model, save_checkpoint
from pmsi.graph.engine import ENGINE, LONG, graph_of
from pmsi.methods import build
from pmsi.perturbations import perturb, pixel_hash
from pmsi.robustness import Cell, cells_of
from pmsi.robustness.sweep import sweep
from pmsi.runs import Run

TARGET = 3.0
"""How many times as fast as the plain loop a sweep is to be on two cores."""

Seconds = tuple[float, float]
"""By the clock on the wall, and of all processors together."""

Answers = dict[tuple[str, Cell], tuple[list[str], list[int]]]
"""By run and cell, the hashes of the pixels shown, and the labels answered by the head that predicts."""


def main() -> None:
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PMSI_CACHE"] = str(Path(folder, "cache"))
        if options.engine == "torch":
            os.environ[ENGINE] = "torch"
        bench = Bench(Path(folder), options)
        bench.make_graphs()
        ways: dict[str, Callable[[], Answers]] = {"the plain loop": bench.plainly, "the sweep": bench.sweep}
        agreement = compared(*(way() for way in ways.values()))
        report(bench, measured(ways, options.repeats), agreement, options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Seconds of a whole sweep, ours and by the plain loop.")
    parser.add_argument("--images", type=int, default=48, help="test images, about")
    parser.add_argument("--size", type=int, default=448, help="side of the crop; images are resized to 8/7 of it")
    parser.add_argument("--methods", nargs="+", default=["baseline", "pmr"], help="the runs, one of each method")
    parser.add_argument("--smooth-conv", default="paper", choices=("paper", "separable"))
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--perturbations", nargs="+", default=["color_jitter", "gaussian_noise"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its own choice")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--engine", default="graph", choices=("graph", "torch"))
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


class Bench:
    """Two or more runs on the same images, and the two ways to sweep them."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.root, self.options = folder / "runs", options
        self.config = TrainConfig(
            dataset="folder",
            data=drawn(folder / "plumage", 1, -(-options.images // SPECIES)),
            image_size=options.size,
            smooth_conv=options.smooth_conv,
            backbone=options.backbone,
            weights="none",
        )
        self.dataset = open_dataset(self.config)
        self.runs = [self.trained(self.config.with_(method=method)) for method in options.methods]
        self.task = RobustnessConfig(
            of=tuple(run.id for run in self.runs),
            perturbations=tuple(options.perturbations),
            batch_size=options.batch,
            workers=options.workers,
            device=options.device,
        )

    def trained(self, config: TrainConfig) -> Run:
        """Return a run with a checkpoint of a model that no training has seen, but whose BatchNorm has seen images."""
        run, model = Run.create(self.root, config), build(config, len(self.dataset.classes)).train()
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.momentum = 0.5
        with torch.no_grad():
            for images, _ in EvaluationLoader(self.dataset, self.dataset.test[:16], config, 8):
                for _ in range(3):
                    model(normalize(images))
        about = {"config": config.to_dict(), "classes": [*self.dataset.classes]}
        save_checkpoint(run.checkpoints / CHECKPOINT, model, torch.optim.SGD(model.parameters(), lr=0.1), about)
        return run

    def make_graphs(self) -> None:
        """Make the graphs of the runs' models, which the sweeps find in the cache."""
        began = time.perf_counter()
        for run in self.runs:
            model, config, _ = load_model(run, torch.device(self.options.device))
            graph_of(model, (config.resize_to, config.image_size), LONG)
        print(f"{time.perf_counter() - began:.0f} s to make the graphs of {len(self.runs)} runs")

    def sweep(self) -> Answers:
        run = Run.create(self.root, self.task)
        primary = sweep(self.task, run)["primary"]
        stored = {cell: json.loads((run.folder / cell.file).read_text())["runs"] for cell in cells_of(self.task)}
        return {
            (id, cell): (runs[id]["pixels"], runs[id]["predicted"][head])
            for id, head in primary.items()
            for cell, runs in stored.items()
        }

    def plainly(self) -> Answers:
        return {(run.id, cell): answers for run in self.runs for cell, answers in self.plain_run(run)}

    @torch.no_grad()
    def plain_run(self, run: Run) -> Iterator[tuple[Cell, tuple[list[str], list[int]]]]:
        device = torch.device(self.options.device)
        model, config, _ = load_model(run, device)
        model = model.to(memory_format=torch.contiguous_format)
        dataset = open_dataset(config)
        for cell in cells_of(self.task):
            hashes, predicted = [], []
            for start in range(0, len(dataset.test), self.options.batch):
                indices = range(start, min(start + self.options.batch, len(dataset.test)))
                images = [plain_image(dataset, index, config, cell) for index in indices]
                hashes += [pixel_hash(image) for image in images]
                batch = torch.stack([functional.normalize(functional.to_tensor(image), MEAN, STD) for image in images])
                predicted += model(batch.to(device))[model.primary].argmax(dim=1).tolist()
            yield cell, (hashes, predicted)


def plain_image(dataset: Dataset, index: int, config: TrainConfig, cell: Cell) -> Image.Image:
    sample, side = dataset.test[index], config.resize_to
    image = functional.resize(dataset.open_image(sample), [side, side])
    image = functional.center_crop(image, [config.image_size] * 2)
    if cell.perturbation is None:
        return image
    return perturb(image, cell.perturbation, cell.severity, seed=0, key=sample.key)[0]


def compared(plain: Answers, ours: Answers) -> float:
    """Return the share of equal answers; the pixels have to be equal."""
    if [pixels for pixels, _ in plain.values()] != [ours[place][0] for place in plain]:
        raise SystemExit("The sweep shows other pixels than the plain loop.")
    equal = [np.mean(np.equal(predicted, ours[place][1])) for place, (_, predicted) in plain.items()]
    return float(np.mean(equal))


def measured(ways: dict[str, Callable[[], Answers]], repeats: int) -> dict[str, Seconds]:
    """Return the median seconds of each way, and those of all processors together, timed in turns."""
    clocks = (time.perf_counter, time.process_time)
    times: dict[str, list[Seconds]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            wall, busy = (clock() for clock in clocks)
            way()
            times[name].append((clocks[0]() - wall, clocks[1]() - busy))
    return {name: tuple(map(statistics.median, zip(*each, strict=True))) for name, each in times.items()}


def report(bench: Bench, seconds: dict[str, Seconds], agreement: float, options: argparse.Namespace) -> None:
    cells, images = cells_of(bench.task), len(bench.dataset.test)
    shown = images * len(cells) * len(bench.runs)
    print(f"{images} images of {options.size} × {options.size}, {len(cells)} cells, runs: {' '.join(options.methods)}")
    print(f"{options.backbone}, smooth conv {options.smooth_conv}, on {options.device}")
    print(f"{torch.get_num_threads()} threads, {options.workers} workers, medians of {options.repeats}, interleaved")
    print(f"torch {torch.__version__}, Pillow {PIL.__version__}")
    print(f"{agreement:.2%} of the answers are equal\n")
    plain, ours = seconds.values()
    print(f"{'':20}{'seconds':>9}{'answers/s':>11}{'× plain':>9}{'CPU s':>9}{'× plain':>9}")
    for name, (wall, busy) in seconds.items():
        print(f"{name:20}{wall:9.1f}{shown / wall:11.1f}{plain[0] / wall:9.2f}{busy:9.1f}{plain[1] / busy:9.2f}")
    ratio = plain[0] / ours[0]
    print(f"\n{'met' if ratio >= TARGET else 'missed'}: at least {TARGET:g} × the plain loop")


if __name__ == "__main__":
    main()
