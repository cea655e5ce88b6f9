"""Predictor: a trained model that predicts the class of an image, and explains it by class activation maps.

A predictor keeps no state between calls, so threads may share one.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import torch
from PIL import Image

from pmsi.base.errors import ConfigError, lookup
from pmsi.config import TrainConfig
from pmsi.data.preprocessing import centre_crop, normalize, resize
from pmsi.engine.checkpoint import load_model
from pmsi.engine.device import find_device
from pmsi.engine.folding import folded
from pmsi.explain.cam import cam, cam_seconds
from pmsi.explain.rivals import RIVALS
from pmsi.explain.stages import Activations, ChannelPeaks, Gated, activations, channel_peaks, effective_field, gated
from pmsi.graph.engine import graph_of
from pmsi.model import Recognizer
from pmsi.model.pmsi import stage_names
from pmsi.runs import Run
from pmsi.runs.calibration import Calibration
from pmsi.uncertainty.scores import OF_LOGITS, SAID_BY
from pmsi.uncertainty.temperature import calibration_for, probabilities

if TYPE_CHECKING:
    from pmsi.graph.onnx_model import OnnxModel

Answers = dict[str, torch.Tensor]
"""Logits (classes,) by head."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A class and its probability, 0–1."""

    label: int
    name: str
    probability: float


@dataclass(frozen=True, slots=True)
class Familiarity:
    """How familiar an image is to a model, by a row of SCORES; ``threshold`` is what 95 % of known images reach."""

    score: str
    value: float
    threshold: float

    @property
    def is_unknown(self) -> bool:
        """Whether the image may be of none of the model's classes."""
        return self.value < self.threshold


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable classes by head, best first; ``primary`` is the head that the model predicts with.

    Probabilities are ``calibrated`` where the model has temperatures; ``familiarity`` is None without a threshold.
    """

    primary: str
    heads: dict[str, tuple[Guess, ...]]
    calibrated: bool = False
    familiarity: Familiarity | None = None

    @property
    def best(self) -> Guess:
        """The most probable class of the primary head."""
        return self.heads[self.primary][0]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Class activation maps of class ``label`` of output ``head``, or of its difference to class ``rival``.

    ``maps`` has for each stage a float32 (h_n, w_n) map, at least 0, not normalised, computed by row ``method`` of
    CAM_METHODS.
    """

    prediction: Prediction
    head: str
    label: int
    maps: dict[str, np.ndarray]
    method: str = "gradcam"
    rival: int | None = None


class Found(NamedTuple):
    """Logits (classes,) by head, the class explained, its map (h_n, w_n) by stage, and its rival, if any."""

    logits: Answers
    label: int
    maps: dict[str, np.ndarray]
    rival: int | None = None


