"""A run folder: making, finding, watching; what a task writes into it."""

import json
import multiprocessing
import os
import time

import pytest

from pmsi.base.errors import RunError
from pmsi.base.locks import Lock
from pmsi.cli.console import one_line
from pmsi.config import EvaluateConfig, RobustnessConfig, TrainConfig
from pmsi.runs import Run, State, lifecycle, list_runs, status

# These forks use no thread of the parent, whatever other tests have started there.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path, TrainConfig())


# Making and finding


def test_ids_say_what_the_run_is(tmp_path):
    def words(config, **more):
        return Run.create(tmp_path, config, **more).id.split("-", 2)[2].rsplit("-", 1)[0]

    assert words(TrainConfig(method="pm", dataset="cub")) == "train-pm-cub"
    assert words(EvaluateConfig()) == "evaluate-test"
    assert words(RobustnessConfig(perturbations=("a_b", "c"))) == "robustness-a-b-c"
    assert words(TrainConfig(), name="Größe / ../x") == "train-gr-e-x"
    assert len(words(TrainConfig(), name="x" * 500)) < 50


def _create_many(root):
    return [Run.create(root, TrainConfig()).id for _ in range(10)]


def test_ids_are_unique_across_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda n: os.urandom(1).hex() if n == 2 else os.urandom(n).hex())
    with multiprocessing.get_context("fork").Pool(4) as pool:
        ids = [id for some in pool.map(_create_many, [tmp_path] * 4) for id in some]
        pool.close()
        pool.join()
    assert len(set(ids)) == 40 == len(list_runs(tmp_path))


def test_open_by_id_and_by_unique_prefix(tmp_path, run):
    other = Run.create(tmp_path, EvaluateConfig(of=run.id))
    assert Run.open(tmp_path, run.id) == run
    assert Run.open(tmp_path, other.id[:-1]) == other
    assert other.sibling(other.config.of) == run
    for id, said in {"20": "2 runs", run.id.replace("train", "trian"): run.id}.items():
        with pytest.raises(RunError, match=said):
            Run.open(tmp_path, id)


@pytest.mark.parametrize("id", ["", "..", "../x", "nothing", "a\0b"])
def test_open_refuses_what_is_no_run(tmp_path, id):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "runs" / "nothing").mkdir(parents=True)
    with pytest.raises(RunError, match="pmsi runs list"):
        Run.open(tmp_path / "runs", id)


def test_list_is_newest_first_and_ignores_other_things(tmp_path):
    assert list_runs(tmp_path / "missing") == []
    made = [Run.create(tmp_path, TrainConfig()) for _ in range(3)]
    for age, run in enumerate(reversed(made)):
        os.utime(run.folder / "config.json", (1e9 - age, 1e9 - age))
    (tmp_path / "20300101-000000-train-x-0000").mkdir()
    (tmp_path / "file").touch()
    assert list_runs(tmp_path) == list(reversed(made))


# Metrics


def test_metrics_are_strict_json_lines(run):
    assert run.metrics() == []
    run.log({"epoch": 1, "loss": float("nan")})
    run.log({"epoch": 2, "loss": 0.5, "per_head": [float("inf"), 1]})
    assert "NaN" not in (run.folder / "metrics.jsonl").read_text()
    assert run.metrics() == [{"epoch": 1, "loss": None}, {"epoch": 2, "loss": 0.5, "per_head": [None, 1]}]


def test_every_torn_last_line_is_tolerated_and_later_records_are_kept(run):
    run.log({"epoch": 1})
    run.log({"epoch": 2, "text": "ü"})
    path = run.folder / "metrics.jsonl"
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert run.metrics() == [{"epoch": 1}]
        run.log({"epoch": 3})
        assert run.metrics() == [{"epoch": 1}, {"epoch": 3}]


def test_truncating_metrics(run):
    for epoch in range(4):
        run.log({"epoch": epoch})
    run.truncate_metrics(lambda record: record["epoch"] < 2)
    run.log({"epoch": 2})
    assert [record["epoch"] for record in run.metrics()] == [0, 1, 2]
    assert (run.folder / "config.json").read_text() == TrainConfig().to_json()


# Progress, log, checkpoints


