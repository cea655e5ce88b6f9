"""A run's calibration: temperatures of its outputs, and thresholds below which an image is of none of its classes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pmsi.base.files import cached_by_files, read_json, to_json, write_atomically
from pmsi.base.shapes import misfit
from pmsi.runs.damage import SHAPES
from pmsi.runs.run import Run

FILE = "calibration.json"

IMAGES = {
    "validation": "its validation part",
    "left_out": "images of the training split that it was not trained on",
    "fresh": "birds drawn for it, which are in neither split",
    "test": "its test images, so that figures on them flatter",
}
"""The images that a calibration can be fitted on, the best first."""


@dataclass(frozen=True)
class Calibration:
    """What was fitted on ``images`` images (``on``, a row of IMAGES) for the model of digest ``model``.

    ``temperatures`` are by output, ``thresholds`` by score (`pmsi.uncertainty.scores`) and output.
    """

    model: str
    on: str
    images: int
    temperatures: Mapping[str, float]
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def write(self, run: Run) -> None:
        """Store the calibration with a run."""
        write_atomically(run.folder / FILE, to_json(asdict(self), indent=1) + "\n")


def parsed(stored: Any) -> Calibration | None:
    """Return the calibration that was written as JSON types; None for anything else."""
    if not isinstance(stored, dict) or misfit(stored, SHAPES[FILE]) is not None:
        return None
    return Calibration(**{name: stored[name] for name in Calibration.__dataclass_fields__})


@cached_by_files(lambda run: [run.folder / FILE])
def calibration_of(run: Run) -> Calibration | None:
    """Return the calibration that is stored with a run; None where there is none."""
    return parsed(read_json(run.folder / FILE))
