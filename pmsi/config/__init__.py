"""CONFIGS: the settings of every task, once.

The command line's flags, the app's forms and the run folder's ``config.json`` are all made from these fields. A config
is checked when it is made, so one that exists is valid on its own. No torch here.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pmsi.base.errors import ConfigError, lookup
from pmsi.config.declare import Config, field_type
from pmsi.config.tasks import EvaluateConfig, ExplainConfig, RobustnessConfig
from pmsi.config.train import WEIGHT_WORDS, TrainConfig, resize_for

__all__ = [
    "CONFIGS",
    "WEIGHT_WORDS",
    "Config",
    "EvaluateConfig",
    "ExplainConfig",
    "RobustnessConfig",
    "TrainConfig",
    "differences",
    "field_type",
    "from_dict",
    "from_json",
    "resize_for",
]

_ALL = (TrainConfig, EvaluateConfig, RobustnessConfig, ExplainConfig)
CONFIGS: dict[str, type[Config]] = {config.task: config for config in _ALL}


def from_dict(values: Mapping[str, Any]) -> Config:
    """Return the config that `Config.to_dict` wrote; unknown tasks and fields are refused by name.

    What an older version wrote means what it meant then.
    """
    rest = dict(values)
    if rest.get("task") == TrainConfig.task and rest.get("dataset") == "folder":
        rest.setdefault("split", "stratified")  # the only way there was
    config = lookup("task", CONFIGS, str(rest.pop("task", "")))
    known = {about.name for about in fields(config)}
    for name in rest:
        if name not in known:
            raise ConfigError(
                f"Unknown setting {name!r} for task {config.task!r}. It knows: {', '.join(sorted(known))}."
            )
    return config(**rest)


def from_json(text: str) -> Config:
    """Return the config that `Config.to_json` wrote."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"This is not a config: {error}. Expected the JSON of a config.json.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"This is not a config: expected a JSON object, found {type(values).__name__}.")
    return from_dict(values)


def differences(config: Config, reference: Config | None = None) -> dict[str, Any]:
    """Return the fields of ``config`` that differ from ``reference``, by default from the task's defaults."""
    reference = reference if reference is not None else type(config)()
    return {
        about.name: getattr(config, about.name)
        for about in fields(config)
        if getattr(config, about.name) != getattr(reference, about.name, None)
    }
