"""Estimates: equal runs are believed; trials are scaled as training's and a sweep's loops say, and leave nothing."""

import json

import pytest
import torch
from finished_runs import finished
from small import SMALL
from untrained import untrained

from pmsi.config import RobustnessConfig
from pmsi.data.plumage.species import SPECIES
from pmsi.robustness.cells import CLEAN, cells_of
from pmsi.runs import Run
from pmsi.tables import estimate as estimates
from pmsi.tables.estimate import Estimator, Pace, Reading, known_sweep, try_sweep, try_training

TINY = SMALL.with_(image_size=64, train_per_class=5, test_per_class=1)


@pytest.fixture
def measured(monkeypatch):
    """Fixed measurements in place of trials; return the configs that were tried."""
    tried = []

    def try_training(config, classes):
        tried.append(config)
        return Pace(step=0.5, frozen_step=0.25, test=0.125)

    monkeypatch.setattr(estimates, "try_training", try_training)
    reading = Reading(train=100, test=40, classes=5, decode=0.01, crop=0.001)
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
    assert Estimator(tmp_path).seconds(config) == pytest.approx(expected)


def test_each_computation_is_tried_once_whatever_its_seed(tmp_path, measured):
    estimator = Estimator(tmp_path)
    for seed in range(3):
        estimator.seconds(TINY.with_(seed=seed))
        estimator.seconds(TINY.with_(seed=seed, method="p"))
    assert estimator.future_sweep([TINY, TINY], cells=2) == pytest.approx(2 * 2 * 40 * (0.125 + 0.002))
    assert [config.method for config in measured] == ["pmr", "p"]


def test_what_an_equal_run_took_is_believed(tmp_path, measured):
    size = Estimator(tmp_path).reading(TINY)
    counts = (size.classes, size.train, size.test)
    finished(tmp_path, TINY.with_(seed=5), {"mix": 0.5}, counts=counts, seconds=100.0)
    finished(tmp_path, TINY.with_(seed=6), {"mix": 0.5}, counts=counts, seconds=200.0)
    finished(tmp_path, TINY.with_(seed=7), {"mix": 0.5}, seconds=900.0)  # when the data set was larger
    assert Estimator(tmp_path).seconds(TINY) == 150.0
    assert not measured
    Estimator(tmp_path).seconds(TINY.with_(device="cpu"))
    Estimator(tmp_path).seconds(TINY.with_(epochs=3))
    assert len(measured) == 2, "other devices and other recipes take their own time"


@pytest.mark.parametrize("name", ["pmr", "api"])
def test_every_kind_of_method_can_be_tried(name):
    config = TINY.with_(method=name, weights="imagenet", frozen_epochs=1, batch_size=8)
    pace = try_training(config, 5)
    assert min(pace.step, pace.frozen_step, pace.test) > 0


def test_a_trial_moves_no_random_draw_of_others_and_reads_no_weights(monkeypatch):
    monkeypatch.setattr(
        "pmsi.methods.pretrained_state", lambda row, weights, *_: pytest.fail(weights) if weights != "none" else None
    )
    state = torch.get_rng_state()
    try_training(TINY.with_(weights="imagenet", frozen_epochs=1), 3)
    assert torch.equal(torch.get_rng_state(), state)


# Sweeps

SWEEP = RobustnessConfig(of=("a", "b"), perturbations=("color_jitter=0.5,1", "gaussian_noise=5,10,20,40"))
CELLS = 7
LABELS = [0] * 9 + [1] * 4 + [2] * 2


def earlier(root, config=SWEEP, seconds=60.0, labels=LABELS, ending="result.json"):
    """Write a sweep that worked for so many seconds, however long it lay idle in between."""
    run = Run.create(root, config)
    (run.folder / "predictions").mkdir()
    (run.folder / CLEAN.file).write_text(json.dumps({"labels": labels}))
    (run.folder / "progress.json").write_text(json.dumps({"done": 42, "total": 42, "rate": 42 / seconds}))
    (run.folder / "started").write_text('{"at": 0}')
    (run.folder / ending).write_text('{"at": 1e6, "result": {}}')
    return run


