"""Several processes train as one: the same gradients, the same stop, and the same bits after a kill."""

import contextlib
import json
import os
import shlex
import subprocess
import threading
from pathlib import Path

import pytest
import torch
from fake_pmsi import command as fake_command
from learning import Training, assert_equal_bits
from small import SMALL
from torch import nn
from waiting import forked, free_port, until

from pmsi.base import files
from pmsi.base.errors import ConfigError
from pmsi.base.files import remove_leftovers
from pmsi.cli.main import main
from pmsi.config import TrainConfig
from pmsi.config.command import command
from pmsi.data import open_dataset
from pmsi.methods import build, resolve
from pmsi.model import Objective
from pmsi.model.batch import Phase, Target
from pmsi.runs import Run, SecondaryRun, State, Stopped, jobs, list_runs, ranks
from pmsi.runs.launchers import local
from pmsi.runs.theatre import FILE as THEATRE
from pmsi.tasks import execute
from pmsi.training.distributed import Team, team

# These forks use no thread of the parent, whatever other tests have started there.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

ROOT = Path(__file__).parents[2]


def two_ranks(work, *words):
    """Start two processes that call ``work`` with these words as ranks of one launch."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}

    def rank(number):
        os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), **shared}
        work(*words)

    return [forked(rank, number) for number in range(2)]


def ended(processes):
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


@pytest.fixture(scope="module")
def config(tiny_config):
    """Two batches an epoch, of which each of two processes gets a half."""
    return tiny_config.with_(
        devices=2, device="cpu", threads=1, image_size=32, epochs=1, train_per_class=1, augmentation="snapmix"
    )  # SnapMix looks at its images past what joins the two


def without_batch_norm(module):
    for name, child in module.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            setattr(module, name, nn.Identity())
        without_batch_norm(child)
    return module


def gradients(members, frozen):
    """Return the gradients of one phase, by parameter; None where the phase does not use it."""
    model = without_batch_norm(build(SMALL.with_(dropout=0.0), 3)).double()
    objective = members.wrap(Objective(model), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 32, 32, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (8,), generator=generator)
    for step in range(2):  # frozen, and thawed: what was frozen after wrapping is averaged again
        model.backbone.requires_grad_(not (frozen and step == 0))
        model.zero_grad(set_to_none=True)
        share = members.share(8)
        objective(images[share], Target.plain(labels[share]), Phase("S4", 2), None).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


class Impatient(Run):
    """A run that is asked to stop before its second phase: at the second look for such a request."""

    looks = 0

    @property
    def stop_requested(self):
        self.looks += 1
        return self.looks == 2


def train(folder, members, stops=0):
    """Train the run in ``folder`` to its end, after it was stopped so many times."""
    for number in range(stops + 1):
        kind = SecondaryRun if not members.leads else Impatient if number < stops else Run
        run = kind(folder)
        with contextlib.suppress(Stopped):
            Training(run.config, open_dataset(run.config), run, members).fit()
            assert number == stops, "a run that was to be stopped came to its end"
        members.gather("the checkpoint is written")


def compute(folder):
    """What each of two ranks does: gradients into ``folder``, and its runs, one with a stop after each phase."""
    with team(torch.device("cpu")) as members:
        for frozen in (True, False):
            torch.save(gradients(members, frozen), folder / f"{members.rank}-{frozen}.pt")
        train(folder / "whole", members)
        train(folder / "stopped", members, stops=7)  # two batches of four phases, and a last phase to end with


@pytest.fixture(scope="module")
def made(tmp_path_factory, config):
    """A folder with what two processes have computed."""
    folder = tmp_path_factory.mktemp("ranks")
    for name in ("whole", "stopped"):
        Run.create(folder, config).folder.rename(folder / name)
    assert ended(two_ranks(compute, folder)) == [0, 0]
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
    assert (made / "stopped" / THEATRE).read_bytes() == (made / "whole" / THEATRE).read_bytes()


def test_a_run_of_two_processes_that_is_stopped_and_killed_resumes_to_the_same_bits(
    tmp_path, config, made, monkeypatch, capfd
):
    def stop_at_a_checkpoint():
        until(lambda: list(tmp_path.glob("*/checkpoints/last.safetensors")))
        list_runs(tmp_path)[0].request_stop()

    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # torchrun and the two ranks are processes of their own
    stopper = threading.Thread(target=stop_at_a_checkpoint)
    stopper.start()
    main(shlex.split(command(config.with_(checkpoint_every_s=0.0), tmp_path))[3:])
    stopper.join()
    (run,), (said, errors) = list_runs(tmp_path), capfd.readouterr()
    assert (json.loads(said)["state"], run.state) == ("stopped", State.STOPPED)
    assert "Traceback" not in errors
    written = run.checkpoints / "last.safetensors"
    before, processes = written.stat().st_mtime_ns, two_ranks(execute, run)
    until(lambda: written.stat().st_mtime_ns != before)
    for process in processes:
        process.kill()
    assert ended(processes) == [-9, -9]
    assert run.state is State.INTERRUPTED
    assert ended(two_ranks(execute, run)) == [0, 0]
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
    """Let two ranks work on a run of fake_pmsi.py to their ends."""
    ended(two_ranks(subprocess.run, fake_command("execute", run.folder)))


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
