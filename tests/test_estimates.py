"""Estimates: equal runs are believed; trials are scaled as the loop of training says, and leave nothing behind."""

import json

import pytest
import torch
from table_runs import finished

from pmsi.config import TrainConfig
from pmsi.methods import METHODS, resolve
from pmsi.runs import Run
from pmsi.tables import estimate as estimates
from pmsi.tables.estimate import Estimator, Pace, Reading, try_out

TINY = TrainConfig(
    dataset="plumage", backbone="tiny", weights="none", image_size=64, train_per_class=5, test_per_class=1, epochs=2,
    batch_size=8, channels=16, hidden=8,
)  # fmt: skip


@pytest.fixture
def measured(monkeypatch):
    """Fixed measurements in place of trials; return the configs that were tried."""
    tried = []

    def try_out(config, classes):
        tried.append(config)
        return Pace(step=0.5, frozen_step=0.25, test=0.125)

    monkeypatch.setattr(estimates, "try_out", try_out)
    reading = Reading(train=100, test=40, classes=5, decode=0.01, cut=0.001)
    monkeypatch.setattr(Estimator, "reading", lambda self, config: reading)
    return tried


@pytest.mark.parametrize(("weights", "epochs", "every"), [("none", 7, 1), ("imagenet", 7, 3), ("imagenet", 3, 5)])
def test_a_trial_is_scaled_by_walking_through_the_run(tmp_path, measured, weights, epochs, every):
    config = TINY.with_(weights=weights, epochs=epochs, frozen_epochs=2, evaluate_every=every, batch_size=32)
    expected = 0.01 * (100 + 40)
    for epoch in range(epochs):
        for _batch in range(3):  # the last four images of an epoch fill no batch
            expected += 32 * (0.001 + (0.25 if weights == "imagenet" and epoch < 2 else 0.5))
        if (epoch + 1) % every == 0 or epoch + 1 == epochs:
            expected += 40 * (0.001 + 0.125)
    assert Estimator(tmp_path).training(config) == pytest.approx(expected)


def test_each_computation_is_tried_once_whatever_its_seed(tmp_path, measured):
    estimator = Estimator(tmp_path)
    for seed in range(3):
        estimator.training(TINY.with_(seed=seed))
        estimator.training(TINY.with_(seed=seed, method="p"))
    estimator.testing(TINY)
    assert [config.method for config in measured] == ["pmr", "p"]


def test_what_an_equal_run_took_is_believed(tmp_path, measured):
    finished(tmp_path, TINY.with_(seed=5), {"mix": 0.5}, seconds=100.0)
    finished(tmp_path, TINY.with_(seed=6), {"mix": 0.5}, seconds=200.0)
    assert Estimator(tmp_path).training(TINY) == 150.0
    assert not measured
    Estimator(tmp_path).training(TINY.with_(device="cpu"))
    Estimator(tmp_path).training(TINY.with_(epochs=3))
    assert len(measured) == 2, "other devices and other recipes take their own time"


def test_a_speed_is_what_finished_runs_computed_in_a_second(tmp_path):
    """Three runs, of 60, 600 and 6000 multiply-adds a second; that on other threads does not count, nor a live one."""
    about = {"train_images": 30, "classes": list("abc")}
    for number, (epochs, seconds) in enumerate([(2, 10.0), (20, 10.0), (200, 10.0)]):
        run = finished(tmp_path, TINY.with_(epochs=epochs, seed=number), {"mix": 0.5}, seconds=seconds)
        written = json.loads((run.folder / "result.json").read_text())
        written["result"] |= about
        (run.folder / "result.json").write_text(json.dumps(written))
    finished(tmp_path, TINY.with_(threads=3, epochs=3), {"mix": 0.5}, seconds=1.0)
    Run.create(tmp_path, TINY.with_(epochs=7))
    asked = []

    def count(config, classes):
        asked.append(classes)
        return 10

    assert Estimator(tmp_path).speed(TINY.with_(method="p", epochs=5), count) == pytest.approx(30 * 20 * 10 / 10.0)
    assert asked == [3, 3, 3]
    assert Estimator(tmp_path).speed(TINY.with_(precision="bfloat16"), count) is None


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_tried(name):
    config = TINY.with_(method=name, weights="imagenet", frozen_epochs=1, batch_size=8)
    pace = try_out(config, 5)
    assert min(pace.step, pace.frozen_step, pace.test) > 0


def test_a_trial_s_batch_is_one_that_the_method_takes():
    for name in METHODS:
        config = TINY.with_(method=name, image_size=224, batch_size=64)
        size = estimates._batch_size(config)
        assert estimates.IMAGES <= size <= 64
        resolve(config.with_(batch_size=size))


def test_a_trial_moves_no_random_draw_of_others_and_reads_no_weights(monkeypatch):
    monkeypatch.setattr(
        "pmsi.methods.pretrained_state", lambda row, weights: pytest.fail(weights) if weights != "none" else None
    )
    state = torch.get_rng_state()
    try_out(TINY.with_(weights="imagenet", frozen_epochs=1), 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_reading_counts_what_there_is(tmp_path, cache_folder):
    reading = Estimator(tmp_path).reading(TINY)
    assert (reading.train, reading.test, reading.classes) == (60, 12, 12)
    assert reading.cut > 0
    assert reading.decode > 0, "drawing a bird takes longer than cutting it out"
