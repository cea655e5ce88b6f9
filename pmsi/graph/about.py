"""What an exported file says of its model."""

from typing import TYPE_CHECKING

from pmsi.base.errors import ExportError, PMSIError
from pmsi.config import TrainConfig, from_dict

if TYPE_CHECKING:
    from pmsi.graph.onnx_model import OnnxModel


def config_of(model: "OnnxModel") -> TrainConfig:
    """Return the settings of a file's training; raises ExportError where they are missing or not known here."""
    try:
        config = from_dict(model.about["config"])
        assert isinstance(config, TrainConfig)
    except (AssertionError, KeyError, TypeError, PMSIError) as error:
        reason = error if isinstance(error, PMSIError) else "It does not say how its model was trained."
        raise ExportError(f"{model.name} cannot be used here: {reason} Export it again.") from error
    return config
