"""Subject: a trained run whose outputs are asked for, image after image, by a task."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from pmsi.base.errors import ConfigError
from pmsi.config import Config, TrainConfig
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.loading import EvaluationLoader
from pmsi.engine.checkpoint import find_checkpoint, load_model
from pmsi.model import Recognizer
from pmsi.runs import Run
from pmsi.runs.record import why_not_together
from pmsi.uncertainty.outputs import Outputs, outputs_of


def check_subjects(runs: Sequence[Run], limited: bool, insist: bool) -> None:
    """Raise RunError if a run has no model, ConfigError if it is worked on or its test images are not the first's."""
    if not runs:
        raise ConfigError("of is empty: name at least one training run. `pmsi runs list` shows those there are.")
    for run in runs:
        find_checkpoint(run)
        if run.state.is_live:
            raise ConfigError(f"Run {run.id} is {run.state.value}, so its model changes. Wait for its end, or stop it.")
    for other in runs[1:]:
        if reasons := why_not_together(runs[0], other, limited, insist):
            raise ConfigError(" ".join(["These runs cannot be compared.", *reasons]))


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
        done = 0

        def after_batch() -> None:
            nonlocal done
            done += 1
            self.job.check_stop()
            self.job.progress(done, loader.batches, f"{what} of run {self.of.id}")

        return outputs_of(self.model, loader, self.device, after_batch)
