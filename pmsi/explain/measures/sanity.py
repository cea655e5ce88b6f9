"""Sanity: whether maps change when a network's parameters are randomised, from the top down (Adebayo et al., 2018).

A layer's parameters are shuffled, each tensor within itself, together with those of all layers above; so weights keep
their scale, and maps do not go blank as after a new initialisation. A map that hardly changes is no explanation of the
network. How alike two unrelated maps are is the floor: noise at the stage's resolution against the map.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pmsi.base.seeding import derive
from pmsi.explain.cam import cams
from pmsi.explain.measures.baselines import noise, random_of
from pmsi.explain.measures.drift import spearman
from pmsi.explain.measures.report import Numbers, means
from pmsi.model import Recognizer

NOTHING = "nothing"
"""The layer below which nothing is randomised: the network as it is."""


def layers(model: Recognizer) -> dict[str, list[nn.Module]]:
    """Return the parts of a model by name, the last one first: its heads and what is before them, then its stages."""
    own = {name: [child] for name, child in model.named_children() if name not in ("backbone", "attention_head")}
    pieces, ends = list(model.backbone.pieces), list(dict.fromkeys(model.backbone.ends))
    starts = [0, *(end + 1 for end in ends[:-1])]
    stages = {
        f"S{len(ends) - n}": pieces[starts[-1 - n] : ends[-1 - n] + 1] for n in range(len(ends))
    }  # fmt: skip
    found = {name: own[name] for name in reversed(own)} | stages
    return {name: each for name, each in found.items() if any([*one.parameters()] for one in each)}


def randomised(model: Recognizer, seed: int) -> Iterator[tuple[str, Recognizer]]:
    """Yield NOTHING with a copy of the model, then each layer with the same copy, shuffled down to that layer."""
    plain = copy.deepcopy(model).eval().requires_grad_(False)
    yield NOTHING, plain
    generator = torch.Generator().manual_seed(derive("sanity", seed))
    for name, modules in layers(plain).items():
        for module in modules:
            for values in module.parameters():
                order = torch.randperm(values.numel(), generator=generator).to(values.device)
                values.copy_(values.flatten()[order].view_as(values))
        yield name, plain


def sanity(
    model: Recognizer,
    batches: Callable[[], Iterator[tuple[Sequence[str], Tensor, Tensor]]],
    methods: Sequence[str],
    *,
    head: str,
    stages: tuple[str, ...],
    seed: int = 0,
    after: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Return how alike the maps of the true class are before and after randomisation, by layer.

    ``batches`` yields (keys, normalised images, labels) of the same images each time. ``numbers[layer]`` has means over
    images with intervals of Spearman's ρ by "METHOD STAGE/spearman", those of NOTHING also the floor, by
    "METHOD random STAGE/spearman".
    """
    own: list[dict[str, np.ndarray]] = []
    found: dict[str, dict[str, dict[str, float]]] = {}
    total = len(layers(model)) + 1
    for done, (name, changed) in enumerate(randomised(model, seed)):
        maps = [
            (key, one)
            for keys, images, labels in batches()
            for key, one in zip(keys, _maps(changed, images, labels, methods, head, stages), strict=True)
        ]
        own = own or [one for _, one in maps]
        numbers = [
            {**_alike(before, after_), **(_floor(before, seed, key) if name == NOTHING else {})}
            for (key, after_), before in zip(maps, own, strict=True)
        ]
        found[name] = means(numbers, derive("bootstrap", seed, "sanity", name))
        after(done + 1, total)
    return {"layers": [name for name in found if name != NOTHING], "images": len(own), "numbers": found}


def _maps(
    model: Recognizer, images: Tensor, labels: Tensor, methods: Sequence[str], head: str, stages: tuple[str, ...]
) -> list[dict[str, np.ndarray]]:
    """Return the maps (h_n, w_n) of each image by "METHOD STAGE"."""
    every = cams(model, images, methods, head=head, classes=labels, stages=stages)
    stacks = {
        f"{method} {stage}": raw.float().cpu().numpy()
        for method, each in every.items()
        for stage, raw in each.raw.items()
    }
    return [{name: stack[i] for name, stack in stacks.items()} for i in range(len(images))]


def _alike(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> Numbers:
    values = {f"{name}/spearman": spearman(one, after[name]) for name, one in before.items()}
    return {key: value for key, value in values.items() if np.isfinite(value)}


def _floor(before: dict[str, np.ndarray], seed: int, key: str) -> Numbers:
    drawn = {}
    for name, one in before.items():
        method, _, stage = name.rpartition(" ")
        value = spearman(one, noise(stage, one.shape, seed, key))
        if np.isfinite(value):
            drawn[f"{method} {random_of(stage)}/spearman"] = value
    return drawn
