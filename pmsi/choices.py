"""The allowed values of a config's fields: the rows of a table, or a tuple of words.

The command line's help, the app's forms and the tests use it. A table is imported on first use.
"""

import importlib
from collections.abc import Mapping
from dataclasses import Field
from typing import Any

Options = Mapping[str, Any] | tuple[str, ...]

TABLES: dict[str, str] = {
    "data set": "pmsi.data:DATASETS",
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