class ImagePredictor:
    """A model, its graph here, with its class names and its preprocessing; `Predictor` is that of a run."""

    def __init__(
        self,
        config: TrainConfig,
        classes: tuple[str, ...],
        heads: tuple[str, ...],
        primary: str,
        calibration: Calibration | None = None,
        graph: "OnnxModel | None" = None,
    ) -> None:
        self.config, self.classes, self.heads, self.primary, self.graph = config, classes, heads, primary, graph
        self.temperatures = calibration.temperatures if calibration else {}
        self.threshold = calibration.thresholds.get(SAID_BY, {}).get(primary) if calibration else None
        self.stages = stage_names(3)

    def raw(self) -> Self:
        """Return the same predictor without temperatures: its probabilities are those of the network."""
        plain = copy.copy(self)
        plain.temperatures = {}
        return plain

    def prepare(self, image: Image.Image) -> Image.Image:
        """Return the network's input as an RGB picture: resized, centre-cropped, image_size × image_size pixels."""
        pixels = resize(image.convert("RGB"), self.config.resize_to)
        return Image.fromarray(centre_crop(pixels, self.config.image_size))

    def predict(self, prepared: Image.Image, top: int = 5) -> Prediction:
        """Return the ``top`` most probable classes of every head; ``prepared`` is a picture that `prepare` returned."""
        return self.prediction(self.answers(prepared), top)

    def answers(self, prepared: Image.Image) -> Answers:
        """Return the logits (classes,) of every head, by the graph."""
        assert self.graph is not None
        (logits,) = self.graph.answer(self.pixels(prepared)[None])
        return dict(zip(self.heads, torch.from_numpy(logits), strict=True))

    def explain(
        self,
        prepared: Image.Image,
        *,
        head: str | None = None,
        label: int | None = None,
        stages: tuple[str, ...] | None = None,
        method: str = "gradcam",
        rival: int | str | None = None,
        top: int = 5,
    ) -> Explanation:
        """Return the class activation maps of some stages for one output and class.

        Defaults: the last three stages, the primary output, the predicted class. With a ``rival``, a label or a row of
        RIVALS ("likeliest", "similar"), the maps are of what speaks for the class and not for the rival.

        Raises UnknownName for a head, stage or method that does not exist, ConfigError for a label out of range.
        """
        head = lookup("output", {name: name for name in self.heads}, head or self.primary)
        self.check_label(label)
        found = self.maps_of(prepared, head, label, stages or self.stages, method, rival)
        return Explanation(self.prediction(found.logits, top), head, found.label, found.maps, method, found.rival)

    def maps_of(
        self,
        prepared: Image.Image,
        head: str,
        label: int | None,
        stages: tuple[str, ...],
        method: str,
        rival: int | str | None = None,
    ) -> Found:
        """Return what `explain` is made of, by the graph."""
        assert self.graph is not None
        answer = self.graph.explain(self.pixels(prepared), head, label)
        logits = {name: torch.from_numpy(values) for name, values in answer.logits.items()}
        return Found(logits, answer.explained, {stage: answer.maps[stage] for stage in stages})

    def class_number(self, name: str) -> int:
        """Return the label of a class; raises UnknownName, which lists the classes."""
        return lookup("class", {name: label for label, name in enumerate(self.classes)}, name)

    def rival_named(self, name: str) -> int | str:
        """Return the rival that a class's name or a row of RIVALS stands for; raises UnknownName, which lists them."""
        known: dict[str, int | str] = {each: each for each in RIVALS}
        return lookup("rival", known | {each: label for label, each in enumerate(self.classes)}, name)

    def check_label(self, label: int | None) -> None:
        """Raise ConfigError for a label out of range."""
        if label is not None and not 0 <= label < len(self.classes):
            raise ConfigError(f"label = {label}: expected a class number from 0 to {len(self.classes) - 1}.")

    def pixels(self, prepared: Image.Image) -> np.ndarray:
        """Return a prepared picture as (3, image_size, image_size) uint8; ConfigError for a picture that is not."""
        side = self.config.image_size
        if prepared.size != (side, side) or prepared.mode != "RGB":
            raise ConfigError(
                f"Expected an RGB picture of {side} × {side} pixels, found {prepared.mode} of {prepared.size[0]} × "
                f"{prepared.size[1]}. Call prepare first."
            )
        return np.array(np.asarray(prepared).transpose(2, 0, 1), order="C")

    def prediction(self, outputs: Answers, top: int) -> Prediction:
        """Return the prediction that logits (classes,) by head stand for."""
        heads = {}
        for head, logits in outputs.items():
            best = probabilities(logits, self.temperatures.get(head, 1.0)).topk(min(top, len(self.classes)))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            heads[head] = tuple(Guess(label, self.classes[label], probability) for label, probability in pairs)
        return Prediction(self.primary, heads, bool(self.temperatures), self._familiarity(outputs[self.primary]))

    def _familiarity(self, logits: torch.Tensor) -> Familiarity | None:
        if self.threshold is None:
            return None
        return Familiarity(SAID_BY, float(OF_LOGITS[SAID_BY](logits[None].float().cpu().numpy())[0]), self.threshold)


