"""Class activation maps of several stages, for any output and any class of any recogniser: `cam`.

The stage maps pass through `Recognizer` in the open, so one forward and one backward pass give all maps without a hook,
and no state is shared or changed: the same model can explain in many threads at once. CAM_METHODS lists the ways of
making a map of them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pmsi.base.errors import ConfigError, PMSIError, lookup
from pmsi.explain.adapter import MapRequest, map_requests, package_map, package_seconds
from pmsi.explain.methods import CAM_METHODS, CamMethod
from pmsi.model.batch import STAGES, Images
from pmsi.model.recognizer import Outputs, Recognizer

STAGE_INDEX = {f"S{n + 1}": n for n in range(STAGES)}
"""Stage name → place among the stages."""

DEFAULT_STAGES = ("S3", "S4", "S5")
"""The stages of Fig. 4."""


@dataclass(frozen=True)
class Maps:
    """Class activation maps of a batch of b images.

    ``raw[stage]`` is (b, h_n, w_n) at the stage's own resolution, at least 0 and not normalised, in the order of
    ``stages``; those of RefineCAM and SESS are in [0, 1], and SESS's are of the images' size. ``logits`` are those of
    every output, by head; ``classes`` (b,) int64 are the classes explained, and ``head`` the output whose logits were
    differentiated. Nothing here carries a graph.
    """

    stages: tuple[str, ...]
    raw: dict[str, Tensor]
    logits: Outputs
    classes: Tensor
    head: str


def cam(
    model: Recognizer,
    images: Images,
    *,
    head: str | None = None,
    classes: Tensor | None = None,
    stages: tuple[str, ...] | None = None,
    method: str = "gradcam",
) -> Maps:
    """Return the class activation maps of several stages of each image.

    ``images`` are normalised, (b, 3, height, width), on the model's device. ``head`` is the output to explain (by
    default ``model.primary``), ``classes`` (b,) the classes in [0, classes) (by default those that the head predicts),
    ``stages`` names in S1…S5 (by default the last three), ``method`` a key of CAM_METHODS. Works under
    ``torch.no_grad`` too; the model's parameters, their ``.grad`` and its mode stay as they are. The images do not
    influence each other.

    Methods that have a formula take one forward and one backward pass for all images and stages. Those of
    pytorch-grad-cam take one image and one stage at a time, of the last three; `cam_seconds` says how long that is.

    A stage that the output does not depend on has a map of zeros (S4 and S5 for the output S3 of a model without
    interaction, say), but where the method asks for no class. `pmsi.engine.folding` copies a model for the
    same maps in less time. Raises `UnknownName` for a head, stage or method that does not exist, `ConfigError` for
    classes out of range or a method that cannot work here, and `PMSIError` where the model is in training mode.
    """
    head = model.check_head(head if head is not None else model.primary)
    row = lookup("CAM method", CAM_METHODS, method)
    stages = _check_stages(DEFAULT_STAGES if stages is None else stages, row)
    _check_mode(model)
    with torch.inference_mode(False), torch.enable_grad():
        places = [model.backbone.ends[STAGE_INDEX[stage]] for stage in stages]
        maps = _stage_maps(model, images, first=min(places))
        outputs = model.classify(maps)
        classes = _check_classes(classes, outputs[head])
        if row.formula is not None:
            wanted = [maps[place] for place in places]
            score = outputs[head].gather(1, classes[:, None]).sum()  # of each image alone, as no layer mixes them
            gradients = _gradients(score, wanted)
            found = [row.formula(a.detach(), g) for a, g in zip(wanted, gradients, strict=True)]
        else:
            request = map_requests(model, head, images, maps, places, classes, outputs[head])
            found = [torch.stack([_by_package(row, one) for one in stage]).to(images.device) for stage in request]
    raw = {stage: values.relu() for stage, values in zip(stages, found, strict=True)}
    return Maps(stages, raw, {name: logits.detach() for name, logits in outputs.items()}, classes, head)


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
    """Return about how many seconds `cam` takes for one image of size × size pixels, on this machine as busy as it is.

    By a trial on noise. Where a method takes a pass for each channel or patch, a few of them are tried.
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
        request = map_requests(model, head, images, maps, places, logits.argmax(dim=1), logits)
        return taken + sum(package_seconds(row.package, stage[0]) for stage in request)


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
    """Return the classes to explain as (b,) int64 beside the logits; the predicted ones where none are given."""
    if classes is None:
        return logits.detach().argmax(dim=1)
    b, count = logits.shape
    if classes.shape != (b,) or classes.is_floating_point() or bool(((classes < 0) | (classes >= count)).any()):
        raise ConfigError(
            f"Classes {classes.tolist()}: expected {b} whole numbers, one for each image, from 0 to {count - 1}."
        )
    return classes.to(logits.device, torch.int64)


