"""How long a sweep takes: earlier ones are believed and scaled; a trial is scaled as the loop of a sweep says."""

import json

import pytest
import torch

from pmsi.base.errors import RunError
from pmsi.config import RobustnessConfig
from pmsi.data.plumage.species import SPECIES
from pmsi.engine.checkpoint import CHECKPOINT, save_checkpoint
from pmsi.methods import build
from pmsi.robustness import CLEAN, trial
from pmsi.robustness.cells import cells_of
from pmsi.robustness.pacing import estimate, known
from pmsi.robustness.trial import tried
from pmsi.runs import Run

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


def test_an_earlier_sweep_is_scaled_by_its_cells_and_images(tmp_path):
    earlier(tmp_path, seconds=CELLS * len(LABELS) * 2.0)  # two seconds for each image and cell
    assert known(SWEEP, tmp_path) == pytest.approx(CELLS * len(LABELS) * 2.0)
    assert known(SWEEP.with_(of=("b", "a"), seed=3), tmp_path) == pytest.approx(CELLS * len(LABELS) * 2.0)
    fewer = SWEEP.with_(perturbations=("gaussian_noise=1,2",), test_per_class=3)
    assert known(fewer, tmp_path) == pytest.approx(3 * (3 + 3 + 2) * 2.0), "a class has no more images than it has"


@pytest.mark.parametrize(
    "changes",
    [
        {"of": ("a",)},
        {"of": ("a", "b", "c")},
        {"device": "cpu"},
        {"threads": 2},
        {"workers": 1},
        {"perturbations": ("color_jitter", "jpeg")},
    ],
)
def test_other_work_takes_its_own_time(tmp_path, changes):
    earlier(tmp_path)
    assert known(SWEEP, tmp_path) is not None
    assert known(SWEEP.with_(**changes), tmp_path) is None


def test_a_sweep_of_few_images_does_not_say_how_many_more_there_are(tmp_path):
    earlier(tmp_path, SWEEP.with_(test_per_class=5), labels=[0] * 5 + [1] * 4, seconds=CELLS * 9 * 2.0)
    assert known(SWEEP, tmp_path) is None
    assert known(SWEEP.with_(test_per_class=6), tmp_path) is None
    assert known(SWEEP.with_(test_per_class=2), tmp_path) == pytest.approx(CELLS * 4 * 2.0)


def test_only_what_is_finished_and_whole_tells(tmp_path):
    earlier(tmp_path, ending="stopped.json")
    (earlier(tmp_path).folder / "progress.json").unlink()
    (earlier(tmp_path).folder / CLEAN.file).unlink()
    (earlier(tmp_path).folder / "config.json").write_text("{")
    assert known(SWEEP, tmp_path) is None


@pytest.fixture
def runs(tmp_path, tiny_config):
    """Two runs whose models were never trained, with images of different sizes."""
    found = []
    for size in (64, 32):
        config = tiny_config.with_(image_size=size)
        run, model = Run.create(tmp_path, config), build(config, len(SPECIES))
        about = {"epoch": 1, "step": 0, "config": config.to_dict(), "classes": [species.name for species in SPECIES]}
        save_checkpoint(run.checkpoints / CHECKPOINT, model, torch.optim.SGD(model.parameters(), lr=0.1), about)
        found.append(run)
    return found


def test_a_trial_is_scaled_by_walking_through_the_sweep(tmp_path, runs, monkeypatch):
    """A second for whatever is timed: a pass over the few images, or their reading at one size."""
    config = SWEEP.with_(of=tuple(run.id for run in runs))
    shown = []

    def timed(work, *arguments):
        shown.append(work(*arguments))
        return 1.0

    monkeypatch.setattr(trial, "_timed", timed)
    seconds = tried(config, tmp_path)
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
    assert estimate(config, tmp_path) > 0
    assert sorted(tmp_path.rglob("*")) == before
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr(trial, "tried", lambda *about: pytest.fail("There was no need to try."))
    earlier(tmp_path, config, seconds=30.0)
    assert estimate(config, tmp_path) == pytest.approx(30.0)


def test_a_trial_of_a_run_that_is_not_there_says_so(tmp_path):
    with pytest.raises(RunError, match="no run 'a'"):
        estimate(SWEEP, tmp_path)


def test_the_command_says_it_and_starts_nothing(tmp_path, runs, pmsi):
    of = tuple(run.id for run in runs)
    earlier(tmp_path, SWEEP.with_(of=of), seconds=90.0)
    before = sorted(tmp_path.rglob("*"))
    line = ("robustness", *of, "--perturbations", *SWEEP.perturbations, "--runs", tmp_path, "--dry-run")
    assert pmsi(*line) == (
        0,
        "7 passes over the test images for each of 2 runs: about 1 min 30 s on this machine.\n",
        "",
    )
    status, out, _ = pmsi(*line, "--json")
    assert (status, json.loads(out)) == (0, {"cells": 7, "runs": 2, "seconds": pytest.approx(90.0)})
    assert sorted(tmp_path.rglob("*")) == before
    assert pmsi("robustness", "gone", "--dry-run", "--runs", tmp_path)[0] == 2
