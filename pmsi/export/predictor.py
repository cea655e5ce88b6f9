"""FilePredictor: an exported ONNX file in the place of a run's `Predictor`."""

from pathlib import Path

from PIL import Image

from pmsi.base.errors import ConfigError, ExportError
from pmsi.graph.about import config_of
from pmsi.graph.onnx_model import STAGES, OnnxModel
from pmsi.predictor import Answers, Found, ImagePredictor, Prediction
from pmsi.runs.calibration import parsed


class FilePredictor(ImagePredictor):
    """A model in an ONNX file, with its class names and its preprocessing. Threads may share it."""

    def __init__(self, model: OnnxModel) -> None:
        known = parsed(model.about.get("calibration"))
        super().__init__(config_of(model), model.classes, model.heads, model.primary, known, model)
        self.file = model

    def prediction(self, outputs: Answers, top: int) -> Prediction:
        """Return the prediction of logits; raises ExportError where they are no numbers: the file's weights are not."""
        if not all(logits.isfinite().all() for logits in outputs.values()):
            raise ExportError(f"{self.file.name} is damaged: what it answers is no number. Export it again.")
        return super().prediction(outputs, top)

    @classmethod
    def load(cls, path: Path, threads: int = 0) -> "FilePredictor":
        """Return the predictor of a file; raises ExportError if it is damaged or foreign."""
        return cls(OnnxModel.load(path, threads))

    def maps_of(
        self,
        prepared: Image.Image,
        head: str,
        label: int | None,
        stages: tuple[str, ...],
        method: str,
        rival: int | str | None = None,
    ) -> Found:
        """Return Grad-CAM maps; ConfigError for what the file does not have."""
        if rival is not None:
            raise ConfigError(
                f"rival = {rival!r}: an ONNX file explains one class alone. Give the run that it was exported from."
            )
        if method != "gradcam" or not set(stages) <= set(STAGES):
            raise ConfigError(
                f"An ONNX file has Grad-CAM maps of {', '.join(STAGES)}, not {method} of {', '.join(stages)}: give the "
                "run that it was exported from."
            )
        return super().maps_of(prepared, head, label, stages, method)
