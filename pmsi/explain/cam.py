"""Class activation maps of several stages, for any output and any class of a recogniser.

A `Recognizer` returns its stage maps, so one forward and one backward pass give all maps without hooks. No state is
shared or changed: many threads can explain with the same model at once. CAM_METHODS lists the methods.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pmsi.base.errors import ConfigError, PMSIError, lookup
from pmsi.explain.adapter import MapRequest, map_requests, package_map, package_seconds
from pmsi.explain.methods import CAM_METHODS, CamMethod
from pmsi.explain.rivals import choose_rivals, explained_score
from pmsi.model.batch import STAGES, Images
from pmsi.model.recognizer import Outputs, Recognizer

STAGE_INDEX = {f"S{n + 1}": n for n in range(STAGES)}
"""Stage name → index among the stages."""

DEFAULT_STAGES = ("S3", "S4", "S5")
"""The stages of Fig. 4."""


@dataclass(frozen=True)
class Maps:
    """Class activation maps of a batch of b images.

    ``raw[stage]`` is (b, h_n, w_n) at the stage's own resolution, at least 0 and not normalised. Maps of RefineCAM and
    SESS are in [0, 1], those of SESS have the images' size. ``logits`` are those of every output, by head; ``classes``
    (b,) int64 are the classes explained, ``rivals`` those they are compared with, if any; ``head`` is the output
    explained. All tensors are detached.
    """

    stages: tuple[str, ...]
    raw: dict[str, Tensor]
    logits: Outputs
    classes: Tensor
    head: str
    rivals: Tensor | None = None


def cam(
    model: Recognizer,
    images: Images,
    *,
    head: str | None = None,
    classes: Tensor | None = None,
    stages: tuple[str, ...] | None = None,
    method: str = "gradcam",
    rival: str | Tensor | None = None,
) -> Maps:
    """Return the class activation maps of several stages of each image.

    ``images`` are normalised, (b, 3, height, width), on the model's device. ``head`` is the output to explain (by
    default ``model.primary``), ``classes`` (b,) are the classes to explain, in [0, classes) (by default those that the
    head predicts). ``stages`` are names in S1…S5 (by default the last three), ``method`` is a key of CAM_METHODS.
    With a ``rival``, classes (b,) or a key of RIVALS, the difference of the two logits is explained instead of the one.
    Works under ``torch.no_grad`` too. The model's parameters, their ``.grad`` and its mode do not change.

    Methods with a formula take one forward and one backward pass for all images and stages. Those of pytorch-grad-cam
    work on one image and one of the last three stages at a time; `cam_seconds` estimates how long that takes.

    If the output does not depend on a stage (S4 and S5 for the output S3 of a model without interaction, say), the
    stage's map is zero, unless the method ignores the class. `pmsi.engine.folding` makes a faster copy of a model with
    the same maps.

    Raises `UnknownName` for an unknown head, stage or method, `ConfigError` for classes out of range or a method that
    does not work here, and `PMSIError` if the model is in training mode.
    """
    return cams(model, images, (method,), head=head, classes=classes, stages=stages, rival=rival)[method]


def cams(
    model: Recognizer,
    images: Images,
    methods: Sequence[str],
    *,
    head: str | None = None,
    classes: Tensor | None = None,
    stages: tuple[str, ...] | None = None,
    rival: str | Tensor | None = None,
) -> dict[str, Maps]:
    """Return the maps of several CAM methods; those with a formula share one forward and one backward pass."""
    head = model.check_head(head if head is not None else model.primary)
    rows = {method: lookup("CAM method", CAM_METHODS, method) for method in methods}
    for row in rows.values():
        stages = _check_stages(DEFAULT_STAGES if stages is None else stages, row)
    assert stages is not None, "one method at least"
    _check_mode(model)
    found: dict[str, list[Tensor]] = {}
    with torch.inference_mode(False), torch.enable_grad():
        places = [model.backbone.ends[STAGE_INDEX[stage]] for stage in stages]
        maps = _stage_maps(model, images, first=min(places))
        outputs = model.classify(maps)
        classes = _check_classes(classes, outputs[head])
        rivals = choose_rivals(rival, model, head, outputs[head], classes)
        for method, row in rows.items():
            if row.formula is None:
                requests = map_requests(model, head, images, maps, places, classes, outputs[head], rivals)
                found[method] = [torch.stack([_by_package(row, one) for one in stage]) for stage in requests]
        if len(found) < len(rows):
            wanted = [maps[place] for place in places]
            score = explained_score(outputs[head], classes, rivals)  # of each image alone, as no layer mixes them
            pairs = [(a.detach(), g) for a, g in zip(wanted, _gradients(score, wanted), strict=True)]
            formulas = {method: row.formula for method, row in rows.items() if row.formula is not None}
            found |= {method: [formula(a, g) for a, g in pairs] for method, formula in formulas.items()}
    logits = {name: each.detach() for name, each in outputs.items()}
    raw = {
        method: {stage: one.to(images.device).relu() for stage, one in zip(stages, found[method], strict=True)}
        for method in methods
    }
    return {method: Maps(stages, each, logits, classes, head, rivals) for method, each in raw.items()}


def _by_package(row: CamMethod, request: MapRequest) -> Tensor:
    assert row.package is not None
    if row.of_class and request.place not in request.reached:
        return torch.zeros(request.maps[request.place].shape[2:])
    return package_map(row.package, request)


def cam_seconds(
    model: Recognizer,
    size: int,
    *,
    head: str | None = None,
    stages: tuple[str, ...] | None = None,
    method: str = "gradcam",
) -> float:
    """Return about how many seconds `cam` takes for one image of size × size pixels on this machine now.

    Measured by a time trial on noise. For a method with one pass per channel or patch, only a few are run.
    """
    row = lookup("CAM method", CAM_METHODS, method)
    head = model.check_head(head if head is not None else model.primary)
    stages = _check_stages(DEFAULT_STAGES if stages is None else stages, row)
    generator, like = torch.Generator().manual_seed(0), next(model.parameters())
    images = torch.randn(1, 3, size, size, generator=generator).to(like)
    cam(model, images, head=head, stages=stages)  # the first call of a size is slower
    began = time.perf_counter()
    cam(model, images, head=head, stages=stages, method=method if row.package is None else "gradcam")
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    taken = time.perf_counter() - began
    if row.package is None:
        return taken
    with torch.inference_mode(False), torch.enable_grad():
        places = [model.backbone.ends[STAGE_INDEX[stage]] for stage in stages]
        maps = _stage_maps(model, images, first=min(places))
        logits = model.classify(maps)[head]
        requests = map_requests(model, head, images, maps, places, logits.argmax(dim=1), logits)
        return taken + sum(package_seconds(row.package, stage[0]) for stage in requests)


def _check_mode(model: nn.Module) -> None:
    if any(module.training for module in model.modules()):
        raise PMSIError("A model in training mode cannot be explained: its images influence each other. Call eval().")


def _check_stages(stages: Sequence[str], row: CamMethod) -> tuple[str, ...]:
    for stage in stages:
        lookup("stage", STAGE_INDEX, stage)
        if row.package is not None and stage not in DEFAULT_STAGES:
            raise ConfigError(
                f"stage = {stage!r}: pytorch-grad-cam makes {row.title} of {', '.join(DEFAULT_STAGES)} alone here, as "
                "finer maps take gigabytes. Choose among these, or a method of one pass, such as gradcam."
            )
    if not stages:
        raise ConfigError(f"No stage to explain: name at least one of {', '.join(STAGE_INDEX)}.")
    return tuple(dict.fromkeys(stages))


def _check_classes(classes: Tensor | None, logits: Tensor) -> Tensor:
    """Return the classes to explain as (b,) int64 on the logits' device; by default the predicted ones."""
    if classes is None:
        return logits.detach().argmax(dim=1)
    b, count = logits.shape
    if classes.shape != (b,) or classes.is_floating_point() or bool(((classes < 0) | (classes >= count)).any()):
        raise ConfigError(
            f"Classes {classes.tolist()}: expected {b} whole numbers, one for each image, from 0 to {count - 1}."
        )
    return classes.to(logits.device, torch.int64)


