"""The results of a sweep, read from its folder: its records, its report, the answers behind a cell, and the pictures.

The report is made of the predictions, so that a sweep of any age can be read, one in progress too. Reading one imports
no torch; making a picture again does.
"""

import contextlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from pmsi.base.errors import PMSIError, RunError, lookup
from pmsi.base.files import read_json
from pmsi.config import RobustnessConfig, TrainConfig
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset
from pmsi.robustness.cells import CLEAN, Cell
from pmsi.robustness.report import FILE, CellPredictions, FinishedCells, read, summarise
from pmsi.runs import Run


@dataclass(frozen=True)
class SweepResults:
    """A sweep as far as it is finished.

    ``records`` are those of its cells by cell, the clean images first; ``report`` is that of `pmsi.robustness.report`,
    and ``predicted_in`` are the answers of which it is made, by cell.
    """

    run: Run
    config: RobustnessConfig
    records: dict[Cell, dict[str, Any]]
    report: dict[str, Any]
    predicted_in: dict[Cell, CellPredictions]

    @property
    def runs(self) -> list[str]:
        """The ids of the runs compared, the first one being what others are measured by."""
        return [*self.report["primary"]]

    @property
    def cells(self) -> list[Cell]:
        """The finished cells, the clean images first."""
        return [*self.records]

    @property
    def perturbations(self) -> list[str]:
        """Names of the perturbations of which some cell is finished."""
        return [*dict.fromkeys(cell.perturbation for cell in self.records if cell.perturbation is not None)]

    @property
    def images(self) -> int:
        """How many test images each run was shown in each cell."""
        return len(self.report["keys"])

    def of(self, perturbation: str) -> list[Cell]:
        """Return the finished cells of a perturbation, the least severe first."""
        mine = (cell for cell in self.records if cell.perturbation == perturbation)
        return sorted(mine, key=lambda cell: cell.severity)

    def heads(self, run: str) -> list[str]:
        """Return the outputs of a run."""
        return [*self.records[CLEAN]["runs"][run]["heads"]]

    def score(self, cell: Cell, run: str, head: str) -> dict[str, Any]:
        """Return accuracy, drop and their intervals of an output in a cell: see `pmsi.robustness.sweep.summary`."""
        found: dict[str, Any] = self.records[cell]["runs"][run]["heads"][head]
        return found

    def predictions(self, cell: Cell, run: str, head: str) -> np.ndarray:
        """Return the label that an output answers for each image in a cell, (n,) int32."""
        if cell not in self.predicted_in:
            raise RunError(f"{cell.file} of run {self.run.id} cannot be read. Resume the sweep, or make it again.")
        return lookup("output", self.predicted_in[cell][run], head)

    def test(self, cell: Cell, a: tuple[str, str], b: tuple[str, str]) -> dict[str, Any] | None:
        """Return McNemar's test between two outputs, each (run, output); None where the sweep has no such test.

        ``only`` holds how many images a and b recognise alone.
        """
        for sides, names in (((a, b), ("only_a", "only_b")), ((b, a), ("only_b", "only_a"))):
            if (found := self._tests.get((cell, *sides))) is not None:
                return {"only": tuple(found[name] for name in names), "p": found["p"], "holm": found["holm"]}
        return None

    @cached_property
    def _tests(self) -> dict[tuple[Cell, tuple[str, str], tuple[str, str]], dict[str, Any]]:
        return {
            (Cell.of(each), (each["a"], each["output_a"]), (each["b"], each["output_b"])): each
            for each in self.report["comparisons"]
        }

    def title(self, run: str) -> str:
        """Return what a run is called: its method, data set and the end of its id; the id where it is not here."""
        with contextlib.suppress(PMSIError):
            if isinstance(config := self.run.sibling(run).config, TrainConfig):
                return f"{config.method} on {config.dataset} · {run[-4:]}"
        return run

    # Pictures

    @cached_property
    def trained(self) -> TrainConfig:
        """The config of the first run, with the sweep's limit on test images: whose view the pictures have."""
        config = self.run.sibling(self.runs[0]).config
        if not isinstance(config, TrainConfig):
            raise RunError(f"Run {self.runs[0]} is no training run, so its test images are not known.")
        return replace(config, test_per_class=self.config.test_per_class or config.test_per_class)

    def picture(self, dataset: Dataset, index: int, cell: Cell = CLEAN) -> Image.Image:
        """Return what the first run was shown of an image in a cell, made again, pixel by pixel the same."""
        from pmsi.data.preprocessing import centre_crop, resize

        key = self.report["keys"][index]
        pixels = resize(dataset.open_image(dataset.find(key)).convert("RGB"), self.trained.resize_to)
        seen, _ = cell.apply(centre_crop(pixels, self.trained.image_size), self.config.seed, key)
        return Image.fromarray(seen)

    def dataset(self) -> Dataset:
        """Open the data set of the test images; raises DataError where it is not here."""
        return open_dataset(self.trained)


def read_results(run: Run) -> SweepResults:
    """Return a sweep as far as it is finished; raises RunError where the run is none, or has no cell yet."""
    config = run.config
    if not isinstance(config, RobustnessConfig):
        raise RunError(f"Run {run.id} is no sweep but of the task {config.task!r}. Make one: pmsi robustness RUN …")
    records = {Cell.of(record): record for record in run.metrics() if record.get("kind") == "cell"}
    if CLEAN not in records:
        raise RunError(f"Sweep {run.id} has no finished cell yet. Wait, or resume it: pmsi runs resume {run.id}")
    primary = {id: found["primary"] for id, found in records[CLEAN]["runs"].items()}
    finished = read(run.folder, [*records], primary)
    return SweepResults(run, config, records, summarise(finished, _classes(run, finished)), finished.answers)


def _classes(run: Run, finished: FinishedCells) -> list[str]:
    """Return the class names as the sweep or a training run's result has them, or numbers where none has."""
    if stored := (read_json(run.folder / FILE) or {}).get("classes"):
        return list(stored)
    for id in finished.runs:
        with contextlib.suppress(PMSIError):
            if classes := (run.sibling(id).result() or {}).get("classes"):
                return list(classes)
    columns = [finished.labels, *(finished.predicted(CLEAN, id) for id in finished.runs)]
    return [f"class {number}" for number in range(max(int(column.max(initial=-1)) for column in columns) + 1)]
