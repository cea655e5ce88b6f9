"""Filling a table makes, resumes and follows exactly what a table lacks: with fake tasks, and once with real ones."""

import json
import shutil
from pathlib import Path

import pytest
from finished_runs import flags_of
from small import SMALL
from waiting import until

from pmsi import tasks
from pmsi.base.locks import is_held
from pmsi.cli import tables as watching
from pmsi.cli.tables import shared_out
from pmsi.config import RobustnessConfig, TrainConfig
from pmsi.runs import Run, State, jobs, lifecycle, list_runs
from pmsi.runs.launchers import LAUNCHERS
from pmsi.runs.launchers.row import Launcher
from pmsi.tables import expand, fill
from pmsi.tables.estimate import Estimator, Pace
from pmsi.tables.needed import needed_runs
from pmsi.tasks import Task, execute

TINY = SMALL.with_(image_size=64, train_per_class=2, test_per_class=1, epochs=1, batch_size=6)
FLAGS = flags_of(TINY)

ROOT = Path(__file__).parents[2]

executed = []
failing = set()
interrupting = []


def launch(run):
    """Work on a run at once, in this process; "Ctrl-C" comes after as many runs as ``interrupting`` says."""
    executed.append(run.id)
    execute(Run(run.folder))
    if len(executed) in interrupting:
        raise KeyboardInterrupt


def trained(config, run):
    if config.method in failing:
        raise ValueError("no luck")
    heads = {"concat": 0.5 + config.seed / 100, "mix": 0.6 + config.seed / 100}
    last = {"epoch": 1, "accuracy": heads}
    counts = {"classes": ["a", "b"], "train_images": 24, "test_images": 12, "seconds": 7.0}
    return {"last": last, "best": last | {"by": "mix"}} | counts


def swept(config, run):
    (name,), (severity,) = config.perturbations, config.severities
    runs = {id: {"primary": "mix", "heads": {"mix": {"accuracy": 0.25}}} for id in config.of}
    return {"cells": [{"perturbation": name, "severity": severity, "runs": runs}]}


@pytest.fixture
def fakes(monkeypatch):
    """Runs that take no time, in this process, and estimates that try nothing."""
    for name, function in (("train", "trained"), ("robustness", "swept")):
        check = tasks.TASKS["train"].check if name == "train" else None
        monkeypatch.setitem(tasks.TASKS, name, Task(f"{__name__}:{function}", check))
    monkeypatch.setitem(LAUNCHERS, "local", Launcher("Fake", launch, ""))
    monkeypatch.setattr(watching, "POLL_S", 0.001)
    monkeypatch.setattr(Estimator, "pace", lambda self, config: Pace(0.1, 0.1, 0.1))
    for state in (executed, failing, interrupting):
        state.clear()


def methods(root):
    """The trained methods with their seeds, oldest first."""
    configs = [Run.open(root, id).config for id in executed]
    return [(config.method, config.seed) for config in configs if isinstance(config, TrainConfig)]


# Making and going on


def test_filling_a_table_goes_on_after_an_interruption_seed_by_seed_and_repeats_nothing(fakes, tmp_path, pmsi):
    words, table = ("tables", "3", *FLAGS, "--runs", tmp_path, "--seeds", 2), expand("3", TINY)
    interrupting.append(3)
    assert pmsi(*words)[:2] == (130, "")
    assert len(executed) == 3
    status, out, err = pmsi(*words)
    assert (status, "failed" in out) == (0, False)
    assert "3 finished, 9 to be made" in err
    assert methods(tmp_path) == [(line.key, seed) for seed in (0, 1) for line in table.lines]
    cell = fill(table, tmp_path, (0, 1)).cells["pm", "mix"]
    assert (cell.n, cell.mean) == (2, pytest.approx(0.605))
    assert pmsi("tables", "2", *FLAGS, "--runs", tmp_path)[0] == 0
    assert len(executed) == 12 + 4, "StageNum 3 of + P & M is there already"


