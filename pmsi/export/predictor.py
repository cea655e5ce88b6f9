"""FilePredictor: an exported ONNX file in the place of a run's `Predictor`."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pmsi.base.errors import ConfigError
from pmsi.config import TrainConfig, from_dict
from pmsi.graph.onnx_model import STAGES, Answer, OnnxModel
from pmsi.predictor import Explanation, ImagePredictor, Prediction


class FilePredictor(ImagePredictor):
    """A model in an ONNX file, with its class names and its preprocessing. Threads may share it."""

    def __init__(self, model: OnnxModel) -> None:
        config = from_dict(model.about["config"])
        assert isinstance(config, TrainConfig)
        super().__init__(config, model.classes, model.heads, model.primary)
        self.file = model

    @classmethod
    def load(cls, path: Path, threads: int = 0) -> "FilePredictor":
        """Return the predictor of a file; raises ExportError if it is damaged or foreign."""
        return cls(OnnxModel.load(path, threads))

    def predict(self, prepared: Image.Image, top: int = 5) -> Prediction:
        (logits,) = self.file.answer(self.pixels(prepared)[None])
        return self.prediction(dict(zip(self.heads, torch.from_numpy(logits), strict=True)), top)

    def explain(
        self,
        prepared: Image.Image,
        *,
        head: str | None = None,
        label: int | None = None,
        stages: tuple[str, ...] | None = None,
        method: str = "gradcam",
        top: int = 5,
    ) -> Explanation:
        """Return Grad-CAM maps as `Predictor.explain` does; ConfigError for what the file does not have."""
        head, stages = head or self.primary, stages or STAGES
        self.check_label(label)
        if method != "gradcam" or not set(stages) <= set(STAGES):
            raise ConfigError(
                f"An ONNX file has Grad-CAM maps of {', '.join(STAGES)}, not {method} of {', '.join(stages)}: give the "
                "run that it was exported from."
            )
        answer: Answer = self.file.explain(self.pixels(prepared), head, label)
        logits = {name: torch.from_numpy(values) for name, values in answer.logits.items()}
        maps = {stage: np.asarray(answer.maps[stage]) for stage in stages}
        return Explanation(self.prediction(logits, top), head, answer.explained, maps)
