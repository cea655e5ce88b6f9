"""Class activation maps by the classes of pytorch-grad-cam: one image, stage, output and class at a time.

pytorch-grad-cam sets hooks on layers of a module with one output, and is not thread-safe. So it gets a copy of the
model, behind a lock, in one of two forms: `FromStage` starts at the stage's map and skips the network before it;
`Whole` starts at the image, for methods that feed the network changed images.
"""

import copy
import math
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pmsi.base.errors import ConfigError
from pmsi.model.recognizer import Recognizer

Score = Callable[[Tensor], Tensor]
"""Logits (classes,) or (n, classes) → the score that is explained: () or (n,)."""

TRIAL_CHANNELS = 32
"""Channels in a time trial of a method that takes one pass per channel."""

SIMILAR = 3
"""Number of classes that Finer-CAM compares with, as in its paper."""

PATCHES = 8
"""Batch size of SESS; the package's 32 takes gigabytes at 448 px."""

_LOCK = threading.Lock()

_BETWEEN: ContextVar[Callable[[], None] | None] = ContextVar("between passes", default=None)


@contextmanager
def between_passes(look: Callable[[], None]) -> Iterator[None]:
    """Call ``look`` before each pass of the methods that take many; it may raise to end the work."""
    token = _BETWEEN.set(look)
    try:
        yield
    finally:
        _BETWEEN.reset(token)


def _look() -> None:
    if (look := _BETWEEN.get()) is not None:
        look()


@dataclass(frozen=True)
class MapRequest:
    """A map to be made: of one image, at one stage, for one class of one output.

    ``model`` is a frozen copy. ``image`` is (1, 3, height, width); ``maps`` (1, c, h, w) are those of all backbone
    pieces, without a graph. ``place`` is the index of the piece that ends the stage, ``reached`` are those of the
    stages that the output depends on. ``label`` is the class explained, against ``rival`` if there is one; ``logits``
    (classes,) are those of ``head``.
    """

    model: Recognizer
    head: str
    image: Tensor
    maps: list[Tensor]
    place: int
    reached: tuple[int, ...]
    label: int
    logits: Tensor
    rival: int | None = None


class PackageMethod(ABC):
    """Base of the CAM methods that pytorch-grad-cam computes."""

    @abstractmethod
    def map(self, request: MapRequest) -> np.ndarray:
        """Return the map (h, w), of either sign."""

    def seconds(self, request: MapRequest) -> float:
        """Return about how many seconds `map` takes, by a time trial."""
        return _seconds(lambda: self.map(request))


class FromStage(nn.Module):
    """The network after a stage: the stage's map (n, c, h, w) → the logits (n, classes) of one output.

    ``target`` is an identity layer whose output is the stage's map. The maps of earlier stages, which the heads use
    too, are constants.
    """

    def __init__(self, request: MapRequest) -> None:
        super().__init__()
        self.model, self.target, self.request = request.model, nn.Identity(), request
        self.start = request.maps[request.place].clone()

    def forward(self, stage_map: Tensor) -> Tensor:
        _look()
        x, request = self.target(stage_map), self.request
        before = [one.expand(len(x), -1, -1, -1) for one in request.maps[: request.place]]
        maps = [*before, x, *self.model.backbone.advance(x, request.place + 1)]
        return self.model.classify(maps, (request.head,))[request.head]


class Whole(nn.Module):
    """The whole network: images (n, 3, height, width) → the logits (n, classes) of one output."""

    def __init__(self, request: MapRequest) -> None:
        super().__init__()
        self.model, self.head = request.model, request.head
        self.target = request.model.backbone.pieces[request.place]
        self.start = request.image.clone()

    def forward(self, images: Tensor) -> Tensor:
        _look()
        if torch.is_grad_enabled() and not images.requires_grad:
            images = images.detach().requires_grad_()  # a frozen network has no gradient of its own
        logits: Tensor = self.model(images, (self.head,))[self.head]
        return logits


