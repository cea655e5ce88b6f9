"""A full disk: what was there stays whole, queued runs wait, and nothing empty is left behind."""

import errno
import os
from unittest.mock import Mock

import pytest

from pmsi import tasks
from pmsi.base.errors import DiskFull
from pmsi.base.files import disk_full
from pmsi.runs import Run, State, jobs
from pmsi.runs.launchers import local
from pmsi.runs.lifecycle import LEAST_ROOM, enqueue


@pytest.fixture
def disk(monkeypatch):
    """The free bytes that every disk has: set by ``disk.free = …``."""
    free = Mock(free=20 * LEAST_ROOM)
    for place in ("base.files", "runs.lifecycle", "tasks"):
        monkeypatch.setattr(f"pmsi.{place}.free_at", lambda path: free.free)
    return free


def test_a_run_is_refused_before_it_is_made_where_its_checkpoints_have_no_room(tiny_config, tmp_path, disk):
    tasks.check(tiny_config, tmp_path)
    disk.free = LEAST_ROOM
    with pytest.raises(DiskFull, match=r"needs [\d.]+ MB, and 1\.0 MB are free"):
        tasks.queue(tiny_config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_submit_that_fails_leaves_no_folder(tiny_config, tmp_path, disk, monkeypatch):
    for place in ("pmsi.runs.jobs.submit", "pmsi.runs.run.write_atomically"):
        with monkeypatch.context() as patch:
            patch.setattr(place, Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
            with pytest.raises(OSError, match="No space"):
                tasks.queue(tiny_config, tmp_path)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("queued", [True, False])
def test_a_queued_run_that_meets_a_full_disk_waits_for_room_and_another_fails(
    tiny_config, tmp_path, disk, monkeypatch, queued
):
    run = Run.create(tmp_path, tiny_config)
    if queued:
        enqueue(run.folder, (State.CREATED,), "local")
    disk.free = 3 * LEAST_ROOM
    monkeypatch.setattr("pmsi.training.session.train", Mock(side_effect=disk_full(run.folder, 5 * LEAST_ROOM)))
    assert tasks.execute(run) is (State.QUEUED if queued else State.FAILED)
    assert ("waits for room" in run.status().waits) == queued
    assert queued or "resume" in run.status().error.remedy
    disk.free = 5 * LEAST_ROOM
    assert not run.status().waits


def test_a_runner_waits_until_there_is_room(tiny_config, tmp_path, disk, monkeypatch):
    run = Run.create(tmp_path, tiny_config)
    enqueue(run.folder, (State.CREATED,), "local")
    disk.free = 0
    worked = []
    monkeypatch.setattr(local, "work", lambda run, *_: worked.append(disk.free) or jobs.stop(run))
    monkeypatch.setattr(local.time, "sleep", lambda seconds: setattr(disk, "free", disk.free + LEAST_ROOM // 2))
    local.serve(tmp_path)
    assert worked == [LEAST_ROOM]


def test_no_half_of_a_line_stays_in_the_metrics(tiny_config, tmp_path, disk, monkeypatch):
    run, write = Run.create(tmp_path, tiny_config), os.write
    run.log({"kind": "loss", "epoch": 1.0, "losses": {}})
    before = (run.folder / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
    with pytest.raises(DiskFull, match=r"metrics\.jsonl"):
        run.log({"kind": "loss", "epoch": 2.0, "losses": {}})
    assert (run.folder / "metrics.jsonl").read_bytes() == before
