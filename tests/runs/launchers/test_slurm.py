"""The Slurm launcher against commands that only note what they are told, and the inside of a job with real workers."""

import os
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from fake_pmsi import command
from waiting import until

from pmsi.base.assets import CHECKOUT
from pmsi.base.errors import ConfigError, RunError
from pmsi.base.files import read_json, to_json
from pmsi.config import TrainConfig
from pmsi.runs import Run, State, jobs, lifecycle
from pmsi.runs.launchers import slurm, slurm_client

FAKE = """#!/bin/sh
printf '%s\\t' "${0##*/}" "$@" >> "${0%/*}/calls"
echo >> "${0%/*}/calls"
[ -e "$0.out" ] && cat "$0.out"
[ -e "$0.err" ] && cat "$0.err" >&2 && exit 1
exit 0
"""


class FakeSlurm:
    """Slurm's commands in a folder of their own: what they answer is written here, what they were told read."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("sbatch", "squeue", "scancel", "scontrol"):
            (folder / name).write_text(FAKE)
            (folder / name).chmod(stat.S_IRWXU)
        self.says("sbatch", "12\n")

    def says(self, name, text):
        (self.folder / f"{name}.out").write_text(text)

    def complains(self, name, text):
        (self.folder / f"{name}.err").write_text(text)

    def knows(self, state, number="12", reason="None", nodes="", restarts=0):
        self.says("squeue", f"11|RUNNING|None|other|0|\n{number}|{state}|{reason}|{nodes}|{restarts}|\n")

    def told(self, name):
        """Return what the command was told, call by call."""
        calls = self.folder / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line.split("\t")[1:-1] for line in lines if line.startswith(f"{name}\t")]


@pytest.fixture(autouse=True)
def cluster(tmp_path, monkeypatch):
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.delenv(slurm.OPTIONS, raising=False)
    monkeypatch.setattr(slurm_client, "FRESH_S", 1e-9)
    return FakeSlurm(folder)


@pytest.fixture
def make(tmp_path):
    return lambda behaviour=None, **more: Run.create(tmp_path / "runs", TrainConfig(epochs=2, data=behaviour, **more))


@pytest.fixture
def run(make):
    return make()


@pytest.fixture
def submitted(run, cluster):
    jobs.submit(run, "slurm")
    cluster.knows("PENDING", reason="Priority")
    return run


def options_of(text):
    lines = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]
    return dict(shlex.split(line)[0].removeprefix("--").partition("=")[::2] for line in lines)


def words_of(text):
    return shlex.split(text.partition("\nexec ")[2].replace("\\\n", ""))


# Submitting


def test_a_submit_hands_a_script_to_sbatch_and_a_job_that_waits_gets_no_second_one(run, cluster):
    slurm.submit(run)
    assert cluster.told("sbatch") == [], "it is not queued, or no longer"
    cluster.says("sbatch", "12;cluster\n")
    jobs.submit(run, "slurm")
    assert run.state is State.QUEUED
    assert cluster.told("sbatch") == [["--parsable", str(run.folder / "job.sh")]]
    assert read_json(run.folder / "slurm.json")["job"] == "12"
    for state, calls in (("PENDING", 1), ("RUNNING", 2)):
        cluster.knows(state)
        jobs.submit(run, "slurm")
        assert len(cluster.told("sbatch")) == calls, "a job that runs may be the last one, on its way out"


def test_the_script_says_where_everything_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Run.create(tmp_path / "50 % of 'runs'", TrainConfig())
    text = slurm.script(run, str(tmp_path))
    options = options_of(text)
    assert options["job-name"] == f"pmsi-{run.id}"
    assert options["chdir"] == str(tmp_path)
    assert options["output"] == str(run.folder / "log.txt").replace("%", "%%"), "a lone % is a pattern to Slurm"
    assert options["open-mode"] == "append"
    assert options["signal"] == "B:TERM@60", "to the batch script alone, while there is time for a checkpoint"
    assert "requeue" in options
    worker = [sys.executable, "-m", "pmsi", "execute", str(run.folder)]
    assert words_of(text) == [sys.executable, "-m", "pmsi.runs.launchers.slurm_job", str(run.folder), *worker]
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_several_devices_are_torchruns_and_own_options_come_last_one_a_line(make, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv(slurm.OPTIONS, "-p gpu --gres=gpu:1  --comment 'for the\tpaper' --no-requeue")
    run = make(devices=4)
    text = slurm.script(run, None)
    words = words_of(text)[4:]
    assert words[:3] == [sys.executable, "-m", "pmsi.runs.ranks"]
    assert {"--standalone", "--nproc-per-node=4", "--max-restarts=0"} < set(words)
    assert words[-4:] == ["-m", "pmsi", "execute", str(run.folder)]
    assert words.index("--signals-to-handle=SIGINT") < len(words) - 4, "a flag of torchrun, not of the worker"
    lines = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
    assert lines[-4:] == ["-p gpu", "--gres=gpu:1", "--comment 'for the\tpaper'", "--no-requeue"]


@pytest.mark.parametrize("text", ["gpu", "--comment='x"])
def test_options_that_are_none_are_refused_by_name(run, cluster, monkeypatch, text):
    monkeypatch.setenv(slurm.OPTIONS, text)
    with pytest.raises(ConfigError, match=slurm.OPTIONS):
        jobs.submit(run, "slurm")
    assert run.state is State.FAILED
    assert cluster.told("sbatch") == []


def test_what_sbatch_says_is_passed_on_and_the_run_can_be_resumed(run, cluster, tmp_path, monkeypatch):
    cluster.complains("sbatch", "sbatch: error: invalid account\nsbatch: error: denied\n")
    with pytest.raises(RunError, match=r"invalid account.*denied"):
        jobs.submit(run, "slurm")
    error = run.status().error
    assert (run.state, error.kind) == (State.FAILED, "NoWorker")
    assert "invalid account" in error.message
    assert "resume" in error.remedy
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(RunError, match=r"sbatch.*slurm-client"):
            jobs.resume(run, "slurm")
        assert run.state is State.FAILED
    (cluster.folder / "sbatch.err").unlink()
    jobs.resume(run, "slurm")
    assert run.state is State.QUEUED


# Following


@pytest.mark.parametrize(
    ("about", "text", "is_lost"),
    [
        ({"state": "PENDING", "reason": "Resources"}, "pending (Resources)", False),
        ({"state": "PENDING", "reason": "BeginTime", "restarts": 2}, "requeued, pending (BeginTime)", False),
        ({"state": "RUNNING", "nodes": "n7"}, "12: running on n7", False),
        ({"state": "NODE_FAIL", "nodes": "n7"}, "node fail", True),
        ({"state": "PENDING", "number": "120"}, "", False),
    ],
)
def test_looking_at_a_queued_run_changes_nothing(submitted, cluster, about, text, is_lost):
    cluster.knows(**about)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in submitted.folder.iterdir())
    seen = jobs.launcher_status(submitted)
    assert text in seen.text
    assert seen.is_lost is is_lost
    assert jobs.unattended(submitted.folder.parent) == [submitted] * is_lost
    assert submitted.state is State.QUEUED
    assert sorted((path.name, path.stat().st_mtime_ns) for path in submitted.folder.iterdir()) == before


def test_a_job_that_slurm_has_forgotten_is_lost_after_a_while_but_not_another_users(submitted, cluster, monkeypatch):
    cluster.says("squeue", "")
    assert not jobs.launcher_status(submitted).is_lost, "the answer may be older than the job"
    monkeypatch.setattr(slurm, "SUBMITTING_S", 0)
    seen = jobs.launcher_status(submitted)
    assert seen.is_lost
    assert "12" in seen.text
    record = submitted.folder / "slurm.json"
    record.write_text(to_json(read_json(record) | {"uid": os.getuid() + 1, "at": 0}))
    seen = jobs.launcher_status(submitted)
    assert f"of user {os.getuid() + 1}" in seen.text
    assert not seen.is_lost


def test_the_job_of_an_earlier_attempt_does_not_make_a_run_lost(submitted, cluster):
    """Somebody resumes the run, and another process looks before sbatch has answered."""
    cluster.knows("COMPLETED")
    jobs.stop(submitted)
    lifecycle.enqueue(submitted.folder, (State.STOPPED,), "slurm")
    assert not jobs.launcher_status(submitted).is_lost


def test_runs_of_other_launchers_and_ended_ones_are_not_asked_about(run, make, cluster):
    lifecycle.enqueue(run.folder, (State.CREATED,), "local")
    ended = make()
    jobs.submit(ended, "slurm")
    lifecycle.settle(ended.folder, State.FINISHED, {"result": {}}, lifecycle.begin(ended.folder))
    assert [jobs.launcher_status(each) for each in (run, make(), ended)] == [None, None, None]
    assert cluster.told("squeue") == []


def test_many_looks_ask_slurm_once_also_where_it_fails(submitted, make, cluster, monkeypatch):
    monkeypatch.setattr(slurm_client, "FRESH_S", 1e9)
    other = make()
    jobs.submit(other, "slurm")
    cluster.complains("squeue", "squeue: error: Unable to contact slurm controller\n")
    seen = [jobs.launcher_status(each) for each in (submitted, other)]
    assert [look.is_lost for look in seen] == [False, False]
    assert "Unable to contact slurm controller" in seen[0].text
    assert len(cluster.told("squeue")) == 1


def test_a_lost_run_fails_when_somebody_follows_it_and_is_resumed(submitted, cluster):
    cluster.knows("CANCELLED")
    jobs.resume(submitted, "slurm")
    assert submitted.state is State.QUEUED
    assert len(cluster.told("sbatch")) == 2
    cluster.knows("CANCELLED")
    assert jobs.fail_if_lost(submitted).is_lost
    assert submitted.state is State.FAILED
    assert "cancelled" in submitted.status().error.message


# Stopping


def test_stopping_cancels_a_job_that_waits_and_only_then(submitted, make, cluster):
    jobs.stop(submitted)
    assert submitted.state is State.STOPPED
    assert cluster.told("scancel") == [["--state=PENDING", "12"]]
    jobs.resume(submitted)
    assert lifecycle.launcher_of(submitted.folder) == "slurm"
    working = make()
    jobs.submit(working, "slurm")
    lock = lifecycle.begin(working.folder)
    jobs.stop(working)
    lock.release()
    assert len(cluster.told("scancel")) == 1


# Inside the job


@pytest.fixture
def job(monkeypatch):
    """Return a function that starts a job for a run, as Slurm's node would; it ends with the test."""
    started = []

    def start(run, restarts=0, worker=None):
        monkeypatch.setenv("SLURM_JOB_ID", "12")
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
        words = [sys.executable, "-W", "error", "-m", "pmsi.runs.launchers.slurm_job", str(run.folder)]
        words += worker or command("execute", run.folder)
        environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
        started.append(subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        with process:
            pass


def working(make, job, behaviour="wait", **more):
    """Return a run, and the job in which it works."""
    run = make(behaviour)
    jobs.submit(run, "slurm")
    process = job(run, **more)
    until(lambda: len(run.metrics()) == 2)
    return run, process


def end(process):
    """Wait for a job's end; return its exit status and what it said."""
    said = process.communicate()[0]
    return process.returncode, said


@pytest.mark.parametrize("state", ["stopped", "of another launcher", "finished"])
def test_a_job_that_comes_too_late_leaves_the_run_alone(run, job, state):
    if state == "of another launcher":
        lifecycle.enqueue(run.folder, (State.CREATED,), "local")
    else:
        lifecycle.settle(run.folder, State(state), {"hard": False}, lifecycle.begin(run.folder))
    before = run.state
    code, said = end(job(run, restarts=1))
    assert code == 0
    assert "nothing to do" in said
    assert run.state is before
    assert run.metrics() == []


def test_a_warning_in_time_becomes_a_checkpoint_and_a_requeue(make, cluster, job):
    cluster.knows("RUNNING")
    run, process = working(make, job)
    process.send_signal(signal.SIGTERM)
    seen = set()
    while process.poll() is None:
        seen.add(run.state)
    assert seen <= {State.RUNNING, State.STOPPING, State.QUEUED}, "who waits for the end would take STOPPED for it"
    assert end(process) == (0, "")
    assert run.state is State.QUEUED
    assert cluster.told("scontrol") == [["requeue", "12"]]
    assert lifecycle.queued_request(run.folder)["launcher"] == "slurm"
    (run.folder / "go").touch()
    assert end(job(run, restarts=1))[0] == 0
    assert run.state is State.FINISHED
    assert [record["step"] for record in run.metrics()] == [0, 1]


def test_a_job_that_was_cancelled_stops_its_run(make, cluster, job):
    cluster.knows("CANCELLED", restarts=1)
    run, process = working(make, job, restarts=1)
    process.send_signal(signal.SIGTERM)
    assert end(process) == (0, "")
    assert run.state is State.STOPPED


@pytest.mark.parametrize("command", ["scontrol", "squeue"])
def test_a_job_that_cannot_be_requeued_stops_its_run_and_says_why(make, cluster, job, command):
    cluster.knows("RUNNING")
    cluster.complains(command, "presently disabled\n")
    run, process = working(make, job)
    process.send_signal(signal.SIGTERM)
    code, said = end(process)
    assert (code, run.state) == (0, State.STOPPED)
    assert "presently disabled" in said


def test_the_worker_is_deaf_to_the_signal_that_everybody_gets(make, cluster, job):
    cluster.knows("COMPLETING", restarts=1)
    run, process = working(make, job)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert end(process)[0] == 0
    assert run.state is State.QUEUED


def test_a_stop_for_good_wins_over_a_requeue(make, cluster, job):
    cluster.knows("COMPLETING", restarts=1)
    run, process = working(make, job, behaviour="deaf")
    process.send_signal(signal.SIGTERM)
    until(lambda: run.state is State.STOPPING)
    jobs.stop(run, grace_s=0.1)
    assert end(process)[0] == 0
    assert run.state is State.STOPPED


def test_a_job_started_again_goes_on_with_a_run_left_in_the_middle(make, cluster, job):
    """The node failed: nobody could put the run back into the queue; its lock is waited for."""
    run = make()
    jobs.submit(run, "slurm")
    lock = lifecycle.begin(run.folder)
    run.log({"step": 0})
    lock.release()
    assert run.state is State.INTERRUPTED
    assert "nothing to do" in end(job(run))[1], "a first start has left nothing behind"
    assert lock.take()
    process = job(run, restarts=1)
    assert process.poll() is None
    lock.release()
    assert end(process) == (0, "")
    assert run.state is State.FINISHED
    assert [record["step"] for record in run.metrics()] == [0, 1]
    assert cluster.told("scontrol") == []
