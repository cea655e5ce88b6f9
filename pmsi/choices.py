"""What the fields of a config can be: a row of a table, or one of a few words.

The command line's help, the app's forms and the tests ask here. A table is imported when it is asked for.
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
"""By what a field chooses (``options`` of `pmsi.config.declare.setting`): the table, as ``module:NAME``."""


def options_of(about: Field) -> Options | None:
    """Return what a field can be: a tuple of words, a table by name, or None where it is free."""
    options: str | tuple[str, ...] | None = about.metadata["options"]
    if not isinstance(options, str):
        return options
    module, _, table = TABLES[options].partition(":")
    found: Mapping[str, Any] = getattr(importlib.import_module(module), table)
    return found
