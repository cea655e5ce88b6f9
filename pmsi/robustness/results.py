"""The results of a sweep, read from its folder: records, report, predictions, and the perturbed images.

The report is recomputed from the predictions, so sweeps of any age and sweeps in progress can be read. Reading imports
no torch; `SweepResults.picture` does.
"""

import contextlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from pmsi.base.errors import DataError, PMSIError, RunError, lookup
from pmsi.base.files import LARGE, read_json
from pmsi.config import RobustnessConfig, TrainConfig
from pmsi.config.titles import method_title
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.record import DataRecord, digest_of
from pmsi.perturbations import by_effect
from pmsi.robustness.cells import CLEAN, Cell
from pmsi.robustness.confusion import confused_pairs, confusion
from pmsi.robustness.report import FILE, CellPredictions, FinishedCells, read, summarise
from pmsi.runs import Run
from pmsi.runs.record import classes_of, record_of
from pmsi.uncertainty.measures import Answers, restored


@dataclass(frozen=True)
class SweepResults:
    """The finished part of a sweep.

    ``records`` are the metrics records by cell, the clean images first; ``report`` is that of `pmsi.robustness.report`,
    ``predicted_in`` are the predictions by cell.
    """

    run: Run
    config: RobustnessConfig
    records: dict[Cell, dict[str, Any]]
    report: dict[str, Any]
    predicted_in: dict[Cell, CellPredictions]

    @property
    def runs(self) -> list[str]:
        """The ids of the runs; the others are compared with the first."""
        return [*self.report["primary"]]

    @property
    def cells(self) -> list[Cell]:
        """The finished cells, the clean images first."""
        return [*self.records]

    @property
    def perturbations(self) -> list[str]:
        """Names of the perturbations with a finished cell, by what they do to an image."""
        found = dict.fromkeys(cell.perturbation for cell in self.records if cell.perturbation is not None)
        return [name for names in by_effect(found).values() for name in names]

    def telling(self, run: str) -> Cell:
        """Return the perturbed cell in which a run confuses most different pairs of classes, the first of several."""
        labels, head, count = self.report["labels"], self.report["primary"][run], len(self.report["classes"])

        def pairs(cell: Cell) -> int:
            return len(confused_pairs(confusion(labels, self.predictions(cell, run, head), count)))

        return max(self.cells[1:] or self.cells, key=pairs)

    @property
    def images(self) -> int:
        """The number of test images."""
        return len(self.report["keys"])

    def of(self, perturbation: str) -> list[Cell]:
        """Return the finished cells of a perturbation, the least severe first."""
        mine = (cell for cell in self.records if cell.perturbation == perturbation)
        return sorted(mine, key=lambda cell: cell.severity)

    def heads(self, run: str) -> list[str]:
        """Return the outputs of a run."""
        return [*self.records[CLEAN]["runs"][run]["heads"]]

    def score(self, cell: Cell, run: str, head: str) -> dict[str, Any]:
        """Return accuracy, drop and their intervals of an output in a cell; see `pmsi.robustness.sweep.summary`."""
        found: dict[str, Any] = self.records[cell]["runs"][run]["heads"][head]
        return found

    def predictions(self, cell: Cell, run: str, head: str) -> np.ndarray:
        """Return the predicted labels (n,) int32 of an output in a cell; RunError if the file is missing."""
        if cell not in self.predicted_in:
            raise RunError(f"{cell.file} of run {self.run.id} cannot be read. Resume the sweep, or make it again.")
        return lookup("output", self.predicted_in[cell][run], head)

    def answers(self, cell: Cell, run: str) -> dict[str, dict[str, Answers]]:
        """Return what a run said of each image in a cell, by kind ("raw", "calibrated") and output.

        Empty in a sweep that is older than calibration.
        """
        stored = read_json(self.run.folder / cell.file, LARGE) or {}
        said = stored.get("runs", {}).get(run, {}).get("answers", {})
        return {kind: restored(each) for kind, each in said.items()}

    def test(self, cell: Cell, a: tuple[str, str], b: tuple[str, str]) -> dict[str, Any] | None:
        """Return McNemar's test between two outputs, each (run, output); None if the sweep has no such test.

        ``only`` has the numbers of images that only a and only b recognise.
        """
        if (found := self._tests.get((cell, a, b))) is not None:
            only = (found["only_a"], found["only_b"])
        elif (found := self._tests.get((cell, b, a))) is not None:
            only = (found["only_b"], found["only_a"])
        else:
            return None
        return {"only": only, "p": found["p"], "holm": found["holm"]}

    @cached_property
    def _tests(self) -> dict[tuple[Cell, tuple[str, str], tuple[str, str]], dict[str, Any]]:
        return {
            (Cell.of(each), (each["a"], each["output_a"]), (each["b"], each["output_b"])): each
            for each in self.report["comparisons"]
        }

    def title(self, run: str) -> str:
        """Return a run's method, data set and end of its id in words; only the id if the run is missing."""
        with contextlib.suppress(PMSIError):
            if isinstance(config := self.run.sibling(run).config, TrainConfig):
                return f"{method_title(config.method)} on {config.dataset} · {run[-4:]}"
        return run

    # Pictures

    @cached_property
    def trained(self) -> TrainConfig:
        """The config of the first run, with the sweep's limit on test images; it decides the pictures' size."""
        config = self.run.sibling(self.runs[0]).config
        if not isinstance(config, TrainConfig):
            raise RunError(f"Run {self.runs[0]} is no training run, so its test images are not known.")
        return replace(config, test_per_class=self.config.test_per_class or config.test_per_class)

    def picture(self, dataset: Dataset, index: int, cell: Cell = CLEAN) -> Image.Image:
        """Return the first run's input of an image in a cell, recomputed with the same pixels.

        Raises DataError where the image is gone, or has other pixels now.
        """
        from pmsi.data.preprocessing import centre_crop, resize

        key = self.report["keys"][index]
        pixels = resize(dataset.open_image(self._sample(dataset, key)).convert("RGB"), self.trained.resize_to)
        seen, _ = cell.apply(centre_crop(pixels, self.trained.image_size), self.config.seed, key)
        return Image.fromarray(seen)

    def _sample(self, dataset: Dataset, key: str) -> Sample:
        """Return the image that was shown under a key, found by its pixels where these are known."""
        if (shown := self.digests.get(key)) is None:
            return dataset.find(key)
        for sample in sorted(dataset.samples, key=lambda sample: sample.key != key):
            if digest_of(dataset, sample) == shown:
                return sample
        raise DataError(f"{key} is gone from {dataset.name}, or has other pixels than sweep {self.run.id} was shown.")

    def dataset(self) -> Dataset:
        """Open the data set of the test images; raises DataError where it is not here, or its images are others."""
        dataset = open_dataset(self.trained)
        now = {image.digest for image in DataRecord.of(dataset).test}
        if changed := sum(digest not in now for digest in self.digests.values()):
            raise DataError(
                f"{changed} of {len(self.digests)} test images of {dataset.name} are not those that sweep "
                f"{self.run.id} was shown. Bring them back as they were; its numbers stay what they are."
            )
        return dataset

    @cached_property
    def digests(self) -> dict[str, str]:
        """Return by key the digests of the images that were shown, as the sweep or its first run keeps them."""
        stored = read_json(self.run.folder / CLEAN.file, LARGE) or {}
        if digests := stored.get("digests"):
            return dict(zip(stored["keys"], digests, strict=True))
        record = record_of(self.run.sibling(self.runs[0]))
        known = {} if record is None else {image.key: image.digest for image in record.test}
        return {key: known[key] for key in self.report["keys"] if key in known}