def class_score(package: Any, request: MapRequest) -> Score:
    """Return the score of most methods: the logit of the class, less that of its rival if there is one."""
    if request.rival is not None:
        return lambda logits: logits[..., request.label] - logits[..., request.rival]
    score: Score = package.utils.model_targets.ClassifierOutputTarget(request.label)
    return score


def finer_score(package: Any, request: MapRequest) -> Score:
    """Return the score of Finer-CAM: the class's logit minus those of the classes with the nearest logits, weighted.

    With a rival, it is the only one.
    """
    if request.rival is not None:
        return class_score(package, request)
    distance = (request.logits - request.logits[request.label]).abs()
    distance[request.label] = torch.inf
    nearest = distance.argsort(stable=True)[: min(SIMILAR, len(distance) - 1)].tolist()
    score: Score = package.utils.model_targets.FinerWeightedTarget(request.label, nearest, 1)
    return score


def fixed_sign(values: np.ndarray) -> np.ndarray:
    """Return a principal component (h, w), negated if its value farthest from 0 is negative."""
    return -values if -values.min() > values.max() else values


@dataclass(frozen=True)
class PackageCam(PackageMethod):
    """Maps of the class ``name`` of pytorch-grad-cam, before its ReLU and its scaling to 0–1.

    ``form`` is the module that the class gets. ``per_channel`` says that it takes one pass per channel of the stage.
    ``after`` is applied to the map.
    """

    name: str
    form: Callable[[MapRequest], FromStage | Whole] = FromStage
    score: Callable[[Any, MapRequest], Score] = class_score
    per_channel: bool = False
    after: Callable[[np.ndarray], np.ndarray] | None = None

    def map(self, request: MapRequest) -> np.ndarray:
        return self._map(request, None)

    def seconds(self, request: MapRequest) -> float:
        if not self.per_channel:
            return super().seconds(request)
        channels = request.maps[request.place].shape[1]
        tried = min(TRIAL_CHANNELS, channels)
        return _seconds(lambda: self._map(request, tried)) * channels / tried

    def _map(self, request: MapRequest, channels: int | None) -> np.ndarray:
        """Return the map; of the first ``channels`` only, if given."""
        package = load_package()
        form, score = self.form(request), self.score(package, request)
        explainer = getattr(package, self.name)(form, [form.target])
        seen, second_order = explainer.activations_and_grads, not explainer.detach
        form.requires_grad_(second_order)  # the gradient itself must have a graph, even where the network is linear
        start = form.start.requires_grad_(explainer.uses_gradients)
        try:
            with torch.set_grad_enabled(explainer.uses_gradients):
                answer = seen(start)
                if explainer.uses_gradients:
                    torch.autograd.grad(score(answer[0]), start, create_graph=second_order)
            activations, gradients = (each[0] if each else None for each in (seen.activations, seen.gradients))
            if not second_order:
                activations, gradients = (None if x is None else x.numpy() for x in (activations, gradients))
            if channels is not None and activations is not None:
                activations = activations[:, :channels]
            found = explainer.get_cam_image(start, form.target, [score], activations, gradients, False)
        finally:
            seen.release()
        values = np.asarray(found[0], dtype=np.float32)
        return values if self.after is None else self.after(values)


@dataclass(frozen=True)
class RefineCam(PackageMethod):
    """RefineCAM: the product of the Grad-CAM++ maps of a stage and of all later stages, at its resolution, 0–1."""

    def map(self, request: MapRequest) -> np.ndarray:
        package, form = load_package(), FromStage(request)
        layers = [form.target, *(request.model.backbone.pieces[end] for end in request.reached if end > request.place)]
        explainer = package.RefineCAM(form, layers)
        try:
            found: np.ndarray = explainer(form.start.requires_grad_(), [class_score(package, request)])[0]
        finally:
            for each in explainer.base_cam_per_layer:
                each.activations_and_grads.release()
        return found


