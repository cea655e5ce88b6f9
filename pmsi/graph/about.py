"""What an exported file says of its model."""

from typing import TYPE_CHECKING

from pmsi.base.errors import ExportError
from pmsi.config import TrainConfig, from_dict

if TYPE_CHECKING:
    from pmsi.graph.onnx_model import OnnxModel


def config_of(model: "OnnxModel") -> TrainConfig:
    """Return the settings of a file's training; raises ExportError where it has none that are known here."""
    try:
        config = from_dict(model.about["config"])
        assert isinstance(config, TrainConfig)
    except (AssertionError, KeyError, TypeError) as error:
        raise ExportError(f"{model.name} does not say how its model was trained: export it again.") from error
    return config
