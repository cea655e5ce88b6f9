"""Training for tests: `Training` on a data set at hand, and runs that are asked to stop at a chosen place."""

import safetensors
import torch

from pmsi.engine.checkpoint import CHECKPOINT
from pmsi.runs import Run
from pmsi.training.session import Training, train

__all__ = ["StoppedAfter", "Training", "assert_equal_bits", "go_on", "records", "state", "train"]


class StoppedAfter(Run):
    """A run that is asked to stop once so many batches are trained; ``between`` is called after each batch."""

    def __init__(self, folder, batches=None, between=lambda done: None):
        super().__init__(folder)
        self.batches, self.between = batches, between

    def log(self, record):
        super().log(record)
        if record["kind"] == "loss":  # one a batch, where an epoch has few
            self.between(record["step"])
            if record["step"] == self.batches:
                (self.folder / "stop").touch()


def go_on(run):
    """Return the run in ``run``'s folder as nobody wants it to stop any more."""
    (run.folder / "stop").unlink()
    return Run(run.folder)


def state(run):
    """Return all tensors of a run's checkpoint, the optimizer's too, by name."""
    with safetensors.safe_open(run.checkpoints / CHECKPOINT, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


def records(run):
    """Return a run's metrics without what a clock says."""
    return [{key: value for key, value in record.items() if key != "seconds"} for record in run.metrics()]


def assert_equal_bits(run, other):
    """Two runs have the same weights, buffers and momenta, and have logged the same."""
    ours, theirs = state(run), state(other)
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert records(run) == records(other)