def read_results(run: Run) -> SweepResults:
    """Return the finished part of a sweep; raises RunError for a run that is none, has no cell yet or is damaged."""
    config = run.config
    if not isinstance(config, RobustnessConfig):
        raise RunError(f"Run {run.id} is no sweep but of the task {config.task!r}. Make one: pmsi robustness RUN …")
    records = {Cell.of(record): record for record in run.metrics() if record.get("kind") == "cell"}
    if CLEAN not in records:
        raise RunError(f"Sweep {run.id} has no finished cell yet. Wait, or resume it: pmsi runs resume {run.id}")
    primary = {id: found["primary"] for id, found in records[CLEAN]["runs"].items()}
    try:
        finished = read(run.folder, [*records], primary)
        report = summarise(finished, _classes(run, finished))
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise RunError(f"Sweep {run.id}: its predictions are damaged ({error!r}). Make it again.") from error
    return SweepResults(run, config, records, report, finished.predictions)


def _classes(run: Run, finished: FinishedCells) -> list[str]:
    """Return the class names as the sweep or a training run has them, or numbers where none has."""
    for file in (CLEAN.file, FILE):
        if stored := (read_json(run.folder / file, LARGE) or {}).get("classes"):
            return list(stored)
    for id in finished.runs:
        with contextlib.suppress(PMSIError):
            return list(classes_of(run.sibling(id)))
    columns = [finished.labels, *(finished.predicted(CLEAN, id) for id in finished.runs)]
    return [f"class {number}" for number in range(max(int(column.max(initial=-1)) for column in columns) + 1)]
