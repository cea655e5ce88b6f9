"""The report of a sweep, computed from its stored predictions.

Tests between each pair of runs, drops by class, the severity that flips each image, accuracy against the drawn factors.
Tests are of every output, everything else is of the primary output of each run. Neither torch nor a model is needed,
and a sweep in progress can be reported.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pmsi.base.errors import RunError
from pmsi.base.files import LARGE, read_json
from pmsi.base.statistics import Proportion, by_bin, holm, mcnemar, survival
from pmsi.robustness.cells import CLEAN, Cell

FILE = "report.json"
"""File in the run's folder with the report of a finished sweep, for other programs; this one always recomputes it."""

BINS = 8
"""Bins of equal width over a drawn factor."""

CellPredictions = dict[str, dict[str, np.ndarray]]
"""The predicted labels (n,) int32 by run and output."""


@dataclass(frozen=True)
class FinishedCells:
    """The finished cells of a sweep: keys and labels (n,) of the images, and the predictions and factors by cell.

    ``primary`` is the primary output of each run.
    """

    keys: list[str]
    labels: np.ndarray
    primary: Mapping[str, str]
    predictions: dict[Cell, CellPredictions]
    factors: dict[Cell, dict[str, dict[str, list[Any]]]]

    @property
    def runs(self) -> list[str]:
        """The ids of the runs."""
        return [*self.primary]

    def predicted(self, cell: Cell, run: str) -> np.ndarray:
        """Return the labels (n,) int32 that a run predicts, at its primary output."""
        return self.predictions[cell][run][self.primary[run]]

    def right(self, cell: Cell, run: str, output: str | None = None) -> np.ndarray:
        """Return whether each image was recognised by an output, (n,) bool; by default the primary one."""
        return self.predictions[cell][run][output or self.primary[run]] == self.labels

    def of(self, perturbation: str) -> list[Cell]:
        """Return the finished cells of a perturbation, the least severe first."""
        return sorted((c for c in self.predictions if c.perturbation == perturbation), key=lambda cell: cell.severity)

    @property
    def perturbations(self) -> list[str]:
        """Names of the perturbations with a finished cell."""
        return [*dict.fromkeys(cell.perturbation for cell in self.predictions if cell.perturbation is not None)]


def read(folder: Path, cells: Sequence[Cell], primary: Mapping[str, str]) -> FinishedCells:
    """Return those of the cells whose predictions are in a run's folder; ``primary`` are the runs' primary outputs.

    Raises RunError if the clean images are not among them.
    """
    found = {cell: stored for cell in cells if (stored := read_json(folder / cell.file, LARGE)) is not None}
    if CLEAN not in found:
        raise RunError(f"There are no predictions of the clean images in {folder}. Resume the sweep.")
    answers = {cell: {id: _labels(stored["runs"][id]["predicted"]) for id in primary} for cell, stored in found.items()}
    factors = {cell: {id: stored["runs"][id]["factors"] for id in primary} for cell, stored in found.items()}
    return FinishedCells(
        found[CLEAN]["keys"], np.array(found[CLEAN]["labels"], np.int32), dict(primary), answers, factors
    )


