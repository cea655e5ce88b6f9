"""The allowed values of a config's fields: the rows of a table, or a tuple of words.

The command line's help, the app's forms and the tests use it. A table is imported on first use.
"""

import importlib
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any

from pmsi.base.errors import lookup
from pmsi.config import Config
from pmsi.config.titles import METHOD_TITLES
from pmsi.runs import damage

Options = Mapping[str, Any] | tuple[str, ...]

TABLES: dict[str, str] = {
    "data set": "pmsi.data:DATASETS",
    "kind of unknown images": "pmsi.unknowns:UNKNOWNS",
    "method": "pmsi.methods:METHODS",
    "backbone": "pmsi.model:BACKBONES",
    "smooth conv": "pmsi.model:SMOOTH_CONVS",
    "augmentation": "pmsi.augment:AUGMENTATIONS",
    "tracker": "pmsi.training.trackers:TRACKERS",
    "perturbation": "pmsi.perturbations:PERTURBATIONS",
    "CAM method": "pmsi.explain.methods:CAM_METHODS",
}
"""The table behind each name that ``options`` of `pmsi.config.declare.setting` can have, as ``module:NAME``."""


def options_of(about: Field) -> Options | None:
    """Return a field's allowed values: a tuple of words, a table by name, or None if any value is allowed."""
    options: str | tuple[str, ...] | None = about.metadata["options"]
    if not isinstance(options, str):
        return options
    module, _, table = TABLES[options].partition(":")
    found: Mapping[str, Any] = getattr(importlib.import_module(module), table)
    return found


COMMON: dict[str, tuple[str, ...]] = {
    "kind of unknown images": ("held_out", "other", "plumage", "noise"),
    "data set": ("plumage", "cub", "cars", "aircraft", "folder"),
    "method": tuple(METHOD_TITLES),
    "backbone": ("mobilenet_v2", "resnet18", "resnet34", "tiny"),
    "smooth conv": ("paper", "separable"),
    "augmentation": ("none", "cutmix", "mixup", "snapmix", "jigsaw", "rmg"),
    "tracker": ("tensorboard",),
    "perturbation": ("color_jitter", "gaussian_noise"),
    "CAM method": ("gradcam",),
}
"""Rows that are known to exist, so that most runs are listed without an import of their tables, and so of torch."""


def require_rows(config: Config) -> None:
    """Raise UnknownName if a field names a row that no table has (any more)."""
    for about in fields(config):
        kind, value = about.metadata["options"], getattr(config, about.name) or ()
        if not isinstance(kind, str):
            continue
        for entry in value if isinstance(value, tuple) else (value,):
            name = entry.partition("=")[0]  # a perturbation with severities of its own
            if name not in COMMON[kind] and not name.startswith("timm:"):
                table = options_of(about)
                assert isinstance(table, Mapping)
                lookup(kind, table, name)


damage.CHECKS.append(require_rows)
