"""Runs that a table reads, made with results instead of by training."""

import shlex

from pmsi.config import RobustnessConfig
from pmsi.config.command import command
from pmsi.data.record import FILE, DataRecord, ImageRecord
from pmsi.runs import Run, State, lifecycle


def flags_of(config):
    """Return the flags with which a table is made of a config; the table chooses the method."""
    words = shlex.split(command(config))[4:]
    at = words.index("--method")
    return words[:at] + words[at + 2 :]


def ended(root, config, state, about):
    """Make a run that ended as ``state``, through its whole life."""
    run = Run.create(root, config)
    lock = lifecycle.begin(run.folder)
    lifecycle.settle(run.folder, state, about, lock)
    return run


def finished(root, config, accuracy, best=None, counts=(35, 1050, 942), seconds=60.0, on="validation"):
    """Make a finished training run with these accuracies by head; the last head is the primary one.

    ``on`` is what its best epoch was chosen on.
    """
    primary = list(accuracy)[-1]
    result = {
        "last": {"epoch": config.epochs, "accuracy": accuracy},
        "best": {"epoch": 1, "accuracy": best or accuracy, "by": primary, "on": on},
        "classes": [str(number) for number in range(counts[0])],
        "train_images": counts[1],
        "test_images": counts[2],
        "skipped_images": 0,
        "parameters": 1_234_567,
        "seconds": seconds,
    }
    return ended(root, config, State.FINISHED, {"result": result})


def swept(root, runs, name, severity, accuracies, **changes):
    """Make a finished sweep of one severity, with the accuracy of each run's primary head."""
    config = RobustnessConfig(of=tuple(run.id for run in runs), perturbations=(name,), severities=(severity,))
    heads = [{"primary": "x", "heads": {"x": {"accuracy": accuracy}}} for accuracy in accuracies]
    record = {"perturbation": name, "severity": severity, "runs": dict(zip(config.of, heads, strict=True))}
    clean = {"perturbation": None, "severity": 0.0, "runs": {}}
    return ended(root, config.with_(**changes), State.FINISHED, {"result": {"cells": [clean, record]}})


def recorded(run, train, test, classes=("ani", "crow")):
    """Give a run the record of images whose digests these are."""
    splits = [tuple(ImageRecord(f"{name}.png", 0, f"{name:>032}") for name in names) for names in (train, test)]
    DataRecord("birds", classes, *splits).to_file(run.folder / FILE)
    return run
