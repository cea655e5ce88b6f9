"""Several processes train as one: the same gradients, the same stop, and the same bits after a kill."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_pmsi import command as fake_command
from learning import assert_equal_bits
from two_ranks import gradients
from waiting import until

from pmsi.base import files
from pmsi.base.errors import ConfigError
from pmsi.base.files import remove_leftovers
from pmsi.config import TrainConfig
from pmsi.config.command import command
from pmsi.methods import resolve
from pmsi.runs import Run, State, jobs, list_runs, ranks
from pmsi.runs.launchers import local
from pmsi.training.distributed import Team

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


def environment(**more):
    return os.environ | {"PYTHONPATH": f"{ROOT}:{HERE}", "OMP_NUM_THREADS": "1"} | more


def start(*words, **more):
    """Start a command line in a session of its own, so that all of its processes can be killed."""
    words = [sys.executable, "-m", "pmsi", *map(str, words)]
    return subprocess.Popen(words, env=environment(), start_new_session=True, text=True, **more)


@pytest.fixture(scope="module")
def config(tiny_config):
    """Two batches an epoch, of which each of two processes gets a half."""
    return tiny_config.with_(
        devices=2, device="cpu", threads=1, image_size=32, epochs=1, train_per_class=1, augmentation="snapmix"
    )  # SnapMix looks at its images past what joins the two


@pytest.fixture(scope="module")
def made(tmp_path_factory, config):
    """A folder in which two processes have done what two_ranks.py says; its runs are called whole and stopped."""
    folder = tmp_path_factory.mktemp("ranks")
    for name in ("whole", "stopped"):
        Run.create(folder, config).folder.rename(folder / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    words = [sys.executable, str(HERE / "two_ranks.py"), str(folder), str(folder / "whole"), str(folder / "stopped")]
    processes = [
        subprocess.Popen(words, env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **shared)) for rank in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    return folder


@pytest.mark.parametrize("frozen", [True, False])
def test_two_processes_have_the_gradients_of_one(made, frozen):
    """Without BatchNorm, in float64: the mean over two halves is the mean over the whole."""
    whole = gradients(Team(), frozen)
    for rank in range(2):
        ours = torch.load(made / f"{rank}-{frozen}.pt")
        assert {name for name, grad in ours.items() if grad is None} == {n for n, g in whole.items() if g is None}
        for name, grad in whole.items():
            if grad is not None:
                torch.testing.assert_close(ours[name], grad, rtol=1e-10, atol=1e-12)


def test_two_processes_stopped_after_every_phase_come_to_the_same_bits(made):
    assert_equal_bits(Run(made / "stopped"), Run(made / "whole"))


def test_a_run_of_two_processes_that_is_stopped_and_killed_resumes_to_the_same_bits(tmp_path, config, made):
    flags = shlex.split(command(config.with_(checkpoint_every_s=0.0), tmp_path))[3:]
    with start(*flags, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until(lambda: process.poll() is not None or list_runs(tmp_path))
        (run,) = list_runs(tmp_path)
        until(lambda: process.poll() is not None or (run.checkpoints / "last.safetensors").exists())
        run.request_stop()
        said, errors = process.communicate()
    assert (json.loads(said)["state"], run.state) == ("stopped", State.STOPPED)
    assert "Traceback" not in errors
    written = (run.checkpoints / "last.safetensors").stat().st_mtime_ns
    with start("execute", run.folder) as process:
        until(lambda: (run.checkpoints / "last.safetensors").stat().st_mtime_ns != written)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
    until(lambda: run.state is State.INTERRUPTED)
    with start("execute", run.folder) as process:
        assert process.wait() == 0
    assert_equal_bits(run, Run(made / "whole"))


def test_a_batch_is_shared_equally_or_not_at_all(tiny_config):
    images = list(range(6))
    assert [images[Team(rank, 3).share(6)] for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ConfigError, match=r"6 .* 4"):
        Team(0, 4).share(6)
    with pytest.raises(ConfigError, match=r"6 .* 4 devices"):
        resolve(tiny_config.with_(devices=4))
    with pytest.raises(ConfigError, match="multiple of 2"):
        resolve(tiny_config.with_(method="pc", devices=2))


def test_a_process_alone_and_one_started_by_torchrun_start_no_others(tiny_config, monkeypatch):
    assert ranks.wanted(tiny_config) == 1
    assert ranks.wanted(tiny_config.with_(devices=2)) == 2
    monkeypatch.setenv("RANK", "1")
    assert ranks.wanted(tiny_config.with_(devices=2)) == 1


# What is told of a rank that fails


def fake_ranks(run):
    """Let two ranks work on a run of fake_pmsi.py; return how they exited."""
    launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "7"}
    processes = [
        subprocess.Popen(fake_command("execute", run.folder), env=environment(RANK=str(rank), **launch))
        for rank in range(2)
    ]
    return [process.wait() for process in processes]


def test_a_run_fails_of_what_the_rank_failed_of_that_failed_first(tmp_path):
    run = Run.create(tmp_path, TrainConfig(epochs=1, data="one fails"))
    (run.folder / "error-rank-3.json").write_text('{"kind": "OfAnEarlierAttempt", "launch": "other"}')
    fake_ranks(run)
    error = run.status().error
    assert (error.kind, error.message) == ("OutOfMemory", "Process 2 of 2: too much")
    assert "batch_size" in error.remedy


def test_what_a_rank_has_told_counts_where_rank_0_is_killed_and_is_not_tried_again(tmp_path, monkeypatch):
    run = Run.create(tmp_path, TrainConfig(epochs=1, data="one fails, all are killed"))
    started = []

    def start(run, cwd, places):
        started.append(fake_ranks(run))
        return subprocess.Popen(["sh", "-c", "exit 1"], process_group=0)

    monkeypatch.setattr(local, "_start_worker", start)
    monkeypatch.setattr(local, "_spawn_runner", lambda root, device: None)
    jobs.submit(run)
    local.serve(tmp_path)
    assert len(started) == 1
    assert run.state is State.FAILED
    assert run.status().error.message == "Process 2 of 2: too much"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"), True),
        (RuntimeError("NCCL error in: ProcessGroupNCCL.cpp: remote process exited"), True),
        (RuntimeError("CUDA out of memory"), False),
        (MemoryError("by peer"), False),
    ],
)
def test_an_error_that_only_says_that_another_rank_is_gone_is_known(monkeypatch, error, expected):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ranks.is_peer_failure(error) is expected
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not ranks.is_peer_failure(error)


def test_what_a_rank_tells_survives_that_rank_0_clears_the_folder_meanwhile(tmp_path, monkeypatch):
    replace, cleared = Path.replace, []

    def clearing(path, target):
        if not cleared:  # as `begin` does, between the writing and the renaming
            cleared.append(path)
            remove_leftovers(tmp_path)
        return replace(path, target)

    monkeypatch.setattr(files.Path, "replace", clearing)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    ranks.write_error(tmp_path, {"kind": "TrainingError", "message": "It failed.", "remedy": "Try again."})
    assert cleared
    assert ranks.read_error(tmp_path)["message"] == "Process 2 of 2: It failed."
    assert [path.name for path in tmp_path.iterdir()] == ["error-rank-1.json"]
