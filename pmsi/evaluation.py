"""The task "evaluate": the accuracy of every head of a model, one centre crop per image.

The heads are the stages, concat and mix (Eq. 8), which is a head like the others here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from pmsi.base.errors import DataError
from pmsi.base.files import to_json, write_atomically
from pmsi.config import EvaluateConfig, TrainConfig
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.loading import Batch, EvaluationLoader
from pmsi.data.preprocessing import normalize
from pmsi.engine.checkpoint import find_checkpoint, load_model
from pmsi.engine.device import prepare_device
from pmsi.model import Recognizer
from pmsi.runs import Run
from pmsi.runs.record import check_data
from pmsi.uncertainty.temperature import calibration_for, probabilities


@dataclass(frozen=True)
class Scores:
    """A model's predictions: the true ``labels`` (n,), and by head predicted labels and mean cross-entropy.

    ``truth`` and ``confidence`` are, by head, the probabilities (n,), 0–1, of the true and of the predicted class, at
    the ``temperatures`` of the heads where there are some. The loss is at temperature 1.
    """

    labels: np.ndarray
    predicted: dict[str, np.ndarray]
    loss: dict[str, float]
    truth: dict[str, np.ndarray]
    confidence: dict[str, np.ndarray]
    temperatures: Mapping[str, float] = field(default_factory=dict)

    @property
    def accuracy(self) -> dict[str, float]:
        """Accuracy, 0–1, by head."""
        return {head: float((labels == self.labels).mean()) for head, labels in self.predicted.items()}


@torch.inference_mode()
def score(
    model: Recognizer,
    batches: Iterable[Batch],
    device: torch.device,
    after_batch: Callable[[], None] = lambda: None,
    temperatures: Mapping[str, float] = MappingProxyType({}),
) -> Scores:
    """Return the scores of every head over batches of uint8 images (b, 3, h, w) and labels (b,).

    Probabilities are at the ``temperatures`` of the heads, by default 1. The model stays in the mode (training or
    evaluation) it was in.
    """
    was_training = model.training
    model.eval()
    labels: list[torch.Tensor] = []
    predicted: dict[str, list[torch.Tensor]] = {head: [] for head in model.heads}
    sure: dict[str, list[torch.Tensor]] = {head: [] for head in model.heads}
    loss = {head: torch.zeros((), device=device) for head in model.heads}
    try:
        for images, truth in batches:
            outputs = model(normalize(images.to(device, non_blocking=True)))
            labels.append(truth)
            truth = truth.to(device, non_blocking=True)
            for head, logits in outputs.items():
                predicted[head].append(logits.argmax(dim=1))
                probable = probabilities(logits, temperatures.get(head, 1.0))
                sure[head].append(torch.stack([probable.gather(1, truth[:, None])[:, 0], probable.amax(dim=1)]))
                loss[head] += F.cross_entropy(logits.float(), truth, reduction="sum")
            after_batch()
    finally:
        model.train(was_training)
    truths = torch.cat(labels).numpy()
    found = {head: torch.cat(pairs, dim=1).cpu().numpy() for head, pairs in sure.items()}
    return Scores(
        truths,
        {head: torch.cat(parts).cpu().numpy() for head, parts in predicted.items()},
        {head: value.item() / len(truths) for head, value in loss.items()},
        {head: pair[0] for head, pair in found.items()},
        {head: pair[1] for head, pair in found.items()},
        temperatures,
    )


def write_predictions(path: Path, samples: Sequence[Sample], scores: Scores, classes: Sequence[str]) -> None:
    """Write what each head answered for each image and how sure it was, by the images' keys, and the labels' names."""
    predicted = {head: answers.tolist() for head, answers in scores.predicted.items()}
    truth, confidence = (
        {head: [round(float(value), 4) for value in values] for head, values in column.items()}
        for column in (scores.truth, scores.confidence)
    )
    about = {"classes": [*classes], "keys": [sample.key for sample in samples], "labels": scores.labels.tolist()}
    given = {"predicted": predicted, "truth": truth, "confidence": confidence}
    write_atomically(path, to_json(about | given | {"temperatures": dict(scores.temperatures)}))


def class_accuracy(scores: Scores, head: str, classes: Sequence[str]) -> dict[str, float | None]:
    """Return the accuracy, 0–1, of one head on the images of each class; None for a class without images."""
    right = scores.predicted[head] == scores.labels
    of_class = [right[scores.labels == label] for label in range(len(classes))]
    return {name: float(hits.mean()) if hits.size else None for name, hits in zip(classes, of_class, strict=True)}


def checking_progress(run: Run) -> Callable[[int, int], None]:
    """Return a callback for `open_dataset` that writes the run's progress and raises Stopped at a request to stop."""
    return lambda done, total: run.step(done, total, "checking the images")


