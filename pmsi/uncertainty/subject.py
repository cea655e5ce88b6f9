"""Subject: a trained run whose outputs are asked for, image after image, by a task."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from pmsi.base.errors import ConfigError
from pmsi.config import Config, TrainConfig
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.loading import EvaluationLoader
from pmsi.engine.checkpoint import check_together, load_model
from pmsi.model import Recognizer
from pmsi.runs import Run
from pmsi.uncertainty.outputs import Outputs, outputs_of


def check_subjects(runs: Sequence[Run], limited: bool, insist: bool) -> None:
    """Raise ConfigError if there are no runs, and as `check_together` does."""
    if not runs:
        raise ConfigError("of is empty: name at least one training run. `pmsi runs list` shows those there are.")
    check_together(runs, limited, insist, "These runs cannot be compared.")


@dataclass(frozen=True)
class Subject:
    """A trained run ``of`` with its model, and the run ``job`` of the task that asks, which is stopped and followed."""

    of: Run
    model: Recognizer
    config: TrainConfig
    classes: tuple[str, ...]
    device: torch.device
    job: Run
    batch_size: int
    workers: int

    @classmethod
    def open(cls, of: Run, job: Run, asked: Config, device: torch.device) -> "Subject":
        """Return a run at its last checkpoint; ``asked`` has the batch size and may limit the test images."""
        model, config, classes = load_model(of, device)
        config = replace(config, test_per_class=getattr(asked, "test_per_class", None) or config.test_per_class)
        return cls(of, model, config, classes, device, job, getattr(asked, "batch_size", 32), asked.workers)

    def outputs(self, dataset: Dataset, samples: Sequence[Sample], what: str) -> Outputs:
        """Return the outputs for some samples of a data set; raises Stopped where the task was asked to stop."""
        loader = EvaluationLoader(dataset, samples, self.config, self.batch_size, self.workers, self.device)
        after_batch = self.job.steps(loader.batches, f"{what} of run {self.of.id}")
        return outputs_of(self.model, loader, self.device, after_batch)
