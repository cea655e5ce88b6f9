"""Where a network can be cut into stages and blocks that run one after the other, found by watching it run once.

A row of modules is seen, not guessed: each is called with what the one before returned and with nothing else, nothing
is written to that in between, and what the last returns is the whole's result. So the row computes what the network
computes. This module knows neither a library nor the names of its networks, and no weights matter: a network without
memory (torch's device "meta") will do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pmsi.base.errors import ConfigError
from pmsi.model.batch import STAGES

SIDE = 128
"""Side in pixels of the image that a network is shown: S5's map has four cells."""

STAGE = "Stage"
"""Part of the name of a class that is a stage, as its libraries name them, where it is no Sequential."""


@dataclass(frozen=True)
class Cut:
    """A network as pieces: the names of its modules by piece and block, and what `Backbone` asks of pieces."""

    pieces: tuple[tuple[tuple[str, ...], ...], ...]
    channels: tuple[int, ...]
    ends: tuple[int, ...]
    expands: bool


def cut(network: nn.Module, function: Callable[[Tensor], Tensor]) -> Cut:
    """Return where ``function``, which runs modules of ``network`` on images, can be cut into S1…S5 and their blocks.

    Raises ConfigError, to be read after the network's name, where it cannot.
    """
    root = _watch(network, function, next(network.parameters()).new_zeros(1, 3, SIDE, SIDE))
    row = _blocks(root)
    ends = stage_ends([SIDE / block[-1].shape[-1] if block[-1].makes_map else None for block in row])
    names = {module: name for name, module in network.named_modules()}
    places = list(dict.fromkeys(ends))
    pieces = [row[a + 1 : b + 1] for a, b in zip([-1, *places], places, strict=False)]
    return Cut(
        tuple(tuple(tuple(names[call.module] for call in block) for block in piece) for piece in pieces),
        tuple(piece[-1][-1].shape[1] for piece in pieces),
        tuple(places.index(end) for end in ends),
        _expands(pieces[-1]),
    )


def stage_ends(strides: Sequence[float | None]) -> tuple[int, ...]:
    """Return the places among the blocks of a network, given the stride after each, at which S1…S5 end.

    A stage ends where the next block doubles the stride; but S1 is the stem alone, up to the first block at stride 2,
    as in METHOD's table. A stem that goes from stride 1 to 4 in one layer, as ConvNeXt's does, doubles it twice there:
    S1 and S2 end together and have one map. Raises ConfigError where a stride is missing.
    """
    last = {stride: place for place, stride in enumerate(strides)}
    stem = strides.index(2) if 2 in strides else last.get(4)
    ends = [stem, *(last.get(2**n) for n in range(2, STAGES + 1))]
    found = [end for end in ends if end is not None]
    if len(found) < STAGES or found != sorted(found) or found[-1] != len(strides) - 1:
        shown = ", ".join(f"{stride:g}" for stride in last if stride is not None and stride > 1) or "none"
        raise ConfigError(f"the strides of its maps are {shown}, and S1…S5 end at strides 2, 4, 8, 16 and 32")
    return tuple(found)


Noted = tuple[Tensor, int]
"""A tensor, and how often it had been written to when it was noted."""


@dataclass(eq=False)
class _Call:
    """One call of a module: the one tensor that it was given, the one that it made, and the calls inside."""

    module: nn.Module
    given: Noted | None
    made: Noted | None = None
    calls: list["_Call"] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.made[0].shape) if self.made else ()

    @property
    def makes_map(self) -> bool:
        """Whether it makes a map (b, c, h, w) of the square image: channels last, the map would not be square."""
        return len(self.shape) == 4 and self.shape[2] == self.shape[3]

    @property
    def learns_space(self) -> bool:
        """Whether it is more than norms and activations: those have no matrix and no kernel."""
        return any(parameter.dim() > 1 for parameter in self.module.parameters())

    @property
    def shrinks(self) -> float:
        """How many times smaller the map becomes."""
        return self.given[0].shape[-1] / self.shape[-1] if self.given and self.makes_map else 1.0

    def row(self) -> list["_Call"]:
        """Return the inner calls that lead from what was given to what was made; none where they do not."""
        links, reached = [], self.given
        for call in self.calls:
            if _same(call.given, reached):
                links.append(call)
                reached = call.made
        return links if _same(reached, self.made) else []


def _same(one: Noted | None, other: Noted | None) -> bool:
    return one is not None and other is not None and one[0] is other[0] and one[1] == other[1]


def _note(value: Any) -> Noted | None:
    return (value, value._version) if isinstance(value, Tensor) else None


@torch.no_grad()
def _watch(network: nn.Module, function: Callable[[Tensor], Tensor], images: Tensor) -> _Call:
    """Return ``function(images)`` as a call of the network, with the calls of its modules inside."""
    root = _Call(network, _note(images))
    running = [root]

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = _Call(module, _note(args[0]) if len(args) == 1 and not kwargs else None)
        running[-1].calls.append(call)
        running.append(call)

    def leave(module: nn.Module, args: tuple[Any, ...], made: Any) -> None:
        running.pop().made = _note(made)

    inner = [module for module in network.modules() if module is not network]
    hooks = [module.register_forward_pre_hook(enter, with_kwargs=True) for module in inner]
    hooks += [module.register_forward_hook(leave) for module in inner]
    try:
        root.made = _note(function(images))
    finally:
        for hook in hooks:
            hook.remove()
    return root


def _blocks(root: _Call) -> list[list[_Call]]:
    """Return the blocks of the row that a network is, each with the norms and activations that follow it.

    A block ends in a map; what is between maps of another kind is one block.
    """
    links = [inner for outer in root.row() for inner in _unfolded(outer)]
    if not links:
        raise ConfigError("between its image and its last map it is not a row of modules, each fed by the one before")
    found: list[list[_Call]] = [[]]
    for link in links:
        begun = any(earlier.learns_space or earlier.shrinks > 1 for earlier in found[-1])
        if begun and found[-1][-1].makes_map and (link.learns_space or link.shrinks > 1):
            found.append([])
        found[-1].append(link)
    return found


def _unfolded(call: _Call) -> list[_Call]:
    """Return the blocks of a stage, or the call itself where it is one block.

    Many a block is a row too, but a map between its own convolutions ends no stage. What is taken apart is a stage of
    several blocks, and whatever shrinks the map more than a block does.
    """
    blocks = [block for link in call.row() for block in _unfolded(link)]
    is_stage = isinstance(call.module, nn.Sequential) or STAGE in type(call.module).__name__
    several = sum(block.learns_space for block in blocks) > 1
    return blocks if blocks and ((is_stage and several) or call.shrinks > 2) else [call]


def _expands(stage: Sequence[Sequence[_Call]]) -> bool:
    """Say whether the last block of a stage has nothing but 1×1 convolutions, and widens the map: see `Backbone`.

    After depthwise convolutions alone it is the other half of a separable convolution, and stays.
    """
    if len(stage) < 2:
        return False
    before, last = ([weight for call in block for weight in call.module.parameters()] for block in stage[-2:])
    pointwise = all(weight.dim() < 2 or weight.shape[2:] == (1, 1) for weight in last)
    whole = any(weight.dim() == 2 or (weight.dim() == 4 and weight.shape[1] > 1) for weight in before)
    return pointwise and whole and stage[-1][-1].shape[1] > stage[-2][-1].shape[1]
