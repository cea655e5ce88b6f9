"""What the stages of a recogniser compute of an image: channels, what a cell can see, and the interaction's gates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pmsi.base.errors import ConfigError, lookup
from pmsi.data import limit
from pmsi.data.dataset import Dataset, Sample
from pmsi.explain.cam import STAGE_INDEX
from pmsi.model.batch import Images
from pmsi.model.pmsi import PMSI
from pmsi.model.receptive_field import Field, fields
from pmsi.model.recognizer import Outputs, Recognizer

OPEN, CLOSED = 0.9, 0.1
"""A gate above or below is called so."""

MOST_IMAGES = 192
"""Test images among which a channel's strongest ones are looked for."""

ORDERS: dict[str, str] = {
    "peak": "by their largest value",
    "mean": "by their mean over the image",
    "evidence": "by what they add to the answer",
}
"""What the strongest channels are: the largest of these numbers (`StageMap.strength`)."""


@dataclass(frozen=True)
class Gate:
    """A row of GATES: ``value`` stands in for every g_n of Eq. 3; None leaves them as they are."""

    title: str
    words: str
    value: float | None


GATES: dict[str, Gate] = {
    "on": Gate("On", "as trained: mₙ = xₙ + gₙ ⊙ xₙ", None),
    "half": Gate(
        "Gates at ½",
        "every gate is ½, as it is where xₘ is 0: no stage hears of the others, and the vectors keep the size that the "
        "classifiers know",
        0.5,
    ),
    "off": Gate(
        "Off",
        "every gate is 0, so mₙ = xₙ, as in “+ P”: the vectors are also shorter than the classifiers know, and part of "
        "the change is due to that",
        0.0,
    ),
}
"""The interaction as trained, and two ways to switch it off in a trained network."""


@dataclass(frozen=True)
class StageMap:
    """A stage's map of an image.

    ``values`` are (C_n, h_n, w_n) float32 of any sign; ``evidence`` (C_n,) is what each channel adds to the score that
    is explained, to first order: the sum over cells of gradient × value. ``field`` is what a cell can see.
    """

    values: np.ndarray
    evidence: np.ndarray
    field: Field

    def strength(self, by: str = "peak") -> np.ndarray:
        """Return the number by which channels are ordered, (C_n,); ``by`` is a key of ORDERS."""
        numbers = {"peak": self.values.max(axis=(1, 2)), "mean": self.values.mean(axis=(1, 2))}
        return lookup("order of channels", numbers | {"evidence": self.evidence}, by)

    def strongest(self, count: int, by: str = "peak") -> list[int]:
        """Return the ``count`` strongest channels, best first; of equal ones that with the larger mean."""
        order = np.lexsort((-self.strength("mean"), -self.strength(by)))
        return [int(channel) for channel in order[:count]]

    def channel(self, number: int) -> np.ndarray:
        """Return the map of one channel, (h_n, w_n); raises ConfigError if there is no such channel."""
        if not 0 <= number < len(self.values):
            raise ConfigError(f"channel = {number}: expected a number from 0 to {len(self.values) - 1}.")
        return self.values[number]

    def peak(self, number: int) -> tuple[int, int]:
        """Return the row and column of a channel's largest value; of equal ones, the first."""
        row, column = np.unravel_index(self.channel(number).argmax(), self.values.shape[1:])
        return int(row), int(column)

    def sees(self, row: int, column: int, side: int) -> tuple[int, int, int, int] | None:
        """Return left, top, right and bottom (exclusive) of the pixels that a cell can see; None where unknown."""
        across, down = self.field.pixels(column, side), self.field.pixels(row, side)
        return (across[0], down[0], across[1], down[1]) if across and down else None


@dataclass(frozen=True)
class Interaction:
    """x_n, g_n and m_n (Eq. 1 to 3) by stage and x_m, (c,) float32 each; of "+ P", which has none, x = m alone."""

    x: dict[str, np.ndarray]
    m: dict[str, np.ndarray]
    g: dict[str, np.ndarray]
    x_m: np.ndarray | None


