"""The task "maps": where a trained model looks on all test images, as a run of its own.

The numbers are `pmsi.explain.report`'s. What each image adds to them is kept beside the result, for those who look for
the images behind a number, or on which two models disagree.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pmsi.checkpoints import find_checkpoint, load_model
from pmsi.config import ExplainConfig
from pmsi.data import open_dataset
from pmsi.device import prepare_device
from pmsi.errors import ConfigError, DataError, lookup
from pmsi.evaluation import while_checking
from pmsi.explain.cam import STAGE_INDEX
from pmsi.explain.report import Examination, Question, report
from pmsi.explain.weighing import CAM_METHODS
from pmsi.files import to_json, write_atomically
from pmsi.runs import Run

LOOKS = "looks.json"
"""What was measured on each image, in the run's folder."""


def check(config: ExplainConfig, root: Path) -> None:
    """Raise what would keep a report from starting: a run without a model, a method or stages that do not exist."""
    find_checkpoint(Run.open(root, config.of))
    lookup("CAM method", CAM_METHODS, config.method)
    if not config.stages:
        raise ConfigError(f"stages is empty: name at least one of {', '.join(STAGE_INDEX)}.")
    for stage in config.stages:
        lookup("stage", STAGE_INDEX, stage)


def explain(config: ExplainConfig, run: Run) -> dict[str, Any]:
    """The task itself: a report of the last checkpoint of a training run on its test images."""
    check(config, run.folder.parent)
    model, trained, classes = load_model(run.sibling(config.of), prepare_device(config))
    if config.test_per_class is not None:
        trained = trained.with_(test_per_class=config.test_per_class)
    dataset = open_dataset(trained, while_checking(run))
    if dataset.classes != classes:
        raise DataError(
            f"The {len(dataset.classes)} classes of {dataset.name} are not the {len(classes)} that run {config.of} was "
            "trained on. Bring the data back as it was."
        )

    def after_batch(done: int, total: int) -> None:
        run.check_stop()
        run.progress(done, total, "explaining the test images" if done else "asking what the model confuses")

    question = Question(config.method, config.head, config.stages, config.tolerance, config.seed)
    examination = Examination(model, dataset, trained, question, config.batch_size, after_batch)
    looks = examination.looks()
    write_atomically(run.folder / LOOKS, to_json({"looks": [asdict(look) for look in looks]}))
    return {"of": config.of, "skipped": len(dataset.problems), **report(examination, looks)}