def _stage_maps(model: Recognizer, images: Images, first: int) -> list[Tensor]:
    """Return the maps of all pieces, of which ``first`` is the leaf of the graph: what is before needs no gradient."""
    maps: list[Tensor] = []
    x = images
    with torch.no_grad():
        for piece in model.backbone.pieces[: first + 1]:
            x = piece(x)
            maps.append(x)
    leaf = x.detach().requires_grad_()
    return [*maps[:-1], leaf, *model.backbone.advance(leaf, first + 1)]


def _gradients(score: Tensor, maps: list[Tensor]) -> list[Tensor]:
    """Return d score / d map for each map, zeros where the score does not depend on it; no ``.grad`` is touched."""
    if not score.requires_grad:  # frozen parameters, and an output that ends before the first map request for
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
) -> Maps:
    """Return the class activation maps of some modules of any network, after one forward and one backward pass.

    ``images`` are what the network takes, (b, c, h, w). ``modules`` are names as in ``model.named_modules()``, such as
    "layer4" of a torchvision ResNet; the output of each (of its last call) must be a map (b, c_n, h_n, w_n). The
    network returns logits (b, classes), or a dict of them in which ``head`` names one. The rest is as in `cam`; the
    modules are hooked while this runs, so threads must not share the network.
    """
    formula = lookup("CAM method", CAM_METHODS, method).formula
    if formula is None:
        able = ", ".join(name for name, row in CAM_METHODS.items() if row.formula is not None)
        raise ConfigError(f"method = {method!r} needs a model of this package. For any network choose {able}.")
    _check_mode(model)
    known = dict(model.named_modules())
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _module, _inputs, output: kept.__setitem__(name, output)

    hooks = [lookup("module", known, name).register_forward_hook(keep(name)) for name in modules]
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
            if not isinstance(kept.get(name), Tensor) or kept[name].dim() != 4:
                found = tuple(kept[name].shape) if isinstance(kept.get(name), Tensor) else type(kept.get(name)).__name__
                raise ConfigError(f"Module {name!r} gave {found}: expected a map (b, channels, height, width).")
        gradients = _gradients(logits.gather(1, classes[:, None]).sum(), [kept[name] for name in modules])
    raw = {name: formula(kept[name].detach(), g).relu() for name, g in zip(modules, gradients, strict=True)}
    return Maps(tuple(modules), raw, {name: logits.detach() for name, logits in outputs.items()}, classes, head)


@dataclass(frozen=True)
class Scale:
    """A row of SCALES: ``shared`` are the axes of (stages, images) that share one range; None leaves maps alone."""

    help: str
    shared: tuple[int, ...] | None


SCALES: dict[str, Scale] = {
    "map": Scale("Each map from its own least to its own largest value.", ()),
    "image": Scale("One range for all stages of an image, so that its stages can be compared.", (0,)),
    "batch": Scale("One range for all stages and images, so that images can be compared too.", (0, 1)),
    "raw": Scale("As computed: at least 0, without an upper end.", None),
}


def normalize(maps: Mapping[str, Tensor], scale: str = "map") -> dict[str, Tensor]:
    """Return maps (b, h_n, w_n) by stage scaled to [0, 1] as SCALES says; a range without width becomes zeros."""
    shared = lookup("scale", SCALES, scale).shared
    if shared is None or not maps:
        return dict(maps)
    low = torch.stack([stage_map.amin(dim=(1, 2)) for stage_map in maps.values()])  # (stages, b)
    high = torch.stack([stage_map.amax(dim=(1, 2)) for stage_map in maps.values()])
    for axis in shared:
        low = low.amin(axis, keepdim=True).expand_as(low)
        high = high.amax(axis, keepdim=True).expand_as(high)
    return {
        stage: _unit(stage_map, low[i, :, None, None], high[i, :, None, None])
        for i, (stage, stage_map) in enumerate(maps.items())
    }


def _unit(stage_map: Tensor, low: Tensor, high: Tensor) -> Tensor:
    width = high - low
    return torch.where(width > 0, (stage_map - low) / width, torch.zeros_like(stage_map))


def resize(maps: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Return maps (b, h_n, w_n) as (b, height, width), bilinear; ``size`` is (height, width), or one side of both."""
    sides = (size, size) if isinstance(size, int) else size
    return F.interpolate(maps[:, None], sides, mode="bilinear", align_corners=False)[:, 0]
