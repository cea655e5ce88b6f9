"""Names, tags and notes of runs: beside the config and never in it, checked, and safe when several people write."""

import json
import threading

import pytest

from pmsi.base.errors import RunError
from pmsi.cli.main import main
from pmsi.config import EvaluateConfig, TrainConfig
from pmsi.runs import Run, list_runs
from pmsi.runs.labels import FILE, LONGEST_NAME, LONGEST_NOTE, LONGEST_TAG, MOST_TAGS, Labels, label, labels_of
from pmsi.runs.listing import Choice, chosen, entries


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path, TrainConfig())


def test_labels_come_back_and_what_is_not_given_stays_and_what_is_empty_goes(run):
    before = (run.folder / "config.json").read_bytes(), run.id
    label(run, name="  The best\n so far ", tags=["paper", "rate", "paper"], note="Tried it.\n")
    assert labels_of(Run(run.folder)) == Labels("The best so far", ("paper", "rate"), "Tried it.")
    assert ((run.folder / "config.json").read_bytes(), run.id) == before
    assert label(run, name="two") == Labels("two", ("paper", "rate"), "Tried it.")
    assert label(run, tags=[]) == Labels("two", (), "Tried it.")
    label(run, name="", note="")
    assert labels_of(run) == Labels()
    assert not (run.folder / FILE).exists()


@pytest.mark.parametrize(
    "given",
    [
        {"name": "x" * (LONGEST_NAME + 1)},
        {"name": "bell \a"},
        {"tags": ["two words"]},
        {"tags": ["a,b"]},
        {"tags": ["x" * (LONGEST_TAG + 1)]},
        {"tags": [str(number) for number in range(MOST_TAGS + 1)]},
        {"note": "x" * (LONGEST_NOTE + 1)},
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(run, given):
    label(run, name="kept")
    with pytest.raises(RunError, match="expected"):
        label(run, **given)
    assert labels_of(run) == Labels("kept")


def test_a_run_that_came_with_the_program_keeps_its_name(run, shipped):
    shipped(run.folder.parent)
    with pytest.raises(RunError, match="came with the program"):
        label(run, name="mine")


def test_of_two_who_change_different_labels_neither_loses_theirs(run):
    def change(field):
        for number in range(10):
            label(run, **{field: f"{field} {number}"})

    threads = [threading.Thread(target=change, args=(field,)) for field in ("name", "note")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert labels_of(run) == Labels("name 9", (), "note 9")


# The list


@pytest.fixture
def several(tmp_path):
    """By a letter: four runs, made in this order."""
    made = {
        "a": Run.create(tmp_path, TrainConfig(method="baseline")),
        "b": Run.create(tmp_path, TrainConfig(method="pmr", dataset="cub", data="/x")),
        "c": Run.create(tmp_path, TrainConfig(method="pmr")),
        "d": Run.create(tmp_path, EvaluateConfig(of="x")),
    }
    label(made["a"], name="Zebra", tags=["paper"])
    label(made["b"], name="apple", tags=["paper", "big"], note="Lower rate helps")
    for letter, accuracy in {"a": 0.5, "b": 0.75}.items():
        made[letter].log({"kind": "epoch", "epoch": 1, "accuracy": {"mix": accuracy}, "seconds": 1.0})
    (made["c"].folder / "big.bin").write_bytes(b"0" * 10_000)
    return made


def letters(several, *, order="newest", **choice):
    known = {run.id: letter for letter, run in several.items()}
    runs = [several[letter] for letter in "abcd"]
    return "".join(known[entry.run.id] for entry in chosen(entries(runs), Choice(**choice), order))


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({}, "abcd"),
        ({"text": "RATE lower"}, "b"),
        ({"text": "paper"}, "ab"),
        ({"text": "evaluate"}, "d"),
        ({"method": "pmr"}, "bc"),
        ({"method": "pmr", "dataset": "plumage"}, "c"),
        ({"tag": "big"}, "b"),
        ({"state": "finished"}, ""),
        ({"order": "accuracy"}, "ba"),
        ({"order": "size"}, "c"),
        ({"order": "name"}, "b"),
    ],
)
def test_runs_are_found_by_what_they_are_and_sorted(several, choice, found):
    if "order" in choice:
        assert letters(several, **choice).startswith(found)
        assert sorted(letters(several, **choice)) == list("abcd")
    else:
        assert letters(several, **choice) == found


def test_a_changed_label_and_a_damaged_config_are_seen_at_once(several):
    list(entries(several.values()))
    label(several["c"], tags=["new"])
    assert letters(several, tag="new") == "c"
    (several["d"].folder / "config.json").write_text("{")
    assert entries([several["d"]])[0].config is None


# By hand


def test_the_command_labels_and_lists(tmp_path, several, capsys):
    assert main(["runs", "label", several["c"].id, "--name", "Mine", "--tag", "x", "y", "--runs", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "run": several["c"].id,
        "name": "Mine",
        "tags": ["x", "y"],
        "note": "",
    }
    assert main(["runs", "list", "--tag", "x", "--runs", str(tmp_path)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert several["c"].id in line
    assert line.endswith("Mine  #x  #y")
    assert main(["runs", "list", "--json", "--text", "zebra", "--runs", str(tmp_path)]) == 0
    (about,) = json.loads(capsys.readouterr().out)
    assert about["labels"] == {"name": "Zebra", "tags": ["paper"], "note": ""}
    assert main(["runs", "list", "--tag", "nobody", "--runs", str(tmp_path)]) == 0
    assert f"None of the {len(list_runs(tmp_path))} runs" in capsys.readouterr().out