class Predictor(ImagePredictor):
    """The predictor of a trained network.

    It answers and makes Grad-CAM maps by the model's graph (`pmsi.graph.engine`) where there is one, and by its folded
    copy (`pmsi.engine.folding`) else: the same up to rounding, sooner.
    """

    def __init__(
        self,
        model: Recognizer,
        config: TrainConfig,
        classes: tuple[str, ...],
        calibration: Calibration | None = None,
        graph: "OnnxModel | None" = None,
    ) -> None:
        super().__init__(config, classes, model.heads, model.primary, calibration, graph)
        self.model = folded(model)
        self.device = next(model.parameters()).device

    @classmethod
    def load(cls, run: Run, device: str = "auto", images: int = 0) -> "Predictor":
        """Return the predictor of a training run's last checkpoint, with the calibration that fits it.

        On a CPU it answers by the model's graph if one is kept, or worth making for so many ``images``.
        """
        model, config, classes = load_model(run, find_device(device))
        graph = graph_of(model, (config.resize_to, config.image_size), images)
        return cls(model, config, classes, calibration_for(run, model), graph)

    def answers(self, prepared: Image.Image) -> Answers:
        if self.graph is not None:
            return super().answers(prepared)
        with torch.inference_mode():
            return {head: logits[0] for head, logits in self.model(self._batch(prepared)).items()}

    def maps_of(
        self,
        prepared: Image.Image,
        head: str,
        label: int | None,
        stages: tuple[str, ...],
        method: str,
        rival: int | str | None = None,
    ) -> Found:
        alone = method == "gradcam" and set(stages) <= set(self.stages) and rival is None
        if self.graph is not None and alone:
            return super().maps_of(prepared, head, label, stages, method)
        classes = None if label is None else torch.tensor([label], device=self.device)
        against = torch.tensor([rival], device=self.device) if isinstance(rival, int) else rival
        images = self._batch(prepared)
        found = cam(self.model, images, head=head, classes=classes, stages=stages, method=method, rival=against)
        maps = {stage: found.raw[stage][0].float().cpu().numpy() for stage in found.stages}
        logits = {name: each[0] for name, each in found.logits.items()}
        return Found(logits, int(found.classes[0]), maps, None if found.rivals is None else int(found.rivals[0]))

    def explain_seconds(self, *, head: str | None = None, method: str = "gradcam") -> float:
        """Return about how many seconds `explain` takes here for one image, by a short trial; see `cam_seconds`."""
        size = self.config.image_size
        return cam_seconds(self.model, size, head=head or self.primary, stages=self.stages, method=method)

    def activations(self, prepared: Image.Image, *, head: str | None = None, label: int | None = None) -> Activations:
        """Return all that the network computes of a prepared picture; see `pmsi.explain.stages`."""
        self.check_label(label)
        return activations(self.model, self._batch(prepared), head=head, label=label)

    def channel_peaks(self, prepared: Sequence[Image.Image]) -> ChannelPeaks:
        """Return the largest value of every channel of S1…S5 on each of some prepared pictures, with its cell."""
        return channel_peaks(self.model, torch.cat([self._batch(one) for one in prepared]))

    def gated(self, prepared: Sequence[Image.Image]) -> Gated:
        """Return the gates of some prepared pictures, and the answers with and without them."""
        return gated(self.model, torch.cat([self._batch(one) for one in prepared]))

    def effective_field(self, prepared: Image.Image, stage: str, channel: int, row: int, column: int) -> np.ndarray:
        """Return how strongly each pixel of a prepared picture changes a cell of a channel, (side, side)."""
        return effective_field(self.model, self._batch(prepared), stage, channel, row, column)

    def _batch(self, prepared: Image.Image) -> torch.Tensor:
        return normalize(torch.from_numpy(self.pixels(prepared)).unsqueeze(0).to(self.device))
