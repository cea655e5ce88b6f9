"""Accuracy of an exported ONNX file."""

from collections.abc import Sequence

import numpy as np

from pmsi.config import TrainConfig
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.loading import EvaluationLoader
from pmsi.graph.onnx_model import OnnxModel


def accuracy(
    model: OnnxModel, dataset: Dataset, samples: Sequence[Sample], config: TrainConfig, batch_size: int = 16
) -> dict[str, float]:
    """Return the accuracy, 0–1, of every head on some images of a data set, prepared as ``config`` says."""
    right = np.zeros(len(model.heads))
    for images, labels in EvaluationLoader(dataset, samples, config, batch_size):
        right += (model.answer(images.numpy()).argmax(axis=2) == labels.numpy()[:, None]).sum(axis=0)
    return dict(zip(model.heads, (right / len(samples)).tolist(), strict=True))
