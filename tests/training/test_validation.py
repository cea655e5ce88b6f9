"""What a run chooses on its validation part."""

import numpy as np
from small import SMALL

from pmsi import tasks
from pmsi.data import open_dataset
from pmsi.data.loading import CPU, EvaluationLoader
from pmsi.engine.checkpoint import load_model
from pmsi.runs import Run
from pmsi.runs.calibration import calibration_of
from pmsi.runs.comparison import outcome, scores_of
from pmsi.runs.mistakes import read_predictions
from pmsi.uncertainty.outputs import outputs_of
from pmsi.uncertainty.temperature import calibration_for, fit_temperature, log_probabilities


def test_the_best_epoch_and_the_temperatures_come_from_the_validation_part(tmp_path):
    config = SMALL.with_(train_per_class=4, test_per_class=2, validation=0.25, epochs=3, trackers=("tensorboard",))
    run = Run.create(tmp_path, config)
    assert tasks.execute(run) == "finished", run.status().error
    epochs = [record for record in run.metrics() if record["kind"] == "epoch"]
    best = run.result()["best"]
    assert best["epoch"] == 1 + int(np.argmax([epoch["validation"]["accuracy"]["mix"] for epoch in epochs]))
    assert best["accuracy"] == epochs[best["epoch"] - 1]["accuracy"]
    assert best["on"] == scores_of(run)["best"]["on"] == "validation"
    assert outcome(run).best_on == ""

    model, _, _ = load_model(run, CPU)
    dataset, found = open_dataset(config), calibration_of(run)
    held, test = (
        outputs_of(model, EvaluationLoader(dataset, side, config, 8), CPU)
        for side in (dataset.validation, dataset.test)
    )
    assert calibration_for(run, model) == found
    assert found.images == len(dataset.validation) == run.result()["validation_images"] == 12
    assert found.temperatures["mix"] == fit_temperature(held.logits["mix"], held.labels)
    shown = np.exp(log_probabilities(test.logits["mix"], found.temperatures["mix"]).max(axis=1))
    np.testing.assert_allclose(read_predictions(run).confidence["mix"], shown, atol=1e-4)
    next(model.parameters()).data += 1
    assert calibration_for(run, model) is None, "it was fitted to another model"


def test_without_a_validation_part_the_best_epoch_is_marked(tiny_run):
    assert tiny_run.result()["best"]["on"] == "test"
    assert outcome(tiny_run).best_on
    assert calibration_of(tiny_run) is None
