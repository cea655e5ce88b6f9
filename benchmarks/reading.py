"""Speed of reading images: decoded each time, cached in memory, cached in the shared file, and a plain copy.

    python -m benchmarks.reading
    python -m benchmarks.reading --dataset cub --data CUB_200_2011 --images 500

All go through the loader for tests, and are first checked to give the same batches. They take turns, so that a busy
machine slows them alike; the median counts. Plumage is first drawn into JPEG files, as drawn images are not cached in
files. The copy of as many bytes is the lower limit.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import PIL
import torch

from pmsi.config import TrainConfig
from pmsi.data import open_dataset
from pmsi.data.cache import pixels
from pmsi.data.checking import SETTLED_S
from pmsi.data.dataset import Dataset
from pmsi.data.loading import Batch, EvaluationLoader
from pmsi.data.plumage import plumage

NOWHERE = os.devnull
"""A cache folder in which nothing can be kept."""

Reader = Callable[[], Iterable[Batch]]


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PMSI_CACHE"] = str(Path(folder, "cache"))
        config = TrainConfig(dataset=options.dataset, data=options.data, image_size=options.size)
        if options.dataset == "plumage":
            config = config.with_(
                dataset="folder", data=drawn(Path(folder, "plumage"), -(-options.images // SPECIES), 1)
            )
        dataset = open_dataset(config)
        samples = dataset.train[: options.images]
        bench = Bench(dataset, samples, config, options.batch)
        report(bench, measured(bench, options.repeats), options.repeats)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Images per second of reading a data set.")
    parser.add_argument("--dataset", default="plumage")
    parser.add_argument("--data", help="folder of the data set, where it is not plumage")
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--size", type=int, default=448, help="side of the crop; images are resized to 8/7 of it")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


SPECIES = 12
"""Classes of plumage."""


def drawn(folder: Path, train_per_class: int, test_per_class: int) -> str:
    """Draw plumage as JPEG files of the size of a photograph on the web, and return their folder."""
    drawings = plumage(train_per_class=train_per_class, test_per_class=test_per_class, size=448)
    for sample in (*drawings.train, *drawings.test):
        path = folder / f"{sample.key}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawings.open_image(sample).save(path, quality=92)
    time.sleep(SETTLED_S)  # files that have just changed are not kept
    return str(folder)


class Bench:
    """The same images, read in every way: ``readers`` by name and number of workers."""

    def __init__(self, dataset: Dataset, samples: Sequence, config: TrainConfig, batch: int) -> None:
        self.dataset, self.samples, self.config, self.batch = dataset, samples, config, batch
        self.fill()
        self.whole = list(self.kept(0))
        self.readers: dict[tuple[str, int], Reader] = {}
        for workers in (0, 2):
            for name, loader in self.loaders(workers).items():
                self.readers[name, workers] = lambda loader=loader: loader
        self.readers["file, first pass of a process", 0] = lambda: self.kept(0)
        self.readers["copy of the bytes", 0] = lambda: ((images.clone(), labels) for images, labels in self.whole)
        for name, reader in self.readers.items():
            self.check(name, reader())

    def loaders(self, workers: int) -> dict[str, EvaluationLoader]:
        return {
            "decoded each time": self.unkept(workers, memory=0),
            "memory": self.unkept(workers, pixels.KEPT_BYTES),
            "file": self.kept(workers),
        }

    def kept(self, workers: int) -> EvaluationLoader:
        return EvaluationLoader(self.dataset, self.samples, self.config, self.batch, workers)

    def unkept(self, workers: int, memory: int) -> EvaluationLoader:
        """Return a loader that keeps no file, and ``memory`` bytes of images in memory."""
        before = os.environ["PMSI_CACHE"], pixels.KEPT_BYTES
        os.environ["PMSI_CACHE"], pixels.KEPT_BYTES = NOWHERE, memory
        try:
            return self.kept(workers)
        finally:
            os.environ["PMSI_CACHE"], pixels.KEPT_BYTES = before

    def fill(self) -> None:
        """Fill the file in another process: what is timed is what a second run finds."""
        child = os.fork()
        if child == 0:
            for _ in self.kept(0):
                pass
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise SystemExit("The images could not be read.")

    def check(self, name: tuple[str, int], batches: Iterable[Batch]) -> None:
        equal = [torch.equal(a, b) for (a, _), (b, _) in zip(batches, self.whole, strict=True)]
        if not all(equal):
            raise SystemExit(f"{name} shows other pixels.")


def measured(bench: Bench, repeats: int) -> dict[tuple[str, int], float]:
    """Return the median seconds of one pass over the images by each reader, timed in turns."""
    times: dict[tuple[str, int], list[float]] = {name: [] for name in bench.readers}
    for _ in range(repeats):
        for name, reader in bench.readers.items():
            start = time.perf_counter()
            for _ in reader():
                pass
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def report(bench: Bench, seconds: dict[tuple[str, int], float], repeats: int) -> None:
    count, config = len(bench.samples), bench.config
    print(f"{count} images of {bench.dataset.name}, resized to {config.resize_to}, cropped to {config.image_size}")
    print(f"{os.cpu_count()} CPUs, torch {torch.__version__}, Pillow {PIL.__version__}, one thread in each process")
    print(f"batches of {bench.batch}; medians of {repeats} passes, interleaved\n")
    print(f"{'':32}{'workers':>8}{'images/s':>10}{'× decoding':>12}{'× copy':>8}")
    limit = seconds["copy of the bytes", 0]
    for (name, workers), value in sorted(seconds.items(), key=lambda item: (item[0][1], -item[1])):
        faster = seconds["decoded each time", workers] / value
        print(f"{name:32}{workers:8}{count / value:10.0f}{faster:12.1f}{limit / value:8.2f}")


if __name__ == "__main__":
    main()