def test_an_earlier_sweep_is_scaled_by_its_cells_and_images_and_other_work_takes_its_own_time(tmp_path):
    each = 2.0  # seconds for each image and cell
    earlier(tmp_path, seconds=CELLS * len(LABELS) * each)
    for same in (SWEEP, SWEEP.with_(of=("b", "a"), seed=3)):
        assert known_sweep(same, tmp_path) == pytest.approx(CELLS * len(LABELS) * each)
    fewer = SWEEP.with_(perturbations=("gaussian_noise=1,2",), test_per_class=3)
    assert known_sweep(fewer, tmp_path) == pytest.approx(3 * (3 + 3 + 2) * each), "no class has more images"
    others = {"of": ("a",), "device": "cpu", "threads": 2, "workers": 1, "perturbations": ("color_jitter", "jpeg")}
    for name, value in others.items():
        assert known_sweep(SWEEP.with_(**{name: value}), tmp_path) is None


def test_a_sweep_of_few_images_does_not_say_how_many_more_there_are(tmp_path):
    earlier(tmp_path, SWEEP.with_(test_per_class=5), labels=[0] * 5 + [1] * 4, seconds=CELLS * 9 * 2.0)
    assert known_sweep(SWEEP, tmp_path) is None
    assert known_sweep(SWEEP.with_(test_per_class=6), tmp_path) is None
    assert known_sweep(SWEEP.with_(test_per_class=2), tmp_path) == pytest.approx(CELLS * 4 * 2.0)


def test_only_what_is_finished_and_whole_tells(tmp_path):
    earlier(tmp_path, ending="stopped.json")
    (earlier(tmp_path).folder / "progress.json").unlink()
    (earlier(tmp_path).folder / CLEAN.file).unlink()
    (earlier(tmp_path).folder / "config.json").write_text("{")
    assert known_sweep(SWEEP, tmp_path) is None


@pytest.fixture
def runs(tmp_path, tiny_config):
    """Two runs whose models were never trained, with images of different sizes."""
    return [untrained(tmp_path, tiny_config.with_(image_size=size)) for size in (64, 32)]


def test_a_trial_is_scaled_by_walking_through_the_sweep(tmp_path, runs, monkeypatch):
    """A second for whatever is timed: a pass over the few images, or their reading at one size."""
    config = SWEEP.with_(of=tuple(run.id for run in runs))
    shown = []

    def timed(work, *arguments):
        shown.append(work(*arguments))
        return 1.0

    monkeypatch.setattr(estimates, "_timed", timed)
    seconds = try_sweep(config, tmp_path)
    read, passes = shown[:2], shown[2:]
    few = len(read[0])
    images = sum(runs[0].config.test_per_class for _ in SPECIES)
    assert 1 < few <= images
    assert {pixels[0].shape[0] for pixels in read} == {run.config.resize_to for run in runs}
    assert len(passes) == 1 + 3, "a first pass that does not count, the clean images, one severity of each"
    assert {len(answers["predicted"]["mix"]) for found in passes for answers in found["runs"].values()} == {few}
    assert passes[2]["runs"][runs[0].id]["factors"]["contrast"], "the clean images are followed by colour jitter"
    expected = 0.0
    for _image in range(images):
        expected += 2 / few  # reading, at two sizes
        for _cell in cells_of(config):
            expected += 1 / few
    assert expected < seconds < expected + 20, "and some seconds to load the models"


def test_a_trial_leaves_nothing_behind_and_an_earlier_sweep_spares_it(tmp_path, runs, monkeypatch):
    config = SWEEP.with_(of=(runs[0].id,))
    before = sorted(tmp_path.rglob("*"))
    state = torch.get_rng_state()
    assert Estimator(tmp_path).seconds(config) > 0
    assert sorted(tmp_path.rglob("*")) == before
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr(estimates, "try_sweep", lambda *about: pytest.fail("There was no need to try."))
    earlier(tmp_path, config, seconds=30.0)
    assert Estimator(tmp_path).seconds(config) == pytest.approx(30.0)


def test_the_command_says_it_and_starts_nothing(tmp_path, runs, pmsi):
    of = tuple(run.id for run in runs)
    earlier(tmp_path, SWEEP.with_(of=of), seconds=90.0)
    before = sorted(tmp_path.rglob("*"))
    line = ("robustness", *of, "--perturbations", *SWEEP.perturbations, "--runs", tmp_path, "--dry-run")
    status, out, _ = pmsi(*line)
    assert status == 0
    assert all(words in out for words in ("7 passes", "2 runs", "1 min 30 s"))
    status, out, _ = pmsi(*line, "--json")
    assert (status, json.loads(out)) == (0, {"cells": 7, "runs": 2, "seconds": pytest.approx(90.0)})
    assert sorted(tmp_path.rglob("*")) == before
    assert pmsi("robustness", "gone", "--dry-run", "--runs", tmp_path)[0] == 2