def test_what_ended_early_is_resumed_in_its_own_folder(fakes, tmp_path, pmsi):
    for method, state in {"p": State.STOPPED, "pm": State.FAILED, "pr": State.INTERRUPTED}.items():
        run = Run.create(tmp_path, TINY.with_(method=method))
        lock = lifecycle.begin(run.folder)
        if state is not State.INTERRUPTED:
            lifecycle.settle(run.folder, state, {"hard": False, "kind": "E", "message": "x"}, lock)
        lock.release()
        assert run.state is state
    Run.create(tmp_path, TINY.with_(method="m"))
    before = {run.id for run in list_runs(tmp_path)}
    status, _, err = pmsi("tables", "3", *FLAGS, "--runs", tmp_path)
    assert status == 0
    assert "3 to be resumed, 3 to be made" in err
    assert before <= set(executed)
    assert len(list_runs(tmp_path)) == 6


def test_a_failed_run_shows_as_failed_and_is_tried_again_by_the_next_call(fakes, tmp_path, pmsi):
    failing.add("p")
    status, out, err = pmsi("tables", "3", *FLAGS, "--runs", tmp_path)
    assert status == 1
    (line,) = (line for line in out.splitlines() if line.startswith("+ P  "))
    assert line.split()[2:] == ["failed", "failed"]
    assert len(executed) == 6, "once each, and the others went on"
    assert "no luck" in err
    failing.clear()
    status, out, _ = pmsi("tables", "3", *FLAGS, "--runs", tmp_path)
    assert (status, len(executed), len(list_runs(tmp_path))) == (0, 7, 6)
    assert "failed" not in out


# Sweeps


def test_sweeps_follow_both_of_their_training_runs_and_show_both_the_same_pixels(fakes, tmp_path, pmsi):
    failing.add("pmr")
    assert pmsi("tables", "7", *FLAGS, "--runs", tmp_path)[0] == 1
    assert [Run.open(tmp_path, id).config.task for id in executed] == ["train"] * 2
    failing.clear()
    executed.clear()
    status, out, _ = pmsi("tables", "7", *FLAGS, "--runs", tmp_path, "--seeds", 2)
    assert status == 0
    configs = [Run.open(tmp_path, id).config for id in executed]
    assert [config.task for config in configs] == ["train"] * 3 + ["robustness"] * 6
    for config in configs[3:]:
        pair = [Run.open(tmp_path, id).config for id in config.of]
        assert [trained.method for trained in pair] == ["baseline", "pmr"]
        assert pair[0].seed == pair[1].seed
    shown = [(config.perturbations, config.severities) for config in configs[3:]]
    noises = [(("gaussian_noise",), (5.0,)), (("gaussian_noise_legacy",), (5.0,))]
    assert shown == [(("color_jitter",), (1.0,)), *noises] * 2
    assert out.count("25.0 ± 0.0") == 6


def test_a_sweep_that_somebody_made_is_not_made_again(fakes, tmp_path, pmsi):
    pmsi("tables", "6", *FLAGS, "--runs", tmp_path)
    made = {(run.config.backbone, run.config.method): run.id for run in list_runs(tmp_path)}
    ids = made["mobilenet_v2", "baseline"], made["mobilenet_v2", "pmr"]
    jobs.submit(Run.create(tmp_path, RobustnessConfig(of=ids, perturbations=("gaussian_noise",), severities=(5.0,))))
    needed = needed_runs(expand("7", TINY.with_(backbone="mobilenet_v2")), tmp_path, (0,))
    assert [each.state for each in needed.all] == [State.FINISHED, State.FINISHED, None, State.FINISHED, None]