def _labels(predicted: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    return {output: np.array(labels, np.int32) for output, labels in predicted.items()}


def report(folder: Path, cells: Sequence[Cell], primary: Mapping[str, str], classes: Sequence[str]) -> dict[str, Any]:
    """Return the report of the finished cells in a run's folder, as JSON types."""
    return summarise(read(folder, cells, primary), classes)


def summarise(finished: FinishedCells, classes: Sequence[str]) -> dict[str, Any]:
    """Return the report of finished cells, as JSON types."""
    return {
        "primary": dict(finished.primary),
        "classes": [*classes],
        "keys": finished.keys,
        "labels": finished.labels.tolist(),
        "comparisons": comparisons(finished),
        "relative_error": relative_error(finished),
        "class_drops": class_drops(finished, len(classes)),
        "flips": flips(finished),
        "survival": survivals(finished),
        "factors": against_factors(finished),
    }


def comparisons(finished: FinishedCells) -> list[dict[str, Any]]:
    """Return McNemar's test between each pair of runs a and b, in each cell including the clean images.

    First of the primary outputs, then of each output name that both have. ``only_a`` is the number of images that only
    a recognised. ``holm`` is p, adjusted over the cells of the same two runs and outputs.
    """
    return [
        found
        for a, b in itertools.combinations(finished.runs, 2)
        for outputs in _outputs(finished, a, b)
        for found in _compared(finished, (a, b), outputs)
    ]


def _outputs(finished: FinishedCells, a: str, b: str) -> list[tuple[str, str]]:
    """Return the pairs of outputs of two runs that are compared, each once."""
    predicting = (finished.primary[a], finished.primary[b])
    shared = [(name, name) for name in finished.predictions[CLEAN][a] if name in finished.predictions[CLEAN][b]]
    return [*dict.fromkeys([predicting, *shared])]


def _compared(finished: FinishedCells, runs: tuple[str, str], outputs: tuple[str, str]) -> list[dict[str, Any]]:
    sides = [*zip(runs, outputs, strict=True)]
    pairs = {cell: [finished.right(cell, *side) for side in sides] for cell in finished.predictions}
    p_values = [mcnemar(*pair) for pair in pairs.values()]
    about = {"a": runs[0], "b": runs[1], "output_a": outputs[0], "output_b": outputs[1]}
    return [
        about
        | _about(cell)
        | {"only_a": int((right_a & ~right_b).sum()), "only_b": int((right_b & ~right_a).sum())}
        | {"p": p, "holm": adjusted}
        for (cell, (right_a, right_b)), p, adjusted in zip(pairs.items(), p_values, holm(p_values), strict=True)
    ]


def relative_error(finished: FinishedCells) -> dict[str, Any]:
    """Return the errors at all severities divided by those of the first run, "over", by perturbation and run.

    ImageNet-C's "CE" with the first run in AlexNet's place: 1 means as many errors as the first run. None if the first
    run has no error.
    """
    first, *_ = finished.runs
    found = {}
    for name in finished.perturbations:
        errors = {id: sum(int((~finished.right(cell, id)).sum()) for cell in finished.of(name)) for id in finished.runs}
        found[name] = {id: wrong / errors[first] if errors[first] else None for id, wrong in errors.items()}
    return {"over": first, "perturbations": found}


def class_drops(finished: FinishedCells, classes: int) -> list[dict[str, Any]]:
    """Return the drop of each class by perturbed cell and run: clean accuracy minus that in the cell, a fraction.

    None for a class without test images.
    """
    images = np.bincount(finished.labels, minlength=classes)

    def drops(cell: Cell, id: str) -> list[float | None]:
        lost = finished.right(CLEAN, id).astype(int) - finished.right(cell, id)
        sums = np.bincount(finished.labels, lost, minlength=classes)
        return [float(total / n) if n else None for total, n in zip(sums, images, strict=True)]

    perturbed = [cell for cell in finished.predictions if cell != CLEAN]
    return [_about(cell) | {"runs": {id: drops(cell, id) for id in finished.runs}} for cell in perturbed]


def first_flips(finished: FinishedCells, perturbation: str, run: str) -> np.ndarray:
    """Return the smallest severity at which the run's prediction differs from that of the clean image, (n,).

    Infinity if no severity of the sweep changes the prediction (censored at the largest severity).
    """
    first = np.full(len(finished.labels), math.inf)
    for cell in reversed(finished.of(perturbation)):
        first[finished.predicted(cell, run) != finished.predicted(CLEAN, run)] = cell.severity
    return first


def flips(finished: FinishedCells) -> dict[str, dict[str, list[float | None]]]:
    """Return `first_flips` by run and perturbation, in the order of the keys; None for infinity."""
    return {
        id: {
            name: [severity if math.isfinite(severity) else None for severity in first_flips(finished, name, id)]
            for name in finished.perturbations
        }
        for id in finished.runs
    }


def survivals(finished: FinishedCells) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return survival curves by run and perturbation: of the images recognised clean, the share not flipped so far."""
    curves: dict[str, dict[str, list[dict[str, Any]]]] = {id: {} for id in finished.runs}
    for id, name in itertools.product(finished.runs, finished.perturbations):
        levels = [cell.severity for cell in finished.of(name)]
        steps = survival(first_flips(finished, name, id)[finished.right(CLEAN, id)], levels)
        curves[id][name] = [
            {"severity": level} | _share(step, "survived", "share") for level, step in zip(levels, steps, strict=True)
        ]
    return curves


def against_factors(finished: FinishedCells) -> list[dict[str, Any]]:
    """Return the accuracy of each run in bins of a drawn factor, for each cell and each factor that is a quantity.

    Floats are quantities (an angle, a gain); seeds and places are not.
    """
    found = []
    for cell, by_run in finished.factors.items():
        for name, values in by_run[finished.runs[0]].items():
            if not all(isinstance(value, float) for value in values):
                continue
            drawn = [value for factors in by_run.values() for value in factors[name]]
            edges = np.linspace(min(drawn), max(drawn), BINS + 1)
            bins = {id: by_bin(by_run[id][name], finished.right(cell, id), edges) for id in finished.runs}
            runs = {id: [_share(each, "correct", "accuracy") for each in binned] for id, binned in bins.items()}
            found.append(_about(cell) | {"factor": name, "edges": edges.tolist(), "runs": runs})
    return found


def _about(cell: Cell) -> dict[str, Any]:
    return {"perturbation": cell.perturbation, "severity": cell.severity}


def _share(found: Proportion, count: str, value: str) -> dict[str, Any]:
    """Return a proportion as JSON types; ``count`` and ``value`` are the names of its count and its share."""
    share = found.value if found.n else None
    return {count: found.count, "n": found.n, value: share, "low": found.low, "high": found.high}
