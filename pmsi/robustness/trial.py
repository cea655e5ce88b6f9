"""A sweep on trial: the sweep's own work on a few test images and one severity of each perturbation, timed.

Nothing of it is kept but what reading images leaves in the shared cache. What the times are for is not known here.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL.Image import Image

from pmsi.config import RobustnessConfig
from pmsi.data.cache.pixels import Pixels
from pmsi.data.dataset import Dataset, Sample
from pmsi.robustness.answering import answering
from pmsi.robustness.cells import Cell, cells_of
from pmsi.robustness.entrants import Entrant, entrants_among, open_shared
from pmsi.robustness.sweeping import Sweep
from pmsi.runs import Run

IMAGES, BATCH = 16, 8
"""Images of a trial on a CPU, and how many are made at once. On a GPU, where few images take as long as many, it takes
two whole batches."""


def tried(config: RobustnessConfig, root: Path) -> float:
    """Return about how many seconds a sweep over the runs in ``root`` takes: its start, its reading, and its cells."""
    began = time.perf_counter()
    entrants = entrants_among(config, [Run.open(root, id) for id in config.of])
    with tempfile.TemporaryDirectory() as folder:
        dataset = open_shared(config, entrants, Run.create(Path(folder), config))
        ready = time.perf_counter() - began
        trial = Trial(config, Path(folder), dataset, entrants)
        return ready + len(dataset.test) * (trial.reading() + trial.working())


class Trial(Sweep):
    """A sweep over few images. Its times are seconds for each image of the whole one."""

    def __init__(self, config: RobustnessConfig, folder: Path, dataset: Dataset, entrants: tuple[Entrant, ...]) -> None:
        on_cpu = entrants[0].device.type == "cpu"
        batch = min(config.batch_size, BATCH) if on_cpu else config.batch_size
        count = max(IMAGES, batch) if on_cpu else 2 * batch
        self.whole, self.wanted = dataset, cells_of(config)
        self.chosen = range(0, len(dataset.test), max(1, len(dataset.test) // count))[:count]
        few = replace(dataset, test=tuple(dataset.test[i] for i in self.chosen), open_image=_opened_by(dataset))
        one_of_each = tuple(f"{cell.perturbation}={cell.severity!r}" for cell in _usual(self.wanted))
        short = config.with_(perturbations=one_of_each, severities=None, batch_size=batch)
        super().__init__(short, Run.create(folder, short), few, entrants)

    def reading(self) -> float:
        """Return the seconds of reading an image for all runs: none but a look where the shared cache has it."""
        sides = {entrant.view[0] for entrant in self.entrants}
        stores = [Pixels(self.whole, self.whole.test, side) for side in sides]
        return sum(_timed(list, map(store.__getitem__, self.chosen)) for store in stores) / len(self.chosen)

    def working(self) -> float:
        """Return the seconds that an image takes in all cells of the whole sweep, after a first pass to warm up."""
        numbers = [0, *range(len(self.cells))]
        with answering(self.entrants[0].device) as pool, closing(self._shown(numbers)) as shown:
            times = [_timed(self._predict, number, shown, pool) for number in numbers]
        counts = Counter(cell.perturbation for cell in self.wanted)
        cells = zip(self.cells, times[1:], strict=True)
        return sum(counts[cell.perturbation] * seconds for cell, seconds in cells) / len(self.chosen)


def _usual(cells: tuple[Cell, ...]) -> list[Cell]:
    """Return the middle severity of each perturbation, which stands for the others."""
    found = []
    for name in dict.fromkeys(cell.perturbation for cell in cells if cell.perturbation is not None):
        mine = sorted((cell for cell in cells if cell.perturbation == name), key=lambda cell: cell.severity)
        found.append(mine[len(mine) // 2])
    return found


def _opened_by(dataset: Dataset) -> Callable[[Sample], Image]:
    """Return what opens an image as the data set does, and is not known as reading files: a few need no cache."""
    return lambda sample: dataset.open_image(sample)


def _timed(work: Callable[..., object], *arguments: Any) -> float:
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began
