"""Training runs beside each other: what came of each, where they differ, and the baseline that fits a run."""

import json

import pytest
from finished_runs import recorded

from pmsi.base.errors import RunError
from pmsi.cli.main import main
from pmsi.config import EvaluateConfig, TrainConfig
from pmsi.runs import Run, State
from pmsi.runs.comparison import (
    as_json,
    baseline_for,
    differing_settings,
    incomparable,
    outcome,
    scores_of,
    training_runs,
)
from pmsi.runs.labels import label


def trained(root, accuracies, result=None, **fields):
    """Return a run whose mix had these accuracies after each epoch; its concat always 0.1."""
    run = Run.create(root, TrainConfig(**fields))
    for epoch, accuracy in enumerate(accuracies, start=1):
        heads = {"concat": 0.1, "mix": accuracy}
        run.log({"kind": "epoch", "epoch": epoch, "accuracy": heads, "loss": {}, "seconds": 10.0 * epoch})
    if result is not None:
        (run.folder / "result.json").write_text(json.dumps({"at": 1, "result": result}))
    return run


def test_best_and_last_are_told_of_the_output_that_decides_or_of_another_at_the_same_epochs(tmp_path):
    run = trained(tmp_path, [0.25, 0.75, 0.5])
    about = outcome(run)
    assert (about.by, about.last, about.last_epoch) == ("mix", 0.5, 3)
    assert (about.best, about.best_epoch, about.seconds) == (0.75, 2, 30.0)
    assert (about.state, about.parameters) == (State.CREATED, None)
    about = outcome(run, "concat")
    assert (about.by, about.last, about.best, about.best_epoch) == ("concat", 0.1, 0.1, 2)
    assert outcome(run, "S9").last is None


def test_metrics_that_grow_are_read_again(tmp_path):
    run = trained(tmp_path, [0.5])
    assert scores_of(run)["last"]["epoch"] == 1
    run.log({"kind": "epoch", "epoch": 2, "accuracy": {"mix": 0.9}, "loss": {}, "seconds": 20.0})
    assert scores_of(run)["last"]["epoch"] == 2
    (run.folder / "metrics.jsonl").write_text('{"kind": "epoch"}\n')
    assert scores_of(run) is None


def test_only_settings_that_differ_are_told():
    configs = [TrainConfig(), TrainConfig(seed=1), TrainConfig(seed=1, method="pm")]
    assert differing_settings(configs) == {"seed": [0, 1, 1], "method": ["pmr", "pmr", "pm"]}
    assert differing_settings(configs[:1]) == {}
    assert differing_settings([]) == {}


def test_the_baseline_is_the_first_on_the_same_data_that_began_alike(tmp_path):
    run = trained(tmp_path, [0.5], epochs=7, seed=3)
    small = trained(tmp_path, [0.5], method="baseline", epochs=7, image_size=96)
    newer = trained(tmp_path, [0.5], method="baseline", epochs=9, seed=5)
    older = trained(tmp_path, [0.5], method="baseline", epochs=7, seed=5)
    other = trained(tmp_path, [0.5], method="baseline", epochs=7, seed=3, dataset="cub", data="/x")
    evaluation = Run.create(tmp_path, EvaluateConfig(of=run.id))
    assert baseline_for(run, [small, other, newer, older, evaluation, run]) == newer
    assert baseline_for(run, [other, run]) is None
    assert baseline_for(evaluation, [newer]) is None


def test_a_baseline_of_other_images_is_not_offered_and_comparing_says_why(tmp_path, capsys):
    """The settings are the same, and the folder too: what was in it was not."""
    about = {"dataset": "folder", "data": "/photos"}
    run = recorded(trained(tmp_path, [0.5], **about), "ab", "cd")
    other = recorded(trained(tmp_path, [0.5], method="baseline", **about), "ac", "bd")
    same = recorded(trained(tmp_path, [0.5], method="baseline", epochs=3, **about), "abx", "cd")
    assert baseline_for(run, [other]) is None
    assert baseline_for(run, [other, same]) == same
    (reason, *more) = as_json([run, other])["incomparable"]
    assert "2 images" in reason
    assert "1 are the same" in reason
    assert any("1 of 2 test images" in line and "training" in line for line in more)
    assert main(["runs", "compare", run.id, other.id, "--runs", str(tmp_path)]) == 0
    assert reason in capsys.readouterr().out
    assert as_json([run, same])["incomparable"] == []


def test_runs_without_records_are_compared_by_settings_and_counts_and_said_to_be_unknown(tmp_path):
    old, new = ({"classes": ["ani"], "train_images": 12, "test_images": count} for count in (4, 12))
    one, two, same = (trained(tmp_path, [0.5], result=about) for about in (old, new, old))
    assert sum("test images" in line for line in incomparable([one, two])) == 1
    assert [one.id in line or same.id in line for line in incomparable([one, same])] == [True, True]
    assert incomparable([one]) == []


def test_each_run_is_compared_once_and_only_training_runs(tmp_path):
    run = trained(tmp_path, [0.5])
    assert training_runs([run, Run(run.folder)]) == [run]
    with pytest.raises(RunError, match="evaluate"):
        training_runs([run, Run.create(tmp_path, EvaluateConfig(of=run.id))])


def test_the_command_prints_both_tables(tmp_path, capsys):
    one, two = trained(tmp_path, [0.25, 0.75, 0.5]), trained(tmp_path, [0.125], seed=7, method="pm")
    label(two, name="Mine")
    assert main(["runs", "compare", one.id, two.id, "--runs", str(tmp_path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:5] == ["Run", "State", "Output", "Last", "Best"]
    assert lines[1][:9] == [one.id, "RMG-PMSI", "created", "mix", "50.0", "%", "75.0", "%", "2"]
    assert lines[2][:3] == [two.id, "Mine", "created"]
    assert ["seed", "0", "7"] in lines
    assert ["method", "RMG-PMSI", "+", "P", "&", "M"] in lines
    assert not any(line[:1] == ["epochs"] for line in lines)
