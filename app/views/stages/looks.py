"""What the Stages page shows of a run: its activations for an image, as the part in the browser needs them."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL.Image import Image

from app.shared.cached_data import data_of_run
from app.shared.cached_models import model_of, predictor_of
from app.shared.memory import once
from app.shared.palette import head_color
from app.shared.panels import Picked, run_colors
from app.shared.wording import name_of_run
from app.shared.work import LONG
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.images import pixels_digest
from pmsi.explain.cam import STAGE_INDEX
from pmsi.explain.stages import ORDERS, Activations, ChannelPeaks, StageMap
from pmsi.pictures.encoding import data_uri, jpeg
from pmsi.pictures.mosaics import mosaics
from pmsi.pictures.overlays import BRIGHTEST, DARKEST, table
from pmsi.predictor import Predictor
from pmsi.runs import Run

MOST, LEAST, BYTES = 8, 4, 128_000
"""How many channels of a stage are sent: as many as `BYTES` hold, within limits."""

UNKNOWN = "What a cell can see is not known: this network has layers, such as attention, that are no convolutions."
KEYS = (
    "Move the pointer over a picture, tap it, or use the arrow keys (Shift: farther; Home: the largest value). A click "
    "on S1 to S5 chooses the stage."
)


@dataclass(frozen=True)
class Shown:
    """How looks are drawn: the image's title, the order of channels, and the opacity of their colours, 0–1."""

    title: str
    order: str
    strength: float


@dataclass(frozen=True)
class Look:
    """What one run computes of a picture, which is the image as the network sees it or a mosaic of it.

    ``label`` is the image's class, where that is known.
    """

    run: Run
    picture: Image
    found: Activations
    label: str | None

    @property
    def predictor(self) -> Predictor:
        return predictor_of(self.run)


def look(run: Run, picked: Picked, output: str, r: int, layout: tuple[int, str]) -> Look:
    """Return a run's look at an image or its mosaic of r recursions; ``layout`` is its seed and permutation.

    The evidence is for ``output``, where the run has it.
    """
    predictor = predictor_of(run)
    picture = predictor.prepare(picked.image)
    if r:
        seed, permutation = layout
        picture = mosaics(picture, r, seed=seed, permutation=permutation, borders=False)[-1]
    head = output if output in predictor.heads else predictor.primary
    key = ("inside", model_of(run), pixels_digest(picture), head)
    found = once(key, lambda: predictor.activations(picture, head=head))
    return Look(run, picture, found, picked.label)


def _panel(one: Look, color: str, order: str, stage: str, channel: int | None) -> dict[str, Any]:
    """Return what the part in the browser draws of a look: the strongest channels of each stage, and a picked one."""
    return {
        "title": name_of_run(one.run),
        "color": color,
        "image": data_uri(jpeg(one.picture)),
        "size": one.picture.width,
        "stages": [
            _stage(name, each, order, channel if name == stage else None) for name, each in one.found.stages.items()
        ],
    }


def _stage(name: str, stage: StageMap, order: str, picked: int | None) -> dict[str, Any]:
    channels, h, w = stage.values.shape
    numbers = stage.strongest(max(LEAST, min(MOST, BYTES // (2 * h * w))), order)
    if picked is not None and picked not in numbers:
        numbers.append(picked)
    field = stage.field
    return {
        "name": name,
        "color": head_color(name),
        "channels": channels,
        "h": h,
        "w": w,
        "field": None if field.reach is None else (field.reach, field.jump, field.start),
        "sees": "sees ? px" if field.reach is None else f"each sees {field.reach} px",
        "picked": picked,
        "tiles": [_tile(number, stage.values[number]) for number in numbers],
    }


def _tile(number: int, values: np.ndarray) -> dict[str, Any]:
    """Return a channel with its values as 16 bits between its least and its largest one."""
    least, most = float(values.min()), float(values.max())
    steps = np.rint((values - least) * (65535 / ((most - least) or 1.0))).astype("<u2")
    return {
        "channel": number,
        "least": least,
        "most": most,
        "values": base64.b64encode(steps.tobytes()).decode(),
    }


def data_of(
    looks: Sequence[Look], shown: Shown, stage: str, channels: Sequence[int | None], link: str
) -> dict[str, Any]:
    """Return all that the part in the browser needs.

    ``stage`` and each run's channel in it, where one was picked, hold at first for the view that ``link`` names.
    """
    colors = run_colors([one.run for one in looks])
    panels = [
        _panel(one, colors[one.run.id], shown.order, stage, channel)
        for one, channel in zip(looks, channels, strict=True)
    ]
    sent = [[tile["channel"] for each in one["stages"] for tile in each["tiles"]] for one in panels]
    return {
        "link": link,
        "version": f"{link} {sent} {shown.strength}",
        "start": list(STAGE_INDEX).index(stage),
        "title": shown.title,
        "order": ORDERS[shown.order],
        "colors": np.rint(table()).astype(int).flatten().tolist(),
        "ground": (DARKEST, BRIGHTEST),
        "strength": shown.strength,
        "unknown": UNKNOWN,
        "keys": KEYS,
        "panels": panels,
    }


# The strongest test images

BATCH = 8


def peaks_once(run: Run, dataset: Dataset, samples: Sequence[Sample]) -> ChannelPeaks:
    """Return the peaks of every channel on some of a run's test images, computed once for all visitors."""
    predictor = predictor_of(run)
    key = ("peaks", model_of(run), dataset.name, tuple(sample.digest or sample.key for sample in samples))

    def make() -> ChannelPeaks:
        return predictor.channel_peaks([predictor.prepare(dataset.open_image(sample)) for sample in samples])

    return once(key, make, line=LONG)


def tested(run: Run) -> Dataset:
    """Return the images that a run was tested on."""
    return data_of_run(run).dataset
