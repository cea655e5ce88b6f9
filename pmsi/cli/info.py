"""Show what each method costs, and the receptive fields of the stages."""

import argparse
import dataclasses
import itertools
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pmsi.augment.rule import largest_size, patch_rule
from pmsi.base.errors import ConfigError, UnknownName, lookup
from pmsi.base.files import to_json
from pmsi.base.text import aligned, short
from pmsi.cli.flags import add_like, place, whole
from pmsi.config import TrainConfig
from pmsi.config.command import flag
from pmsi.data import DATASETS, open_dataset
from pmsi.engine.costs import HOW_COUNTED, Costs, costs_of
from pmsi.methods import METHODS, outline
from pmsi.model import SMOOTH_CONVS
from pmsi.model.backbones import receptive_fields_of
from pmsi.model.heads import SmoothConv


def add_arguments(parser: argparse.ArgumentParser) -> None:
    start = TrainConfig()
    for name, kind, default, help in (
        ("method", str, None, "Methods [all]."),
        ("backbone", str, [start.backbone], f"Networks that make the stage maps, timm:NAME too [{start.backbone}]."),
        ("image_size", int, [start.image_size], f"Sides of the image, in pixels [{start.image_size}]."),
        ("smooth_conv", str, None, "Smooth conv blocks of the methods that have them [all]."),
    ):
        metavar = "N" if kind is int else "NAME"
        parser.add_argument(flag(name), nargs="+", type=kind, default=default, metavar=metavar, help=help)
    add_like(parser, "stem_stride", "Stride of the backbones' first convolution", type=int, metavar="N")
    add_like(parser, "stage_num", "StageNum: how many of the last stages take part", type=int, metavar="N")
    for name, help in {"channels": "c [half of the last stage's channels].", "hidden": "h [c/2]."}.items():
        parser.add_argument(flag(name), type=int, metavar="N", help=help)
    parser.add_argument("--classes", type=whole(2, 10**6), metavar="N", help="Classes [200, as in CUB].")
    parser.add_argument("--dataset", metavar="NAME", help="The classes of this data set, such as plumage or folder.")
    parser.add_argument("--data", type=place, metavar="DIR", help="Its folder, where it is not built in.")
    add_like(parser, "batch_size", "Images in a batch, which the memory of training goes by", type=int, metavar="N")
    parser.add_argument("--json", action="store_true", help="Print JSON.")


CLASSES = 200
"""Classes where nothing says how many: as many as CUB-200-2011 has."""

SHARED = ("stem_stride", "stage_num", "channels", "hidden", "batch_size")
"""Fields that are the same for all systems of the table."""

WIDTH = 100
"""Characters in a line of the text below the table."""


@dataclass(frozen=True)
class Line:
    """A line of the table; ``smooth_conv`` is None if the method has no such block."""

    config: TrainConfig
    smooth_conv: str | None
    costs: Costs

    def to_json(self) -> dict[str, Any]:
        about = {name: getattr(self.config, name) for name in ("backbone", "image_size", "method")}
        derived = {name: getattr(self.costs, name) for name in ("head_parameters", "weight_bytes")}
        return about | {"smooth_conv": self.smooth_conv} | dataclasses.asdict(self.costs) | derived


def run(typed: argparse.Namespace) -> int:
    """Print the costs of the systems that the flags describe, and the invalid combinations."""
    typed.classes = _classes(typed)
    systems, refused = _counted(typed)
    if not systems:
        raise next(iter(refused.values()))
    if typed.json:
        about = {name: getattr(typed, name) for name in ("classes", *SHARED)}
        reasons = {name: str(error) for name, error in refused.items()}
        about |= {"systems": [system.to_json() for system in systems], "refused": reasons}
        fields = {name: receptive_fields_of(name, typed.stem_stride) for name in typed.backbone}
        print(to_json(about | {"receptive_fields": fields}, indent=1))
    else:
        print(_readable(systems, refused, typed))
    return 0


def _classes(typed: argparse.Namespace) -> int:
    """Return the number of classes that the flags give, or that the data set has: as published, or in its folder."""
    if typed.dataset is None:
        return int(typed.classes or CLASSES)
    if typed.classes is not None:
        raise ConfigError(f"--classes {typed.classes} --dataset {typed.dataset}: give one of the two.")
    official = lookup("data set", DATASETS, typed.dataset).official
    if official is not None and typed.data is None:
        return official.classes
    return len(open_dataset(TrainConfig(dataset=typed.dataset, data=typed.data)).classes)