def test_progress_is_throttled_but_the_first_and_last_are_written(run, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(status.time, "time", lambda: now[0])
    seen = []
    for done in range(1, 101):
        now[0] += 0.02
        run.progress(done, 100, "epoch 1")
        seen.append(run.status().done)
    assert seen[0] == 1
    assert seen[-1] == 100
    assert len(set(seen)) == 5  # 2 s, one each half second
    run.progress(3, 100, "epoch 2")
    run.flush_progress()
    assert (run.status().done, run.status().text) == (3, "epoch 2")
    assert run.status().updated_at == now[0]


def test_seconds_left(run, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    lock = lifecycle.begin(run.folder)
    assert run.status().seconds_left is None
    run.progress(10, 100, "")
    assert run.status().seconds_left is None, "one call gives no speed"
    now[0] += 20
    run.progress(20, 100, "")
    assert run.status().seconds_left == 160
    now[0] += 5
    assert run.status().seconds_left == 155
    lock.release()
    assert run.status().seconds_left is None


def test_log_tail(run):
    assert run.log_tail() == ""
    run.append_log("\n".join(f"line {n}" for n in range(20_000)))
    run.append_log("ü")
    assert run.log_tail(2) == "line 19999\nü"
    assert len(run.log_tail().splitlines()) == 40
    assert run.log_tail(0) == ""


# States, as files make them


@pytest.mark.parametrize("ending", ["result.json", "stopped.json", "error.json"])
def test_a_copied_run_keeps_its_ending(run, ending):
    """Only config.json and the ending are needed, as in a checkout of finished demo runs."""
    (run.folder / ending).write_text(json.dumps({"at": 5.0, "result": {"a": 1}, "message": "m", "kind": "k"}))
    expected = {"result.json": State.FINISHED, "stopped.json": State.STOPPED, "error.json": State.FAILED}[ending]
    assert run.state is expected
    assert run.status().ended_at == 5.0
    assert run.result() == ({"a": 1} if ending == "result.json" else None)


def test_reading_changes_no_file(tmp_path, run):
    run.log({"a": 1})
    run.append_log("x")
    lifecycle.begin(run.folder).release()
    lifecycle.enqueue(run.folder, [State.INTERRUPTED], "local")

    def snapshot():
        paths = [tmp_path, *tmp_path.rglob("*")]
        return {path: (path.stat().st_mtime_ns, path.stat().st_ctime_ns, path.stat().st_size) for path in paths}

    before = snapshot()
    for seen in [*list_runs(tmp_path), Run.open(tmp_path, run.id)]:
        seen.state, seen.status(), seen.metrics(), seen.log_tail(), seen.result(), seen.config
    assert snapshot() == before


# Stuck, or slow


NOW = 1_000_000.0


def silent(run, *, ago, beat=None, started=NOW - 5000, **signs):
    """Return what `silence` says where the last beat was so long ago, and other files changed at ``signs``."""
    (run.folder / "started").write_text("{}")
    for name, at in {"config.json": 0.0, "started": started, **signs}.items():
        path = run.folder / name
        path.touch()
        os.utime(path, (at, at))
    return status.silence(run.folder, {"at": NOW - ago} | (beat or {}), started, NOW)


def beating(pause, done=5, total=100):
    return {"done": done, "total": total, "pause": pause}


@pytest.mark.parametrize(
    ("beat", "limit"),
    [
        *((beating(pause), limit) for pause, limit in ((0.1, 60), (20.0, 100), (5000.0, 3600))),
        *((beat, 15 * 60) for beat in ({}, beating(None), beating(0.01, done=100))),  # where none can be foreseen
    ],
)
def test_how_long_a_worker_may_be_silent_goes_by_its_own_beats(run, beat, limit):
    assert silent(run, ago=limit - 1, beat=beat) is None
    assert silent(run, ago=limit + 1, beat=beat) == limit + 1


@pytest.mark.parametrize("name", ["log.txt", "metrics.jsonl", "progress.json", "checkpoints"])
def test_any_file_that_the_worker_changes_is_a_sign_of_life(run, name):
    if name == "checkpoints":
        _ = run.checkpoints
    assert silent(run, ago=500, beat=beating(1.0), **{name: NOW - 30}) is None
    assert silent(run, ago=500, beat=beating(1.0), **{name: NOW - 90}) == 90


def test_only_a_worker_that_is_alive_can_be_stuck(run):
    (run.folder / "started").write_text(json.dumps({"at": time.time() - 5000}))
    beat = beating(1.0) | {"at": time.time() - 500, "text": "", "rate": 1.0}
    (run.folder / "progress.json").write_text(json.dumps(beat))
    for name in ("started", "progress.json"):
        os.utime(run.folder / name, (time.time() - 500,) * 2)
    assert run.state is State.INTERRUPTED
    assert run.status().silent_s is None
    lock = Lock(run.folder / "lock")
    assert lock.take()
    try:
        assert run.status().silent_s > 499
        assert "stuck" in one_line(run)
        (run.folder / "stop").write_text("{}")
        assert run.status().silent_s > 499
    finally:
        lock.release()
