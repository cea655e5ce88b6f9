"""Sweeps: every combination once, what was computed is passed over, and all or none are queued."""

import itertools
import json

import pytest
from finished_runs import finished

from pmsi.base.errors import ConfigError, PMSIError
from pmsi.config import TrainConfig
from pmsi.runs import list_runs
from pmsi.runs.labels import labels_of
from pmsi.tables import estimate as estimates
from pmsi.tables import grid as grids
from pmsi.tables.grid import Axis, axis_of, make_grid, missing, read_axis

BASE = TrainConfig(backbone="tiny", weights="none", image_size=64, epochs=2, batch_size=8)


def test_a_grid_has_every_combination_once():
    grid = make_grid(BASE, [read_axis("lr_new=0.003, 0.01,0.03"), read_axis("method=baseline,pmr")])
    expected = [
        BASE.with_(lr_new=rate, method=method)
        for rate, method in itertools.product((0.003, 0.01, 0.03), ("baseline", "pmr"))
    ]
    assert list(grid.configs) == expected


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("seed=0,1,2", Axis("seed", (0, 1, 2))),
        ("lr-new=1e-2", Axis("lr_new", (0.01,))),
        ("flip=on,off", Axis("flip", (True, False))),
        ("channels=64,default", Axis("channels", (64, None))),
    ],
)
def test_an_axis_is_read_and_written(text, axis):
    assert read_axis(text) == axis
    assert read_axis(str(axis)) == axis


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (["lr_new"], "lr_new"),
        (["lr_new="], "lr_new"),
        (["lr_new=0.1,0.10"], "twice"),
        (["lr_new=fast"], "fast"),
        (["epoch=1"], "'epochs'"),
        (["device=cpu,cuda"], "'device'"),
        (["seed=0", "epochs=1", "flip=on"], "2"),
        (["seed=0", "seed=1"], "once"),
        (["seed=" + ",".join(map(str, range(101)))], "101"),
        (["batch_size=1,8"], "batch_size = 1"),
        ([f"{name}={','.join(map(str, range(100)))}" for name in ("seed", "split_seed")], "makes 10000 runs"),
    ],
)
def test_what_makes_no_grid_is_refused_before_its_runs_are_made(texts, named, monkeypatch):
    if "runs" in named:
        monkeypatch.setattr(TrainConfig, "with_", lambda *_, **__: pytest.fail("made"))
    with pytest.raises(ConfigError, match=named):
        make_grid(BASE, [read_axis(text) for text in texts])


def test_what_was_computed_is_not_computed_again(tmp_path, submitted):
    finished(tmp_path, BASE.with_(seed=1), {"mix": 0.5})
    grid = make_grid(BASE, [axis_of("seed", (0, 1, 2))])
    assert [config.seed for config in missing(grid, tmp_path)] == [0, 2]
    runs = grids.start(grid, tmp_path)
    assert [run.config.seed for run in runs] == [0, 2]
    assert submitted == [run.id for run in runs]
    assert {labels_of(run).tags for run in runs} == {(grids.tag_of(runs),)}


@pytest.mark.parametrize(
    ("base", "axis", "why"),
    [
        (BASE.with_(augmentation="rmg"), axis_of("method", ("pmr", "baseline")), "progressive"),
        (BASE.with_(train_per_class=1), axis_of("batch_size", (12, 13)), "12 training images"),  # known by the data
    ],
)
def test_where_one_could_not_start_none_is_made(tmp_path, submitted, base, axis, why):
    grid = make_grid(base, [axis])
    with pytest.raises(PMSIError, match=why):
        grids.start(grid, tmp_path)
    assert not submitted
    assert not list_runs(tmp_path)


def test_the_command_queues_the_same_runs(tmp_path, submitted, pmsi):
    grid = make_grid(BASE, [axis_of("seed", (0, 1)), axis_of("lr_new", (0.5, 0.25))])
    words = grids.command_of(grid).split()
    assert words[:4] == ["python", "-m", "pmsi", "grid"]
    status, said, _ = pmsi(*words[3:], "--runs", tmp_path)
    assert status == 0
    assert {run.config for run in list_runs(tmp_path)} == set(grid.configs)
    assert {line.split()[0] for line in said.splitlines()} == set(submitted)
    assert pmsi(*words[3:], "--runs", tmp_path)[1].count("\n") == 4, "created, and nobody works on them yet"


def test_a_dry_run_says_how_many_and_how_long_and_starts_nothing(tmp_path, submitted, pmsi, monkeypatch):
    monkeypatch.setattr(estimates.Estimator, "seconds", lambda self, config: 30.0 * config.epochs)
    words = ["grid", "--preset", "quick", "--vary", "epochs=2,4", "--runs", tmp_path, "--dry-run"]
    status, said, _ = pmsi(*words)
    assert status == 0
    assert said.splitlines()[-1] == "2 runs: about 3 min 00 s on this machine, one after another."
    assert json.loads(pmsi(*words, "--json")[1]) == {"runs": 2, "seconds": 180.0}
    assert not submitted
    assert not list_runs(tmp_path)


def test_a_training_run_s_time_is_told_before_it(tmp_path, pmsi, monkeypatch):
    monkeypatch.setattr(estimates.Estimator, "seconds", lambda self, config: 30.0 * config.epochs)
    status, said, _ = pmsi("train", "--preset", "quick", "--epochs", 4, "--dry-run", "--runs", tmp_path)
    assert (status, said) == (0, "1 run: about 2 min 00 s on this machine.\n")
    assert not list_runs(tmp_path)