def _counted(typed: argparse.Namespace) -> tuple[list[Line], dict[str, ConfigError]]:
    """Return the systems, and the errors of invalid combinations; raises UnknownName for an unknown name."""
    systems, refused = [], {}
    for config in _configs(typed):
        try:
            has_choice = any(isinstance(part, SmoothConv) for part in outline(config, typed.classes).modules())
            if has_choice or config.smooth_conv == _smooth_convs(typed)[0]:
                costs = costs_of(config, typed.classes)
                systems.append(Line(config, config.smooth_conv if has_choice else None, costs))
        except UnknownName:
            raise
        except ConfigError as error:
            refused[f"{config.method} on {config.backbone}, {config.image_size} px"] = error
    return systems, refused


def _configs(typed: argparse.Namespace) -> Iterator[TrainConfig]:
    """Yield a config for each backbone, size, method and smooth conv."""
    shared = {name: getattr(typed, name) for name in SHARED}
    axes = (typed.backbone, typed.image_size, typed.method or METHODS, _smooth_convs(typed))
    for backbone, size, method, smooth_conv in itertools.product(*axes):
        yield TrainConfig(backbone=backbone, image_size=size, method=method, smooth_conv=smooth_conv, **shared)


def _smooth_convs(typed: argparse.Namespace) -> list[str]:
    return typed.smooth_conv or list(SMOOTH_CONVS)


Column = tuple[str, str, Callable[[Line], str]]
"""The two lines of a column's header, and the function that returns a cell's text."""

NAMES: tuple[Column, ...] = (
    ("", "backbone", lambda system: system.config.backbone),
    ("", "px", lambda system: str(system.config.image_size)),
    ("", "method", lambda system: system.config.method),
    ("", "smooth conv", lambda system: system.smooth_conv or "–"),
)

QUANTITIES: tuple[Column, ...] = (
    ("parameters", "all", lambda system: short(system.costs.parameters)),
    ("parameters", "in heads", lambda system: short(system.costs.head_parameters)),
    ("weights", "float32", lambda system: short(system.costs.weight_bytes) + "B"),
    ("prediction", "multiply-adds", lambda system: short(system.costs.macs_predict)),
    ("prediction", "memory", lambda system: short(system.costs.memory_predict) + "B"),
    ("training", "multiply-adds", lambda system: short(system.costs.macs_train)),
    ("training", "memory", lambda system: short(system.costs.memory_train) + "B"),
)
"""Columns of the table; names are aligned left, quantities right."""


def _readable(systems: list[Line], refused: dict[str, ConfigError], typed: argparse.Namespace) -> str:
    columns = NAMES + QUANTITIES
    rows = [[above for above, _, _ in columns], [title for _, title, _ in columns]]
    rows += [[cell(system).strip() for _, _, cell in columns] for system in systems]
    lines = aligned(rows, left=len(NAMES))
    lines += [f"{name}: {error}" for name, error in refused.items()]
    about = f"{typed.classes} classes, batches of {typed.batch_size} in training. {HOW_COUNTED}"
    seen = [line for name in typed.backbone for line in _receptive_fields(name, typed)]
    return "\n".join([*lines, "", textwrap.fill(about, WIDTH), "", *seen])


def _receptive_fields(backbone: str, typed: argparse.Namespace) -> Iterator[str]:
    """Yield lines with the receptive fields of a backbone and, for each size, whether patches are smaller (III-B)."""
    fields = receptive_fields_of(backbone, typed.stem_stride)
    known = ", ".join(f"S{n} {field or '–'}" for n, field in enumerate(fields, start=1))
    yield f"Receptive fields of {backbone}, in px: {known}."
    for size in typed.image_size if all(fields[-typed.stage_num :]) else ():
        rules = patch_rule(size, [field or 0 for field in fields], typed.stage_num)
        patches = ", ".join(f"{rule.stage} {rule.smallest_patch}" for rule in rules)
        broken = ", ".join(rule.stage for rule in rules if not rule.ok)
        verdict = f"not smaller in {broken}; it holds up to {largest_size(rules)} px" if broken else "each is smaller"
        yield f"  Smallest patches of {size} px in the phases: {patches}: {verdict}."