def check_same_data(
    of: Run, dataset: Dataset, classes: Sequence[str], insist: bool, limited: bool = False
) -> list[str]:
    """Return in words how a data set differs from what the run ``of`` was trained on.

    ``classes`` are those of its model; ``limited`` says that fewer test images were asked for. Raises DataError where
    the data set has other classes, and, unless ``insist``, where test images are among the training images of the run.
    """
    if tuple(classes) != dataset.classes:
        raise DataError(
            f"The {len(dataset.classes)} classes of {dataset.name} are not the {len(classes)} that run {of.id} was "
            "trained on. Bring the data back as it was."
        )
    return check_data(of, dataset, insist, limited)


def check(config: EvaluateConfig, root: Path) -> None:
    """Raise RunError if the run to evaluate is missing or has no checkpoint."""
    find_checkpoint(Run.open(root, config.of))


def check_file_classes(name: str, classes: Sequence[str], dataset: Dataset) -> None:
    """Raise DataError where the classes of an exported file are not those of a data set."""
    if tuple(classes) != dataset.classes:
        raise DataError(
            f"The {len(dataset.classes)} classes of {dataset.name} are not the {len(classes)} of {name}: give the data "
            "set of its training by --data."
        )


def dataset_of(
    run: Run,
    config: TrainConfig,
    classes: Sequence[str],
    job: Run | None = None,
    insist: bool = False,
    limited: bool = False,
) -> tuple[Dataset, list[str]]:
    """Return the data set of a trained model's ``config``, and its differences from the data of ``run``, in words.

    ``job`` is the run of the task that asks. Raises DataError as `check_same_data` does.
    """
    dataset = open_dataset(config, None if job is None else checking_progress(job))
    return dataset, check_same_data(run, dataset, classes, insist, limited)


def evaluate(config: EvaluateConfig, run: Run) -> dict[str, Any]:
    """Return the accuracy of a training run's last checkpoint on its test (or training) images; the task "evaluate"."""
    device = prepare_device(config)
    of = run.sibling(config.of)
    model, trained, classes = load_model(of, device)
    dataset, differs = dataset_of(of, trained, classes, run, config.insist)
    samples = dataset.split(config.split)
    if not samples:
        raise DataError(f"Run {of.id} has no {config.split} images. Choose another split.")
    loader = EvaluationLoader(dataset, samples, trained, config.batch_size, config.workers, device)
    after_batch = run.steps(loader.batches, f"scoring the {config.split} images")
    calibration = calibration_for(of, model)
    scores = score(model, loader, device, after_batch, calibration.temperatures if calibration else {})
    write_predictions(run.folder / "predictions.json", samples, scores, classes)
    return {
        "of": config.of,
        "split": config.split,
        "images": len(samples),
        "skipped": len(dataset.problems),
        "data": differs,
        "primary": model.primary,
        "accuracy": scores.accuracy,
        "loss": scores.loss,
        "class_accuracy": class_accuracy(scores, model.primary, classes),
    }
