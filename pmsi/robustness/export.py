"""A sweep as rows and as CSV: a row for each run, cell and output, or for each image and run. Shares are fractions."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from pmsi.robustness.cells import CLEAN, Cell
from pmsi.robustness.results import SweepResults
from pmsi.uncertainty.measures import MEASURES

CELLS = (
    "run", "perturbation", "severity", "output", "is_primary", "n", "correct", "accuracy", "low", "high", "drop",
    "drop_low", "drop_high", *MEASURES, "calibrated", "against", "against_output", "only_here", "only_there", "p",
    "holm", "errors_over_first",
)  # fmt: skip
"""Columns of `cell_rows`. ``against`` is the first run, with which McNemar's test compares; the measures are those of
the probabilities, calibrated where the run has temperatures, and empty in older sweeps."""

Row = dict[str, Any]


def cell_rows(results: SweepResults) -> list[Row]:
    """Return a row (`CELLS`) for each run, cell and output; values that do not apply are None."""
    rows = []
    for run in results.runs:
        for cell in results.cells:
            said = results.answers(cell, run)
            of = said.get("calibrated") or said.get("raw") or {}
            for head in results.heads(run):
                measured = {name: row.of(of[head]) for name, row in MEASURES.items()} if of else {}
                measured |= {"calibrated": "calibrated" in said} if of else {}
                rows.append(cell_row(results, cell, run, head) | measured)
    return rows


def cell_row(results: SweepResults, cell: Cell, run: str, head: str) -> Row:
    """Return the row of one output of a run in a cell, without the measures of its probabilities."""
    primary = results.report["primary"][run] == head
    about = {"run": run, "perturbation": cell.perturbation, "severity": cell.severity, "output": head}
    row = dict.fromkeys(CELLS) | about | {"is_primary": primary} | results.score(cell, run, head)
    row |= comparison(results, cell, run, head) or {}
    if primary:
        relative = results.report["relative_error"]["perturbations"]
        row["errors_over_first"] = relative.get(cell.perturbation, {}).get(run)
    return row


def comparison(results: SweepResults, cell: Cell, run: str, output: str) -> Row | None:
    """Return McNemar's test of a run's output in a cell against the first run; None if the sweep has no such test.

    A primary output is compared with the first run's primary one, any other output with the one of the same name.
    """
    first, primary = results.runs[0], results.report["primary"]
    other = primary[first] if output == primary[run] else output
    test = None if run == first else results.test(cell, (first, other), (run, output))
    if test is None:
        return None
    there, here = test["only"]
    about = {"against": first, "against_output": other, "only_here": here, "only_there": there}
    return about | {"p": test["p"], "holm": test["holm"]}


def image_rows(results: SweepResults) -> list[Row]:
    """Return a row for each image and run: its class, the clean prediction, and the severity that first changes it.

    ``flips_at PERTURBATION`` is None if no severity of the sweep changes the prediction.
    """
    classes, labels = results.report["classes"], results.report["labels"]
    rows = []
    for run in results.runs:
        clean = results.predictions(CLEAN, run, results.report["primary"][run]).tolist()
        flips = results.report["flips"][run]
        for i, key in enumerate(results.report["keys"]):
            about = {"image": key, "class": classes[labels[i]], "run": run, "clean_answer": classes[clean[i]]}
            about |= {"clean_is_right": clean[i] == labels[i]}
            rows.append(about | {f"flips_at {name}": severities[i] for name, severities in flips.items()})
    return rows


def as_csv(results: SweepResults) -> str:
    """Return `cell_rows` as CSV with a header."""
    return _csv(cell_rows(results), CELLS)


def images_as_csv(results: SweepResults) -> str:
    """Return `image_rows` as CSV with a header."""
    rows = image_rows(results)
    return _csv(rows, [*rows[0]] if rows else [])


def _csv(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:  # csv writes None as an empty field
        writer.writerow({name: int(value) if isinstance(value, bool) else value for name, value in row.items()})
    return out.getvalue()
