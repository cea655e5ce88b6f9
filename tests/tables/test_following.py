"""A campaign makes, resumes and follows exactly what a table lacks: with fake tasks, and once with real ones."""

import io
import json
import shlex
import shutil

import pytest
from waiting import until

from pmsi import tasks
from pmsi.cli import tables as watching
from pmsi.cli.tables import follow, shared_out
from pmsi.config import RobustnessConfig, TrainConfig
from pmsi.config.command import command
from pmsi.runs import Run, State, jobs, lifecycle, list_runs
from pmsi.runs.launchers import LAUNCHERS
from pmsi.runs.launchers.row import Launcher
from pmsi.tables import expand, fill
from pmsi.tables.estimate import Estimator, Pace
from pmsi.tables.needed import needed_runs
from pmsi.tasks import Task, execute

TINY = TrainConfig(
    dataset="plumage", backbone="tiny", weights="none", image_size=64, train_per_class=2, test_per_class=1, epochs=1,
    batch_size=6, channels=16, hidden=8, trackers=(),
)  # fmt: skip
FLAGS = [
    "--dataset", "plumage", "--backbone", "tiny", "--weights", "none", "--image-size", "64", "--train-per-class", "2",
    "--test-per-class", "1", "--epochs", "1", "--batch-size", "6", "--channels", "16", "--hidden", "8", "--trackers",
]  # fmt: skip

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
        monkeypatch.setitem(tasks.TASKS, name, Task("Fake", f"{__name__}:{function}", "", check))
    monkeypatch.setitem(LAUNCHERS, "local", Launcher("Fake", launch, ""))
    monkeypatch.setattr(watching, "POLL_S", 0.001)
    monkeypatch.setattr(Estimator, "pace", lambda self, config: Pace(0.1, 0.1, 0.1))
    for state in (executed, failing, interrupting):
        state.clear()


def methods(root):
    """The trained methods with their seeds, oldest first."""
    configs = [Run.open(root, id).config for id in executed]
    return [(config.method, config.seed) for config in configs if isinstance(config, TrainConfig)]


def states(needed):
    return [needed.state for needed in needed.all]


# Making and going on


def test_a_campaign_fills_its_table_seed_by_seed(fakes, tmp_path):
    table = expand("3", TINY)
    needed = follow(table, tmp_path, (0, 1), "local", io.StringIO())
    assert needed.is_complete
    lines = [line.key for line in table.lines]
    assert methods(tmp_path) == [(method, seed) for seed in (0, 1) for method in lines]
    cell = fill(table, tmp_path, (0, 1)).cells["pm", "mix"]
    assert (cell.n, cell.mean) == (2, pytest.approx(0.605))


def test_a_second_table_shares_the_runs_of_the_first(fakes, tmp_path, pmsi):
    assert pmsi("tables", "3", *FLAGS, "--runs", tmp_path)[0] == 0
    assert pmsi("tables", "2", *FLAGS, "--runs", tmp_path)[0] == 0
    assert len(executed) == 6 + 4, "StageNum 3 of + P & M is there already"
    assert pmsi("tables", "3", *FLAGS, "--runs", tmp_path, "--seeds", 2)[0] == 0
    assert len(executed) == 6 + 4 + 6


def test_after_an_interruption_it_goes_on_and_repeats_nothing(fakes, tmp_path, pmsi):
    after = 3
    interrupting.append(after)
    status, out, err = pmsi("tables", "3", *FLAGS, "--runs", tmp_path)
    assert (status, out, len(executed)) == (130, "", after)
    status, out, err = pmsi("tables", "3", *FLAGS, "--runs", tmp_path)
    assert status == 0
    assert f"{after} finished, {6 - after} to be made" in err
    assert len(executed) == len(set(executed)) == 6
    assert "failed" not in out


def test_what_ended_early_is_resumed_in_its_own_folder(fakes, tmp_path, pmsi):
    for state in (State.STOPPED, State.FAILED, State.INTERRUPTED):
        run = Run.create(tmp_path, TINY.with_(method={"stopped": "p", "failed": "pm", "interrupted": "pr"}[state]))
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


