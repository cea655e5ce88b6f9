"""The Slurm launcher with a real Slurm of one node: runs that wait, work, stop, are resumed and are requeued."""

import subprocess

import pytest
from safetensors.torch import load_file
from slurm_node import missing, slurm_node
from waiting import until

from pmsi.base.files import read_json
from pmsi.runs import Run, State
from pmsi.runs.jobs import fail_if_lost, launcher_status, resume, stop, submit
from pmsi.runs.launchers import slurm, slurm_client

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(missing()), reason=f"Slurm is not installed here: no {', '.join(missing())}"),
]


@pytest.fixture(scope="module", autouse=True)
def node(tmp_path_factory):
    with slurm_node(tmp_path_factory.mktemp("slurm")) as config, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(config))
        patch.setattr(slurm_client, "FRESH_S", 0.2)
        yield


@pytest.fixture
def root(tmp_path, cache_folder):
    """Return a runs folder whose name needs quoting, in a script as in Slurm's patterns."""
    return tmp_path / "runs, 100 %j it's"


@pytest.fixture
def make(root, tiny_config):
    """Return a function that makes a run of a hundred steps or so, which takes some seconds."""
    return lambda **changes: Run.create(root, tiny_config.with_(epochs=20, evaluate_every=100, **changes))


def wait_until(run, state):
    until(lambda: run.state is state, lambda: f"{run.state}, not {state}: {launcher_status(run)}\n{run.log_tail()}")


def wait_until_it_works(run):
    """Wait until the run is further than it was."""
    before = len(run.metrics())
    until(lambda: len(run.metrics()) > before or run.state is State.FINISHED)
    assert run.state is State.RUNNING, run.log_tail()


def number(run):
    return read_json(run.folder / slurm.RECORD)["job"]


def job(run):
    return slurm_client.jobs(fresh=True)[number(run)]


def order(*words):
    subprocess.run(words, check=True)


def start_again(run):
    """Let the requeued job start soon; Slurm would wait for two minutes, and within a second it would refuse."""
    wait_until(run, State.QUEUED)
    until(lambda: job(run).waits)
    assert "requeued, pending" in launcher_status(run).text
    order("scontrol", "update", f"JobId={number(run)}", "StartTime=now+3seconds")


def weights(run):
    """Return every tensor of the checkpoint as bytes: the weights, BatchNorm's statistics and the momenta."""
    return {name: value.numpy().tobytes() for name, value in load_file(run.checkpoints / "last.safetensors").items()}


def losses(run):
    return [record for record in run.metrics() if record["kind"] == "loss"]


def test_a_run_is_queued_works_stops_and_is_resumed(make, monkeypatch):
    monkeypatch.setenv(slurm.OPTIONS, "--hold")
    run = make()
    submit(run, "slurm")
    assert run.state is State.QUEUED
    until(lambda: launcher_status(run).text == f"Slurm job {number(run)}: pending (JobHeldUser)")
    order("scontrol", "release", number(run))
    wait_until_it_works(run)
    assert launcher_status(run).text.startswith(f"Slurm job {number(run)}: running on ")
    stop(run)
    wait_until(run, State.STOPPED)
    assert (run.checkpoints / "last.safetensors").exists()
    done = losses(run)
    until(lambda: job(run).state == "COMPLETED")
    assert launcher_status(run) is None

    monkeypatch.delenv(slurm.OPTIONS)
    first = number(run)
    resume(run, "slurm")
    assert number(run) != first
    wait_until(run, State.FINISHED)
    assert losses(run)[: len(done)] == done
    assert [record["step"] for record in losses(run)] == list(range(1, 81))


def test_a_requeued_run_goes_on_from_its_checkpoint_as_if_nothing_had_happened(make):
    """Once for want of time, of which Slurm warns the batch script alone; once to make room, which ends all at once."""
    run, undisturbed = make(), make()
    for each in (run, undisturbed):
        submit(each, "slurm")
    wait_until_it_works(run)
    order("scancel", "--batch", "--signal=TERM", number(run))
    start_again(run)
    wait_until_it_works(run)
    order("scontrol", "requeue", number(run))
    start_again(run)
    wait_until(run, State.FINISHED)
    assert job(run).restarts == 2
    wait_until(undisturbed, State.FINISHED)
    assert losses(run) == losses(undisturbed)
    assert weights(run) == weights(undisturbed)


def test_a_run_on_several_devices_is_requeued_with_a_checkpoint(make):
    """Slurm's SIGTERM reaches torchrun and each rank; none of them may end for it."""
    run = make(devices=2)
    submit(run, "slurm")
    wait_until_it_works(run)
    order("scontrol", "requeue", number(run))
    wait_until(run, State.QUEUED)
    assert (run.checkpoints / "last.safetensors").exists()
    stop(run)
    assert run.state is State.STOPPED


def test_a_job_cancelled_behind_our_back(make, monkeypatch):
    """One that waits is lost, and can be resumed; one that works stops with a checkpoint."""
    monkeypatch.setenv(slurm.OPTIONS, "--hold")
    run = make()
    submit(run, "slurm")
    order("scancel", number(run))
    until(lambda: launcher_status(run).is_lost)
    assert run.state is State.QUEUED, "looking changes nothing"
    assert "cancelled" in fail_if_lost(run).text
    assert run.state is State.FAILED
    assert "cancelled" in run.status().error.message
    monkeypatch.delenv(slurm.OPTIONS)
    resume(run, "slurm")
    wait_until_it_works(run)
    order("scancel", number(run))
    wait_until(run, State.STOPPED)
    assert (run.checkpoints / "last.safetensors").exists()
    assert job(run).restarts == 0
