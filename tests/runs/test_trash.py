"""Deleting runs with a way back: what is refused, that nothing else is touched, and what disk space it all takes."""

import os
import threading
import time

import pytest

from pmsi.base.errors import RunError
from pmsi.base.locks import Lock
from pmsi.cli.main import main
from pmsi.config import EvaluateConfig, RobustnessConfig, TrainConfig
from pmsi.runs import Run, list_runs, trash
from pmsi.runs.disk import size_of
from pmsi.runs.labels import label, labels_of


@pytest.fixture
def run(tmp_path):
    made = Run.create(tmp_path, TrainConfig())
    made.log({"kind": "epoch", "epoch": 1, "accuracy": {"mix": 0.5}})
    label(made, name="Mine")
    return made


def ids(root):
    return [run.id for run in list_runs(root)]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_deleted_run_comes_back_as_it_was(run, tmp_path):
    before = contents(run.folder)
    trash.delete(run)
    assert ids(tmp_path) == []
    (deleted,) = trash.deleted_runs(tmp_path)
    assert labels_of(deleted.run).name == "Mine"
    back = trash.restore(tmp_path, run.id[:20])
    assert (back, ids(tmp_path)) == (run, [run.id])
    assert contents(run.folder) == before | {p: b for p, b in contents(run.folder).items() if p.name == ".change"}
    assert trash.deleted_runs(tmp_path) == []


def test_a_run_that_is_worked_on_or_came_with_the_program_is_refused(run, tmp_path, shipped):
    (run.folder / "started").write_text('{"at": 1}')
    lock = Lock(run.folder / "lock")
    assert lock.take()
    with pytest.raises(RunError, match="stop it before"):
        trash.delete(run)
    (run.folder / "result.json").write_text('{"at": 2, "result": {}}')  # it is about to go, and holds its lock still
    with pytest.raises(RunError, match="finished: stop it"):
        trash.delete(run)
    lock.release()
    trash.delete(run)
    assert ids(tmp_path) == []
    shipped(tmp_path)
    with pytest.raises(RunError, match="came with the program"):
        trash.delete(Run.create(tmp_path, TrainConfig()))


def test_the_runs_made_from_it_are_named_and_live_ones_refuse(run, tmp_path):
    other = Run.create(tmp_path, TrainConfig())
    evaluation = Run.create(tmp_path, EvaluateConfig(of=run.id))
    sweep = Run.create(tmp_path, RobustnessConfig(of=(other.id, run.id)))
    Run.create(tmp_path, EvaluateConfig(of=other.id))
    assert set(trash.check([run])) == {evaluation, sweep}
    assert set(trash.check([run, evaluation])) == {sweep}
    (sweep.folder / "queued").write_text('{"at": 1}')
    with pytest.raises(RunError, match=sweep.id):
        trash.delete(run)
    assert run.id in ids(tmp_path)


def test_of_many_who_delete_and_restore_at_once_one_is_right_and_nothing_is_lost(run, tmp_path):
    def work():
        for _ in range(10):
            for action in (lambda: trash.delete(Run(run.folder)), lambda: trash.restore(tmp_path, run.id)):
                try:
                    action()
                except RunError:
                    pass
                except OSError as error:
                    wrong.append(error)
            run.status()

    wrong = []
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    places = [*list_runs(tmp_path), *(each.run for each in trash.deleted_runs(tmp_path))]
    assert [place.id for place in places] == [run.id]
    assert places[0].metrics()


def test_purging_removes_for_good_and_only_what_is_deleted(run, tmp_path):
    kept, old = Run.create(tmp_path, TrainConfig()), Run.create(tmp_path, TrainConfig())
    trash.delete(run)
    trash.delete(old)
    mark = trash.find_deleted(tmp_path, old.id).run.folder / trash.MARK
    mark.write_text(f'{{"at": {time.time() - 10 * trash.DAY_S}}}')
    assert trash.purge(tmp_path, older_than_s=5 * trash.DAY_S) == [old.id]
    assert [each.run.id for each in trash.deleted_runs(tmp_path)] == [run.id]
    assert trash.purge(tmp_path) == [run.id]
    assert list((tmp_path / trash.TRASH).iterdir()) == []
    assert ids(tmp_path) == [kept.id]
    with pytest.raises(RunError, match="No deleted run"):
        trash.restore(tmp_path, run.id)


def test_a_purge_that_was_cut_short_is_ended_by_the_next_and_seen_by_nobody(run, tmp_path):
    trash.delete(run)
    (tmp_path / trash.TRASH / run.id).rename(tmp_path / trash.TRASH / f"{trash.PURGING}x")
    assert trash.deleted_runs(tmp_path) == []
    trash.purge(tmp_path)
    assert list((tmp_path / trash.TRASH).iterdir()) == []


def test_links_are_never_followed(run, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (run.folder / "link").symlink_to(outside)
    linked = tmp_path / "20260101-101010-train-x-abcd"
    place = Run.create(outside, TrainConfig()).folder
    linked.symlink_to(place)
    assert size_of(run.folder) < 5000
    trash.delete(run)
    trash.delete(Run(linked))
    trash.purge(tmp_path)
    assert (outside / "precious").exists()
    assert (place / "config.json").exists()
    assert ids(tmp_path) == []


@pytest.mark.parametrize("id", ["", "../x", "nothing"])
def test_only_a_deleted_run_can_be_restored_or_purged(run, tmp_path, id):
    trash.delete(run)
    with pytest.raises(RunError, match="No deleted run"):
        trash.restore(tmp_path, id)
    with pytest.raises(RunError, match="No deleted run"):
        trash.purge(tmp_path, ids=[id])
    assert len(trash.deleted_runs(tmp_path)) == 1


def test_the_commands(run, tmp_path, capsys):
    where = ["--runs", str(tmp_path)]
    Run.create(tmp_path, EvaluateConfig(of=run.id))
    assert main(["runs", "delete", run.id, *where]) == 0
    assert "keep their results" in capsys.readouterr().out
    assert main(["runs", "restore", *where]) == 0
    assert capsys.readouterr().out.split() == [run.id]
    assert main(["runs", "purge", "--days", "1", *where]) == 0
    assert capsys.readouterr().out.startswith("0 deleted runs")
    assert main(["runs", "restore", run.id, *where]) == 0
    assert run.id in ids(tmp_path)
    assert main(["runs", "delete", run.id, *where]) == 0
    assert main(["runs", "purge", run.id, *where]) == 0
    assert "1 deleted run removed" in capsys.readouterr().out


# Disk


def test_the_size_of_a_folder_is_what_its_files_add_up_to(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name, size in {"a": 10, "deep/b": 200, "deep/er/c": 3000}.items():
        (tmp_path / name).write_bytes(b"0" * size)
    assert size_of(tmp_path) == 3210
    (tmp_path / "new").write_bytes(b"0" * 7)
    os.utime(tmp_path, ns=(1, 1))  # however coarse the clock is
    assert size_of(tmp_path) == 3217
    assert size_of(tmp_path / "nothing") == 0
