"""Training runs: what they record, and that a run stopped anywhere goes on to the same bits."""

import itertools
from dataclasses import replace

import pytest
import torch
from learning import Training, assert_equal_bits, go_on, records, state
from PIL import Image
from small import SMALL

from pmsi import tasks
from pmsi.base.errors import ConfigError, TrainingError
from pmsi.engine.checkpoint import CHECKPOINT, load_checkpoint
from pmsi.runs import Run, State, Stopped
from pmsi.training.progress import Progress

PHASES = 4
"""Of pmr in each batch; SMALL has four batches in an epoch."""


@pytest.fixture
def start(tmp_path, colour_dataset):
    """Return a function that begins a training run of a config on the colours, or goes on with one."""
    return lambda config=SMALL, run=None: Training(config, colour_dataset, run or Run.create(tmp_path, config))


def test_the_result_tells_last_from_best_and_metrics_hold_every_head(start):
    trainer = start()
    result = trainer.fit()
    epochs = [record for record in trainer.run.metrics() if record["kind"] == "epoch"]
    assert [record["epoch"] for record in epochs] == [1, 2]
    assert all(set(record["accuracy"]) == {"S3", "S4", "S5", "concat", "mix"} for record in epochs)
    assert result["last"] == {"epoch": 2, "accuracy": epochs[-1]["accuracy"]}
    assert result["best"]["accuracy"]["mix"] == max(record["accuracy"]["mix"] for record in epochs)
    assert result["best"]["by"] == "mix"
    losses = [record for record in trainer.run.metrics() if record["kind"] == "loss"]
    assert set(losses[0]["losses"]) == {"S3", "S4", "S5", "concat"}
    assert losses[-1]["epoch"] == 2


# Stopping and going on


def stopped(trainer, phases):
    """Train so many phases, with a request to stop during the last; return the run and where it has been."""
    places, after_phase = [], trainer.after_phase

    def stopping(phase, loss):
        at = trainer.progress
        places.append((at.epoch, at.batch, at.phase))
        if len(places) == phases:
            (trainer.run.folder / "stop").touch()
        after_phase(phase, loss)

    trainer.after_phase = stopping
    with pytest.raises(Stopped):
        trainer.fit()
    return go_on(trainer.run), places


def whole(start, config):
    trainer = start(config)
    trainer.fit()
    return trainer.run


@pytest.mark.parametrize(("method", "augmentation"), [("pmr", "snapmix"), ("api", "none")])
def test_a_run_stopped_after_a_phase_resumes_to_the_same_bits(start, method, augmentation):
    """SnapMix's maps are those of the model's attention head; API-Net's batches are balanced."""
    config = SMALL.with_(method=method, augmentation=augmentation, dropout=0.5)
    run, _ = stopped(start(config), 6)
    torch.rand(7)  # the state of the global generator does not matter
    start(config, run).fit()
    assert_equal_bits(run, whole(start, config))


def test_a_run_stopped_after_every_phase_comes_to_the_same_bits(start, tmp_path):
    config = SMALL.with_(batch_size=16, dropout=0.5, nested=True)
    run, places = Run.create(tmp_path, config), []
    for _ in range(2 * 2 * PHASES):
        run, been = stopped(start(config, run), 1)
        places += been
    start(config, run).fit()
    assert places == list(itertools.product(range(2), range(2), range(PHASES)))
    assert_equal_bits(run, whole(start, config))


def test_a_checkpoint_of_an_earlier_version_lies_between_two_batches(start, monkeypatch):
    config = SMALL.with_(epochs=1, dropout=0.5)
    places = Progress.to_json
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "to_json", lambda self: {k: v for k, v in places(self).items() if k != "phase"})
        run, _ = stopped(start(config), 2 * PHASES)
    assert "phase" not in load_checkpoint(run.checkpoints / CHECKPOINT).about
    start(config, run).fit()
    assert_equal_bits(run, whole(start, config))


class Mortal(Run):
    """A run whose process dies at its second checkpoint, when its metrics are safe and its weights are not."""

    saves = 0

    def flush_metrics(self):
        super().flush_metrics()
        self.saves += 1
        if self.saves == 2:
            raise SystemExit("killed")