def test_sweeps_follow_their_training_runs_and_show_both_the_same_pixels(fakes, tmp_path, pmsi):
    status, out, _ = pmsi("tables", "7", *FLAGS, "--runs", tmp_path, "--seeds", 2)
    assert status == 0
    configs = [Run.open(tmp_path, id).config for id in executed]
    assert [config.task for config in configs] == ["train"] * 4 + ["robustness"] * 6
    for config in configs[4:]:
        pair = [Run.open(tmp_path, id).config for id in config.of]
        assert [trained.method for trained in pair] == ["baseline", "pmr"]
        assert pair[0].seed == pair[1].seed
    shown = [(config.perturbations, config.severities) for config in configs[4:]]
    noises = [(("gaussian_noise",), (5.0,)), (("gaussian_noise_legacy",), (5.0,))]
    assert shown == [(("color_jitter",), (1.0,)), *noises] * 2
    assert out.count("25.0 ± 0.0") == 6


def test_no_sweep_without_both_of_its_runs(fakes, tmp_path, pmsi):
    failing.add("pmr")
    assert pmsi("tables", "7", *FLAGS, "--runs", tmp_path)[0] == 1
    assert [Run.open(tmp_path, id).config.task for id in executed] == ["train"] * 2
    failing.clear()
    assert pmsi("tables", "7", *FLAGS, "--runs", tmp_path)[0] == 0
    assert len(executed) == 2 + 1 + 3


def test_a_sweep_that_somebody_made_is_not_made_again(fakes, tmp_path, pmsi):
    pmsi("tables", "6", *FLAGS, "--runs", tmp_path)
    ids = [id for method in ("baseline", "pmr") for id in executed if _is_mobile(tmp_path, id, method)]
    table = expand("7", TINY.with_(backbone="mobilenet_v2"))
    own = Run.create(tmp_path, RobustnessConfig(of=tuple(ids), perturbations=("gaussian_noise",), severities=(5.0,)))
    jobs.submit(own)
    needed = needed_runs(table, tmp_path, (0,))
    assert states(needed) == [State.FINISHED, State.FINISHED, None, State.FINISHED, None]


def _is_mobile(root, id, method):
    config = Run.open(root, id).config
    return (config.backbone, config.method) == ("mobilenet_v2", method)


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


def test_showing_starts_nothing_and_needs_no_data(fakes, tmp_path, pmsi):
    words = ["tables", "3", "--dataset", "cub", "--data", "/nowhere", "--runs", tmp_path / "runs", "--show"]
    status, out, err = pmsi(*words)
    assert (status, err, executed) == (0, "", [])
    assert out.count("not run") == 12
    assert not (tmp_path / "runs").exists()
    assert json.loads(pmsi(*words, "--format", "json")[1])["table"] == "3"


def test_table_i_opens_the_data_and_makes_no_run(fakes, tmp_path, pmsi):
    status, out, _ = pmsi("tables", "1", *FLAGS, "--runs", tmp_path / "runs")
    assert status == 0
    assert out.splitlines()[-1].split()[-3:] == ["12", "24", "12"]
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


@pytest.fixture
def queue(tmp_path):
    """A runs folder whose queue is stopped in the end, whatever happens."""
    root = tmp_path / "runs"
    yield root
    for run in list_runs(root):
        if run.state in (State.QUEUED, State.RUNNING):
            jobs.stop(run, grace_s=0)
    until(lambda: not any(run.state.is_live for run in list_runs(root)))


def test_a_real_campaign_goes_on_with_a_run_that_is_there(queue, pmsi, tiny_run):
    """Of a table of two trained systems and three sweeps, one system is trained already."""
    base = tiny_run.config
    Run(shutil.copytree(tiny_run.folder, queue / tiny_run.id))
    flags = shlex.split(command(base))[4:]
    method = flags.index("--method")
    del flags[method : method + 2]  # the table chooses
    status, out, err = pmsi("tables", "7", *flags, "--runs", queue)
    assert status == 0, err
    runs = list_runs(queue)
    assert sorted(run.config.task for run in runs) == ["robustness"] * 3 + ["train"] * 2
    assert {run.state for run in runs} == {State.FINISHED}
    filled = fill(expand("7", base), queue)
    sweep = next(run for run in runs if run.config.task == "robustness" and "color_jitter" in run.config.perturbations)
    assert sweep.config.of[1] == tiny_run.id
    for name, trained_run in zip(("baseline", "pmr"), sweep.config.of, strict=True):
        heads = sweep.result()["cells"][1]["runs"][trained_run]["heads"]
        primary = {"baseline": "classifier", "pmr": "mix"}[name]
        assert filled.cells["color_jitter", f"plumage/{name}"].mean == heads[primary]["accuracy"]
        own = Run.open(queue, trained_run).result()["last"]["accuracy"][primary]
        assert filled.cells["clean", f"plumage/{name}"].mean == own
    assert "not run" not in out
