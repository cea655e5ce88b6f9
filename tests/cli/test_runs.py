"""Training, watching and looking after runs by the command line."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

from waiting import until

from pmsi.base.errors import ConfigError, DataError
from pmsi.config import EvaluateConfig
from pmsi.config.command import command
from pmsi.config.presets import PRESETS
from pmsi.runs import Run, State, jobs, list_runs
from pmsi.runs.disk import in_words

ROOT = Path(__file__).parents[2]


TINY = shlex.split(
    "--dataset plumage --backbone tiny --weights none --image-size 64 --train-per-class 2 --test-per-class 1 "
    "--batch-size 6 --channels 16 --hidden 8 --method baseline"
)


@contextlib.contextmanager
def spawned(*words, cwd):
    """Start a command line as a process of its own; it does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pmsi", *map(str, words)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def epochs(run):
    """The epochs that a run has recorded."""
    return [record["epoch"] for record in run.metrics() if record["kind"] == "epoch"]


def test_training_prints_json_and_tells_its_epochs(trained, here, pmsi):
    status, out, err = pmsi("train", *TINY, "--epochs", 2, "--evaluate-every", 2)
    (run,) = list_runs(Path("runs"))
    answer = json.loads(out)
    assert (status, answer["run"], answer["state"]) == (0, run.id, "finished")
    assert answer["result"]["last"]["accuracy"].keys() == {"classifier"}
    lines = err.splitlines()
    assert lines[0] == run.id
    assert lines[1].startswith("epoch    2  classifier ")
    assert lines[2] == f"finished: {run.folder}"


def test_a_preset_is_a_start_that_flags_change_and_paths_become_absolute(pmsi, here, monkeypatch):
    """A run in a queue may be worked on from elsewhere."""
    monkeypatch.setattr("pmsi.runs.jobs.submit", lambda run, launcher: None)
    monkeypatch.setattr("pmsi.training.session.check_data", lambda configs, progress: None)
    words = ["--dataset", "folder", "--data", "folder", "--no-flip"]
    status, out, err = pmsi("train", "--preset", "quick", *words, "--queue")
    assert (status, err) == (0, "")
    changed = {"dataset": "folder", "data": str(here / "folder")}
    expected = PRESETS["quick"].config.with_(flip=False, **changed)
    assert Run.open(Path("runs"), out.strip()).config == expected


def test_a_run_that_failed_says_why_and_how_to_go_on_where_it_can(pmsi, here, monkeypatch):
    words = ["train", "--dataset", "cub", "--data", "folder", "--weights", "none"]
    status, out, err = pmsi(*words)
    assert (status, out) == (2, "")  # what can be known before is refused before
    assert "images.txt" in err
    monkeypatch.setattr("pmsi.training.session.check_data", lambda configs, progress: None)
    for error, resumable in ((DataError("no images.txt"), True), (ConfigError("no sense"), False)):
        monkeypatch.setattr("pmsi.training.session.train", Mock(side_effect=error))
        status, out, err = pmsi(*words)
        assert (status, json.loads(out)["state"]) == (1, "failed")
        assert str(error) in err
        assert ("runs resume" in err) == resumable
        assert "Traceback" not in err


def test_runs_are_listed_and_shown(trained, pmsi):
    where = ["--runs", trained.folder.parent]
    status, out, err = pmsi("runs", "list", *where)
    assert (status, err) == (0, "")
    assert out.startswith(f"finished     {trained.id}  S3 ")
    (listed,) = json.loads(pmsi("runs", "list", "--json", *where)[1])
    shown = json.loads(pmsi("runs", "show", "--json", trained.id[:9], *where)[1])
    assert listed == shown
    assert shown["config"] == trained.config.to_dict()
    assert shown["status"]["state"] == "finished"
    assert shown["result"] == trained.result()
    out = pmsi("runs", "show", trained.id, *where)[1]
    assert command(trained.config, trained.folder.parent) in out
    assert "  image_size = 64\n" in out
    size = sum(path.stat().st_size for path in trained.folder.rglob("*") if path.is_file())
    assert shown["bytes"] == size
    assert f"  {in_words(size)}" in out.splitlines()[0]


def test_runs_that_come_with_the_program_are_listed_last_and_said_to(trained, tmp_path, pmsi, shipped):
    shutil.copytree(trained.folder, tmp_path / "shipped" / "20990101-000000-example")
    shipped(tmp_path / "shipped")
    where = ["--runs", trained.folder.parent]
    own, example = pmsi("runs", "list", *where)[1].splitlines()
    assert trained.id in own
    assert "comes with the program" not in own
    assert example.startswith("finished     20990101-000000-example")
    assert example.endswith("comes with the program")
    assert [run["shipped"] for run in json.loads(pmsi("runs", "list", "--json", *where)[1])] == [False, True]
    lines = pmsi("runs", "list", "--runs", tmp_path / "nowhere")[1].splitlines()
    assert [line.split()[0] for line in lines] == ["No", "finished"]
    assert pmsi("runs", "list", "--state", "failed", *where)[1].startswith("None of the 1 runs")


def test_a_training_stops_on_ctrl_c_and_on_request_and_goes_on(here, pmsi):
    words = ["train", *TINY, "--epochs", "100000", "--runs", "my runs"]
    with spawned(*words, cwd=here) as process:
        id = process.stderr.readline().strip()
        assert process.stderr.readline().startswith("epoch    1 ")
        process.send_signal(signal.SIGINT)
        assert process.wait() == 1
        said = process.stderr.read()
        assert json.loads(process.stdout.read())["state"] == "stopped"
    assert f"runs resume {id} --runs 'my runs'" in said
    assert "Traceback" not in said
    run = Run.open(Path("my runs"), id)
    done = epochs(run)

    def stop_later():
        until(lambda: len(epochs(run)) > len(done))
        jobs.stop(run)

    stopper = threading.Thread(target=stop_later)
    stopper.start()
    assert pmsi("runs", "resume", id, "--runs", "my runs")[0] == 1
    stopper.join()
    assert run.state is State.STOPPED
    assert epochs(run) == list(range(1, len(epochs(run)) + 1))
    assert pmsi("predict", id, "a bird.png", "--runs", "my runs")[0] == 0


def test_an_execution_is_what_a_launcher_calls(here, pmsi):
    run = Run.create(Path("runs"), EvaluateConfig(of="gone"))
    assert pmsi("execute", run.folder) == (1, "", "")
    assert run.state is State.FAILED
    assert pmsi("runner", "--runs", "runs") == (0, "", "")


def test_a_sweep_prints_a_line_for_each_cell(trained, tmp_path, pmsi):
    shutil.copytree(trained.folder, tmp_path / "one")
    words = ["--perturbations", "gaussian_noise", "--severities", 2, 4]
    status, out, err = pmsi("robustness", "on", "one", *words, "--runs", tmp_path)
    result = json.loads(out)["result"]
    assert (status, result["of"]) == (0, ["one"])
    accuracy = f"one {100 * trained.result()['last']['accuracy']['mix']:.1f} %"
    cells = err.splitlines()[1:-1]
    assert [line.split("  ")[0].strip() for line in cells] == ["clean", "gaussian_noise 2", "gaussian_noise 4"]
    assert cells[0].endswith(accuracy)


def test_a_reader_that_leaves_early_is_no_error(trained):
    with spawned("runs", "list", "--json", cwd=trained.folder.parent.parent) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0