@dataclass(frozen=True)
class SessCam(PackageMethod):
    """SESS: Grad-CAM of patches of an image at growing scales, fused at the image's size, 0–1."""

    def map(self, request: MapRequest) -> np.ndarray:
        return self._map(request, None)[0]

    def seconds(self, request: MapRequest) -> float:
        """Return the seconds of the two smallest scales, extrapolated to all by the number of patches."""
        began = time.perf_counter()
        _, tried, patches = self._map(request, 2)
        return (time.perf_counter() - began) * patches / tried

    def _map(self, request: MapRequest, scales: int | None) -> tuple[np.ndarray, int, int]:
        """Return the map of the smallest ``scales`` (default: all), their number of patches, and that of all scales."""
        package, form = load_package(), Whole(request)
        explainer = package.SESS(form, [form.target], batch_size=PATCHES)
        side = min(form.start.shape[2:])
        patches = [math.ceil(scale / side) ** 2 for scale in explainer.get_scales(side)]
        explainer.num_scales = scales or len(patches)
        try:
            found: np.ndarray = explainer(form.start, [class_score(package, request)])[0]
        finally:
            explainer.base_cam.activations_and_grads.release()
        return found, sum(patches[: explainer.num_scales]), sum(patches)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def load_package() -> Any:
    """Return the module pytorch_grad_cam; raises ConfigError if it is not installed. Importing it takes seconds."""
    try:
        import pytorch_grad_cam

        import pmsi.base.vision  # noqa: F401  (torchvision, which the package imports, fails beside a CPU build of torch)
    except ImportError as error:
        raise ConfigError(
            f"This CAM method is a class of pytorch-grad-cam, which cannot be imported ({error}). Install it with "
            "pip install grad-cam, or choose a method of one pass, such as gradcam."
        ) from error
    no_bar = SimpleNamespace(tqdm=lambda steps: steps)
    for module in ("score_cam", "ablation_cam"):  # they draw a progress bar per image, without an option to turn it off
        sys.modules[f"pytorch_grad_cam.{module}"].tqdm = no_bar  # type: ignore[attr-defined]
    return pytorch_grad_cam


def map_requests(
    model: Recognizer,
    head: str,
    images: Tensor,
    maps: list[Tensor],
    places: Collection[int],
    classes: Tensor,
    logits: Tensor,
    rivals: Tensor | None = None,
) -> list[list[MapRequest]]:
    """Return the requests for each of b images, by place; ``places`` are the pieces that end the stages wanted.

    ``maps`` (b, c, h, w) of all pieces and ``logits`` (b, classes) of the head have a graph from the first place on.
    ``classes`` (b,) are the classes explained, ``rivals`` (b,) those that they are compared with.
    """
    ends = [end for end in dict.fromkeys(model.backbone.ends) if end >= min(places)]
    score = logits.gather(1, classes[:, None]).sum()
    gradients: Sequence[Tensor | None] = [None] * len(ends)
    if score.requires_grad:
        gradients = torch.autograd.grad(score, [maps[end] for end in ends], allow_unused=True)
    reached = tuple(end for end, gradient in zip(ends, gradients, strict=True) if gradient is not None)
    copied = copy.deepcopy(model).requires_grad_(False)
    against = [None] * len(images) if rivals is None else rivals.tolist()
    singles = [[one[i : i + 1].detach() for one in maps] for i in range(len(images))]
    return [
        [
            MapRequest(copied, head, image.clone()[None], own, place, reached, label, answer.detach().clone(), rival)
            for image, own, label, answer, rival in zip(images, singles, classes.tolist(), logits, against, strict=True)
        ]
        for place in places
    ]


def package_map(method: PackageMethod, request: MapRequest) -> Tensor:
    """Return a map (h, w) of either sign on the CPU, with 0 for values that are not finite; one caller at a time."""
    with _LOCK:
        return torch.from_numpy(np.nan_to_num(method.map(request), posinf=0.0, neginf=0.0))


def package_seconds(method: PackageMethod, request: MapRequest) -> float:
    """Return about how many seconds `package_map` takes, by a time trial; of a slow method only a part is run."""
    with _LOCK:
        return method.seconds(request)
