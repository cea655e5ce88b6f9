"""CONFIGS: the config class of every task.

The command line's flags, the app's forms and the run folder's ``config.json`` are made from the fields of these
classes. A config is checked when it is created. Does not import torch.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pmsi.base.errors import ConfigError, lookup
from pmsi.base.files import parse_json
from pmsi.base.text import shortened
from pmsi.config.declare import Config, field_type
from pmsi.config.tasks import CalibrateConfig, EvaluateConfig, MapsConfig, RobustnessConfig, UnknownsConfig
from pmsi.config.train import DATA_FIELDS, SPLIT_FIELDS, WEIGHT_WORDS, TrainConfig, resize_for

_ALL = (TrainConfig, EvaluateConfig, RobustnessConfig, MapsConfig, CalibrateConfig, UnknownsConfig)
CONFIGS: dict[str, type[Config]] = {config.task: config for config in _ALL}


def from_dict(values: Mapping[str, Any]) -> Config:
    """Return the config that `Config.to_dict` wrote, also in an older version, with former names of fields.

    Raises UnknownName for an unknown task, ConfigError for an unknown field or a value out of range.
    """
    rest = dict(values)
    if rest.get("task") == TrainConfig.task and rest.get("dataset") == "folder":
        rest.setdefault("split", "stratified")  # the only split of older versions
    config = lookup("task", CONFIGS, str(rest.pop("task", "")))
    names = {name: about.name for about in fields(config) for name in (about.name, about.metadata["formerly"]) if name}
    for name in rest:
        if name not in names:
            expected = ", ".join(sorted(about.name for about in fields(config)))
            raise ConfigError(
                f"Unknown setting {shortened(name)!r} for task {config.task!r}. Expected one of: {expected}."
            )
    return config(**{names[name]: value for name, value in rest.items()})


def from_json(text: str | bytes) -> Config:
    """Return the config that `Config.to_json` wrote; raises ConfigError for text that is no config."""
    try:
        values = parse_json(text)
    except ValueError as error:
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