# Before anything starts


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["3", "--method", "pm"], "--method"),
        (["2", "--stage-num", "4"], "--stage-num"),
        (["3", "--sets", "plumage"], "--sets"),
        (["6", "--sets", "plumage", "--dataset", "cub"], "--dataset"),
        (["6", "--sets", "cub=/nowhere"], "/nowhere"),
        (["5", "--batch-size", "7"], "multiple of 2"),
        (["7", "--epoch", "best"], "last"),
        (["9"], "choice"),
        (["6", "--sets", "cub="], "NAME=DIR"),
        (["3", "--preset", "quikc"], "quick"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_run(fakes, tmp_path, pmsi, words, named):
    number, *rest = words
    flags = [] if "--sets" in words else FLAGS
    status, out, err = pmsi("tables", number, *flags, *rest, "--runs", tmp_path / "runs")
    assert (status, out, executed) == (2, "", [])
    assert named in err
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_says_what_and_how_long_and_starts_nothing(fakes, tmp_path, pmsi):
    pmsi("tables", "4", *FLAGS, "--runs", tmp_path)
    executed.clear()
    status, out, err = pmsi("tables", "3", *FLAGS, "--seeds", 3, "--runs", tmp_path, "--dry-run", "--format", "latex")
    assert (status, err, executed) == (0, "", [])
    assert "2 finished, 16 to be made" in out
    assert "method = pm: 1 finished, 2 to be made\n" in out


def test_showing_starts_nothing_and_table_i_only_counts(fakes, tmp_path, pmsi):
    words = ["tables", "3", "--dataset", "cub", "--data", "/nowhere", "--runs", tmp_path / "runs", "--show"]
    status, out, err = pmsi(*words)
    assert (status, err, executed) == (0, "", [])
    assert out.count("not run") == 12
    assert json.loads(pmsi(*words, "--format", "json")[1])["table"] == "3"
    status, out, _ = pmsi("tables", "1", *FLAGS, "--runs", tmp_path / "runs")
    assert (status, out.splitlines()[-1].split()[-3:]) == (0, ["12", "24", "12"])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("devices", "asks", "expected"),
    [
        ("", [1, 1, 1], (15.0, 1)),  # the CPU works on one after another: 8 + 4 + 3
        ("0", [1, 1, 1], (15.0, 1)),
        ("0,1", [1, 1, 1], (8.0, 2)),  # 8 on one, 4 and 3 on the other
        ("0,1", [1, 2, 1], (15.0, 2)),  # the second waits for both
        ("0,1,2,3", [1, 1, 1], (8.0, 3)),
    ],
)
def test_devices_share_what_is_left(monkeypatch, devices, asks, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    left = [(TINY.with_(devices=count), seconds) for count, seconds in zip(asks, (8.0, 4.0, 3.0), strict=True)]
    assert shared_out(left) == expected
    assert shared_out([]) == (0.0, 0)


# For real


def work_here(run):
    """Work on a run at once, in this process."""
    execute(Run(run.folder))


def test_filling_a_real_table_goes_on_with_a_run_that_is_there(tmp_path, pmsi, tiny_run, monkeypatch):
    """Of a table of two trained systems and three sweeps, one system is trained already; a real worker makes the last.

    The others are made in this process, which need not import torch again.
    """
    base, queued = tiny_run.config, []
    Run(shutil.copytree(tiny_run.folder, tmp_path / tiny_run.id))
    words = ("tables", "7", *flags_of(base), "--runs", tmp_path)

    def launch(run):
        queued.append(run)
        if len(queued) == 4:
            raise KeyboardInterrupt
        work_here(run)

    with monkeypatch.context() as patch:
        patch.setitem(LAUNCHERS, "local", Launcher("Fake", launch, ""))
        assert pmsi(*words)[0] == 130
    jobs.stop(queued[-1])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    status, out, err = pmsi(*words)
    assert status == 0, err
    until(lambda: not is_held(tmp_path / ".runner-cpu.lock"))
    runs = list_runs(tmp_path)
    assert sorted(run.config.task for run in runs) == ["robustness"] * 3 + ["train"] * 2
    assert {run.state for run in runs} == {State.FINISHED}
    filled = fill(expand("7", base), tmp_path)
    sweep = next(run for run in runs if run.config.task == "robustness" and "color_jitter" in run.config.perturbations)
    assert sweep.config.of[1] == tiny_run.id
    for name, trained_run in zip(("baseline", "pmr"), sweep.config.of, strict=True):
        heads = sweep.result()["cells"][1]["runs"][trained_run]["heads"]
        primary = {"baseline": "classifier", "pmr": "mix"}[name]
        assert filled.cells["color_jitter", f"plumage/{name}"].mean == heads[primary]["accuracy"]
        own = Run.open(tmp_path, trained_run).result()["last"]["accuracy"][primary]
        assert filled.cells["clean", f"plumage/{name}"].mean == own
    assert "not run" not in out