@dataclass(frozen=True)
class Activations:
    """All that a recogniser computes of an image.

    ``outputs`` are logits (classes,) by head for each row of GATES, only for "on" where there is no interaction.
    ``head`` and ``label`` are what the evidence is for. Methods without the smooth convs have no ``interaction``.
    """

    stages: dict[str, StageMap]
    interaction: Interaction | None
    outputs: dict[str, dict[str, Tensor]]
    head: str
    label: int


def activations(model: Recognizer, images: Images, *, head: str | None = None, label: int | None = None) -> Activations:
    """Return what a model in eval mode computes of one normalised image (1, 3, height, width).

    ``head`` and ``label`` say what the evidence is for: by default the primary output and the class that it predicts.
    One forward and one backward pass, and one of the last layers for each other gate.
    """
    head = model.check_head(head if head is not None else model.primary)
    with torch.inference_mode(False), torch.enable_grad():
        pixels = images.detach().clone().requires_grad_()
        maps = model.backbone(pixels)
        outputs = model.classify(maps)
        label = int(outputs[head].argmax()) if label is None else label
        shown = [maps[end] for end in model.backbone.ends]
        seen = fields(shown, pixels)  # before the graph is gone
        slopes = torch.autograd.grad(outputs[head][0, label], shown, allow_unused=True, materialize_grads=True)
    stages = {
        name: StageMap(_array(one), _array((one * slope).sum(dim=(2, 3))), field)
        for name, one, slope, field in zip(STAGE_INDEX, shown, slopes, seen, strict=True)
    }
    with torch.no_grad():
        interaction, gated = _interaction(model, maps)
    answers = {gate: _first(found) for gate, found in {"on": outputs, **gated}.items()}
    return Activations(stages, interaction, answers, head, label)


def _interaction(model: Recognizer, maps: list[Tensor]) -> tuple[Interaction | None, dict[str, Outputs]]:
    """Return the vectors of Eq. 1 to 3, and the outputs with other gates."""
    if not isinstance(model, PMSI):
        return None, {}
    x = model.vectors(maps)
    named = {name: _array(x_n) for name, x_n in zip(model.stages, x, strict=True)}
    if model.interaction is None:
        return Interaction(named, named, {}, None), {}
    x_m, g, m = model.interaction.steps(x)
    gates, mixed = ({name: _array(one) for name, one in zip(model.stages, of, strict=True)} for of in (g, m))
    outputs = {name: model.answer(with_gate(x, gate.value)) for name, gate in GATES.items() if gate.value is not None}
    return Interaction(named, mixed, gates, _array(x_m)), outputs


def _array(tensor: Tensor) -> np.ndarray:
    """Return the first of a batch as float32."""
    return tensor.detach()[0].float().cpu().numpy()


def _first(outputs: Outputs) -> dict[str, Tensor]:
    """Return the logits (classes,) of the first of a batch."""
    return {head: logits.detach()[0].float().cpu() for head, logits in outputs.items()}


# Many images


@dataclass(frozen=True)
class Peak:
    """The largest value of a channel on an image: the image's place among those looked at, the value and its cell."""

    image: int
    value: float
    row: int
    column: int


@dataclass(frozen=True)
class ChannelPeaks:
    """The largest value of every channel on n images and its cell (row × w_n + column): (n, C_n) each, by stage."""

    values: dict[str, np.ndarray]
    cells: dict[str, np.ndarray]
    widths: dict[str, int]

    def strongest(self, stage: str, channel: int, count: int) -> list[Peak]:
        """Return the ``count`` images on which a channel is strongest, best first; of equal ones the earlier."""
        values, cells = self.values[stage][:, channel], self.cells[stage][:, channel]
        best = np.argsort(-values, kind="stable")[:count]
        return [Peak(int(i), float(values[i]), *divmod(int(cells[i]), self.widths[stage])) for i in best]

    @classmethod
    def joined(cls, parts: Sequence["ChannelPeaks"]) -> "ChannelPeaks":
        """Return the peaks on the images of all parts, in their order."""
        values, cells = (
            {name: np.concatenate([getattr(part, kind)[name] for part in parts]) for name in parts[0].widths}
            for kind in ("values", "cells")
        )
        return cls(values, cells, parts[0].widths)