def _stage_maps(model: Recognizer, images: Images, first: int) -> list[Tensor]:
    """Return the maps of all pieces, with a graph that starts at the map of piece ``first``."""
    maps: list[Tensor] = []
    x = images
    with torch.no_grad():
        for piece in model.backbone.pieces[: first + 1]:
            x = piece(x)
            maps.append(x)
    leaf = x.detach().requires_grad_()
    return [*maps[:-1], leaf, *model.backbone.advance(leaf, first + 1)]


def _gradients(score: Tensor, maps: list[Tensor]) -> list[Tensor]:
    """Return d score / d map for each map, zeros if the score does not depend on it; no ``.grad`` changes."""
    if not score.requires_grad:  # frozen parameters, and an output that uses none of the maps
        return [torch.zeros_like(stage_map) for stage_map in maps]
    return list(torch.autograd.grad(score, maps, allow_unused=True, materialize_grads=True))


def module_cam(
    model: nn.Module,
    images: Images,
    modules: Sequence[str],
    *,
    head: str | None = None,
    classes: Tensor | None = None,
    method: str = "gradcam",
    rival: str | Tensor | None = None,
) -> Maps:
    """Return the class activation maps of some modules of any network, from one forward and one backward pass.

    ``images`` (b, c, h, w) are the network's input. ``modules`` are names as in ``model.named_modules()``, such as
    "layer4" of a torchvision ResNet; the output of each (of its last call) must be a map (b, c_n, h_n, w_n). The
    network returns logits (b, classes), or a dict of them from which ``head`` chooses. The rest is as in `cam`, but
    threads must not share the network, because its modules have hooks while this runs.
    """
    formula = lookup("CAM method", CAM_METHODS, method).formula
    if formula is None:
        able = ", ".join(name for name, row in CAM_METHODS.items() if row.formula is not None)
        raise ConfigError(f"method = {method!r} needs a model of this package. For any network choose {able}.")
    _check_mode(model)
    known = dict(model.named_modules())
    kept: dict[str, Any] = {}

    def keep(name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        kept[name] = output

    hooks = [lookup("module", known, name).register_forward_hook(partial(keep, name)) for name in modules]
    with torch.inference_mode(False), torch.enable_grad():
        try:
            answer = model(images.detach().requires_grad_())  # a graph also where all parameters are frozen
        finally:
            for hook in hooks:
                hook.remove()
        outputs: Outputs = answer if isinstance(answer, dict) else {"logits": answer}
        head = head if head is not None else next(iter(outputs))
        logits = lookup("output", outputs, head)
        classes = _check_classes(classes, logits)
        for name in modules:
            output = kept.get(name)
            if not isinstance(output, Tensor) or output.dim() != 4:
                found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                raise ConfigError(f"Module {name!r} gave {found}: expected a map (b, channels, height, width).")
        rivals = choose_rivals(rival, None, head, logits, classes)
        gradients = _gradients(explained_score(logits, classes, rivals), [kept[name] for name in modules])
    raw = {name: formula(kept[name].detach(), g).relu() for name, g in zip(modules, gradients, strict=True)}
    return Maps(tuple(modules), raw, {name: logits.detach() for name, logits in outputs.items()}, classes, head, rivals)


def resize(maps: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Return maps (b, h_n, w_n) resized bilinearly to (b, height, width); ``size`` is (height, width) or one side."""
    sides = (size, size) if isinstance(size, int) else size
    return F.interpolate(maps[:, None], sides, mode="bilinear", align_corners=False)[:, 0]
