"""A trained model's answer in 8-bit integers, as an ONNX file: static quantisation, weights per channel.

Activations are calibrated on training images of the run. What it costs is measured on the run's test images, and
written into the file.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from pmsi.config import TrainConfig
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.loading import EvaluationLoader
from pmsi.export.evaluation import accuracy
from pmsi.graph.onnx_file import converted, describe, from_photo
from pmsi.graph.onnx_model import OnnxModel, answer_part
from pmsi.graph.recording import record
from pmsi.model import Recognizer
from pmsi.runs import Run
from pmsi.runs.record import as_trained

CALIBRATED = 128
"""Training images, spread evenly over all, whose activations set the scales."""


def onnx_bytes(run: Run, model: Recognizer, config: TrainConfig, about: Mapping[str, Any]) -> bytes:
    """Return the ONNX file of a run's model in 8-bit integers; ``about`` as in `onnx_file.onnx_bytes`.

    It has no maps. ``int8`` in its metadata is the accuracy, 0–1, by head, before and after, on ``images`` test images.
    Raises DataError if the run's data set is not here, ExportError if the model has no ONNX form.
    """
    dataset, _ = as_trained(run, open_dataset(config))
    answer = answer_part(converted(record(model, config.image_size), config.image_size))
    smaller = _quantised(answer, _Images(dataset, config))
    files = {name: _finished(part, about) for name, part in (("float32", answer), ("int8", smaller))}
    measured = {
        name: accuracy(OnnxModel(file.SerializeToString()), dataset, dataset.test, config)
        for name, file in files.items()
    }
    describe(files["int8"], {**about, "maps": False, "int8": {"images": len(dataset.test), "accuracy": measured}})
    return files["int8"].SerializeToString()


def _finished(answer: ModelProto, about: Mapping[str, Any]) -> ModelProto:
    made = from_photo(answer, int(about["resize"]), int(about["image_size"]))
    describe(made, {**about, "maps": False})
    return made


def _quantised(answer: ModelProto, images: "_Images") -> ModelProto:
    with _without_remarks(), tempfile.TemporaryDirectory() as folder:
        before, ready, after = (Path(folder) / f"{name}.onnx" for name in ("before", "ready", "after"))
        onnx.save(answer, before)
        quant_pre_process(before, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            after,
            images,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(after)


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep from the log that biases have no channels, one line for each."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


class _Images(CalibrationDataReader):
    """Training images, one after the other, as the network's input."""

    def __init__(self, dataset: Dataset, config: TrainConfig) -> None:
        chosen = _spread(dataset.train, CALIBRATED)
        self._batches: Iterator[Any] = iter(EvaluationLoader(dataset, chosen, config, batch_size=1))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch[0].numpy()}


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return at most ``count`` samples, evenly spaced."""
    places = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return [samples[place] for place in places]