@torch.inference_mode()
def channel_peaks(model: Recognizer, images: Images) -> ChannelPeaks:
    """Return the peaks of every channel of S1…S5 on normalised images (n, 3, height, width)."""
    maps = model.backbone(images)
    found = {name: maps[end] for name, end in zip(STAGE_INDEX, model.backbone.ends, strict=True)}
    peaks = {name: one.float().flatten(2).max(dim=2) for name, one in found.items()}
    return ChannelPeaks(
        {name: peak.values.cpu().numpy() for name, peak in peaks.items()},
        {name: peak.indices.cpu().numpy().astype(np.int32) for name, peak in peaks.items()},
        {name: one.shape[3] for name, one in found.items()},
    )


@dataclass(frozen=True)
class Gated:
    """What the gates are on n images, and what becomes of the answers without them.

    ``g`` are g_n (n, c) by stage; ``answers`` labels (n,) by row of GATES and head; both empty without an interaction.
    """

    g: dict[str, np.ndarray]
    answers: dict[str, dict[str, np.ndarray]]

    @classmethod
    def joined(cls, parts: Sequence["Gated"]) -> "Gated":
        """Return those of the images of all parts, in their order."""
        g = {name: np.concatenate([part.g[name] for part in parts]) for name in parts[0].g}
        answers = {
            gate: {head: np.concatenate([part.answers[gate][head] for part in parts]) for head in heads}
            for gate, heads in parts[0].answers.items()
        }
        return cls(g, answers)

    def alike(self) -> dict[str, int]:
        """Return by stage how many gates are the same on all images."""
        return {name: steady(of) for name, of in self.g.items()}

    def right(self, labels: Sequence[int]) -> dict[str, dict[str, int]]:
        """Return how many answers are right, by row of GATES and head."""
        return {
            gate: {head: int((found == np.asarray(labels)).sum()) for head, found in heads.items()}
            for gate, heads in self.answers.items()
        }


@torch.inference_mode()
def gated(model: Recognizer, images: Images) -> Gated:
    """Return the gates of normalised images (n, 3, height, width), and the answers for each row of GATES."""
    if not isinstance(model, PMSI) or model.interaction is None:
        return Gated({}, {})
    x = model.vectors(model.backbone(images))
    _, g, m = model.interaction.steps(x)
    gates = {name: one.float().cpu().numpy() for name, one in zip(model.stages, g, strict=True)}
    outputs = {name: model.answer(m if row.value is None else with_gate(x, row.value)) for name, row in GATES.items()}
    return Gated(
        gates,
        {gate: {head: of.argmax(dim=1).cpu().numpy() for head, of in heads.items()} for gate, heads in outputs.items()},
    )


def with_gate(x: Sequence[Tensor], gate: float) -> list[Tensor]:
    """Return m_n where every gate has this value."""
    return [x_n + gate * x_n for x_n in x]  # Eq. 3


def steady(of: np.ndarray) -> int:
    """Return how many of the gates (n, c) are open on all n images, or closed on all: they tell of no image."""
    return int(((of > OPEN).all(axis=0) | (of < CLOSED).all(axis=0)).sum())


def sampled(dataset: Dataset, most: int = MOST_IMAGES) -> tuple[Sample, ...]:
    """Return at most ``most`` test images, equally many of each class where that can be; the same ones each time."""
    per_class = max(1, most // max(1, len(dataset.classes)))
    found = limit(dataset.test, per_class, ("stages",))
    return found[:: -(-len(found) // most) or 1]


def effective_field(model: Recognizer, images: Images, stage: str, channel: int, row: int, column: int) -> np.ndarray:
    """Return how strongly each pixel of one image changes a cell: Σ over colours |∂ value / ∂ pixel|, (height, width).

    Of the normalised image (1, 3, height, width). What is within the receptive field and still 0 is not used here.
    """
    place = model.backbone.ends[lookup("stage", STAGE_INDEX, stage)]
    with torch.inference_mode(False), torch.enable_grad():
        pixels = images.detach().clone().requires_grad_()
        x = pixels
        for piece in model.backbone.pieces[: place + 1]:
            x = piece(x)
        (slope,) = torch.autograd.grad(x[0, channel, row, column], pixels)
    return slope[0].abs().sum(dim=0).float().cpu().numpy()