def test_a_run_killed_between_checkpoints_repeats_what_was_lost(start, tmp_path):
    run = Mortal(Run.create(tmp_path, SMALL).folder)
    with pytest.raises(SystemExit):
        start(SMALL, run).fit()
    run = Run(run.folder)
    start(SMALL, run).fit()
    assert_equal_bits(run, whole(start, SMALL))


def test_a_resumed_run_lays_its_momentum_out_as_its_weights(start):
    trainer = start(SMALL.with_(epochs=1))
    trainer.fit()
    resumed = start(SMALL.with_(epochs=1), trainer.run)
    expected, found = trainer.optimizer.state, resumed.optimizer.state
    parameters = list(zip(trainer.model.parameters(), resumed.model.parameters(), strict=True))
    assert any(parameter.stride() != parameter.contiguous().stride() for parameter, _ in parameters)
    for before, after in parameters:
        assert torch.equal(found[after]["momentum_buffer"], expected[before]["momentum_buffer"])
        assert found[after]["momentum_buffer"].stride() == after.stride() == before.stride()


def test_a_run_does_not_go_on_with_other_data(start, colour_dataset):
    trainer = start(SMALL.with_(epochs=1))
    trainer.fit()
    *rest, first = colour_dataset.train  # whose pixels no test image has
    renamed = replace(first, key=f"renamed {first.key}")  # the same pixels

    def flipped(sample):
        image = colour_dataset.open_image(sample)
        return image.point(lambda value: value ^ 1) if sample == first else image

    for change, said in (
        ({"classes": ("red", "blue", "green", "yellow")}, "16 of 32 train images are of another class"),
        ({"train": tuple(rest)}, "1 of 32 train images are gone"),
        ({"train": (renamed, *rest)}, "1 of 32 train images have another name"),
        ({"open_image": flipped}, "1 of 32 train images have other pixels"),
    ):
        with pytest.raises(TrainingError, match=f"colours has changed.*{said}"):
            Training(SMALL, replace(colour_dataset, **change), trainer.run)


def test_the_answer_does_not_depend_on_the_number_of_workers(start):
    one, two = (start(SMALL.with_(epochs=1, workers=workers)) for workers in (0, 2))
    one.fit()
    two.fit()
    assert_equal_bits(one.run, two.run)


def test_a_loss_that_is_not_finite_ends_the_run_with_advice_and_spares_the_checkpoint(start):
    config = SMALL.with_(epochs=1)
    trainer = start(config)
    trainer.fit()
    good = state(trainer.run)
    diverged = start(config, trainer.run)
    diverged.config = diverged.learner.config = SMALL
    with torch.no_grad():
        diverged.model.concat.layers[-1].weight.fill_(float("inf"))
    with pytest.raises(TrainingError, match=r"phase concat is (nan|inf) in epoch 2.*lr_new"):
        diverged.fit()
    assert all(torch.equal(value, good[name]) for name, value in state(trainer.run).items())


# Batches


def test_a_method_that_compares_images_of_a_class_is_given_them_or_refused(start):
    for _, labels in start(SMALL.with_(method="api")).loader.epoch(0):
        assert sorted(labels.bincount(minlength=4).tolist()) == [0, 0, 4, 4]
    with pytest.raises(ConfigError, match="6 classes in a batch, but only 4"):
        start(SMALL.with_(method="api", batch_size=24))


@pytest.mark.usefixtures("cache_folder")
def test_a_run_can_be_stopped_while_its_images_are_checked(tmp_path, monkeypatch):
    for split, name, i in itertools.product(("train", "test"), ("rose", "daisy"), range(4)):
        path = tmp_path / "flowers" / split / name / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 10), "teal").save(path)
    run = Run.create(tmp_path / "runs", SMALL.with_(dataset="folder", data=str(tmp_path / "flowers"), epochs=1))
    seen, progress = [], Run.progress

    def stopping(self, done, total, text):
        seen.append((done, total))
        progress(self, done, total, text)
        if done == 3:
            (self.folder / "stop").touch()

    with monkeypatch.context() as patch:
        patch.setattr(Run, "progress", stopping)
        assert tasks.execute(run) is State.STOPPED
    assert seen == [(done, 16) for done in (1, 2, 3)]
    assert not (run.checkpoints / CHECKPOINT).exists()
    assert tasks.execute(run) is State.FINISHED, run.status().error
    assert records(run)
