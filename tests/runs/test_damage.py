"""One damaged run folder: it is listed with its reason, shown, deleted and restored, and nothing else notices."""

import gzip
import json
import os
from dataclasses import fields

import pytest

from pmsi.base.errors import RunError
from pmsi.choices import COMMON, options_of
from pmsi.config import CONFIGS, TrainConfig
from pmsi.data.record import DataRecord, ImageRecord
from pmsi.runs import Run, jobs, known_runs, list_runs
from pmsi.runs.lifecycle import State, begin, settle
from pmsi.tables.matching import Runs

CONFIG = TrainConfig(method="pm", epochs=1)
SCORES = {"epoch": 1, "accuracy": {"mix": 0.5}}
RECORD = DataRecord("x", ("a",), (ImageRecord("a", 0, "0" * 32),), (ImageRecord("b", 0, "1" * 32),))


def changed(**values):
    return json.dumps(CONFIG.to_dict() | values).encode()


CONTENTS = {
    "config.json": [
        *(b"{", b"\xff", b"[" * 200_000, b'{"task": ' + b"9" * 5000 + b"}", b'{"task": "cook"}', changed(nosuch=1)),
        *(changed(**{field: "nosuch"}) for field in ("method", "backbone", "dataset", "epochs")),
        *(changed(lr_new=value) for value in (float("nan"), 10**400, [[[]]])),
    ],
    "result.json": [b"", b"[]", b'{"result":' * 999, b'{"result": {"last": 5}}', b'{"at": 1e300, "result": {}}'],
    "started": [b'{"at": "x"}', b"[]"],
    "labels.json": [b'{"name": 5}', b'{"note": []}'],
    "metrics.jsonl": [b'{"kind": "epoch", "epoch": "x", "accuracy": {}}\n', b'{"kind": "loss"}\n'],
    "data.json.gz": [b"torn", RECORD.to_bytes()[:-9], gzip.compress(b"[" * 2**22)],
}
NO_FILES = (os.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(path))


def made(root):
    run = Run.create(root, CONFIG)
    lock = begin(run.folder)
    run.log({"kind": "epoch", "seconds": 1.0} | SCORES)
    RECORD.to_file(run.folder / "data.json.gz")
    settle(run.folder, State.FINISHED, {"result": {"last": SCORES, "best": SCORES | {"by": "mix"}}}, lock)
    return run


def spoilt(root):
    """Yield a run for each kind of damage, and the file that has it."""
    for file, contents in CONTENTS.items():
        for content in contents:
            run = made(root)
            (run.folder / file).write_bytes(content)
            yield run, file
    others = ("queued", "stop", "log.txt", "progress.json", "lock", ".change", "predictions.json")
    pipes = [(file, os.mkfifo) for file in (*CONTENTS, *others)]
    for file, spoil in [*pipes, *((file, spoil) for file in ("config.json", "queued") for spoil in NO_FILES)]:
        run = made(root)
        (run.folder / file).unlink(missing_ok=True)
        spoil(run.folder / file)
        yield run, file


def test_a_damaged_run_is_listed_shown_deleted_and_restored_and_nothing_else_notices(tmp_path, pmsi):
    damaged = dict(spoilt(tmp_path))
    sound, other = made(tmp_path), made(tmp_path)
    lines = pmsi("runs", "list", "--runs", tmp_path)[1].splitlines()
    assert len(lines) == len(damaged) + 2
    listed = {line.split()[1]: line for line in lines}
    for run, file in damaged.items():
        assert listed[run.id].startswith("damaged")
        assert f"Its {file} cannot be read" in listed[run.id]
        for words in (["show", run.id], ["show", "--json", run.id], ["delete", run.id], ["restore", run.id]):
            assert pmsi("runs", *words, "--runs", tmp_path)[0] == 0, (words, file)
        with pytest.raises(RunError):
            jobs.resume(run)
    assert {run for run in list_runs(tmp_path) if run.damage} == {*damaged}
    assert set(known_runs(tmp_path)) == {sound, other}
    assert Runs(tmp_path).training(CONFIG, 0).run in (sound, other)


def test_a_run_whose_name_no_terminal_shows_is_found_by_the_name_that_is_shown(tmp_path, pmsi):
    run = made(tmp_path)
    run.folder.rename(tmp_path / "20300101-000000-a\nb\x1b[31m\u202e")
    made(tmp_path).folder.rename(tmp_path / "20300102-000000-\udcff")
    for line in pmsi("runs", "list", "--runs", tmp_path)[1].splitlines():
        assert line.isprintable()
        id = line.split()[1]
        for word in ("show", "delete", "restore"):
            assert pmsi("runs", word, id, "--runs", tmp_path)[0] == 0
    assert {run.folder.name for run in list_runs(tmp_path)} == {
        "20300101-000000-a\nb\x1b[31m\u202e",
        "20300102-000000-\udcff",
    }


def test_a_heartbeat_lost_in_a_power_cut_is_no_damage(tmp_path):
    run = made(tmp_path)
    (run.folder / "progress.json").write_bytes(b"\0" * 99)
    assert run.damage is None
    assert run.status().done == 0


def test_the_rows_that_are_listed_without_an_import_are_in_their_tables():
    for about in (about for config in CONFIGS.values() for about in fields(config)):
        if isinstance(kind := about.metadata["options"], str):
            assert set(COMMON[kind]) <= set(options_of(about))
