"""The Runs page: the list, and one run in each state that it can be in."""

import base64
import contextlib
import json
import os
import shutil
import time
from urllib.parse import parse_qsl

import numpy as np
import pytest
from pages import click, fine, links, part, sound, words

from app.shared.wording import name_of_run, runs_before
from app.views.runs.detail import ADVICE
from app.views.train.address import address_of
from pmsi.base.assets import ASSETS
from pmsi.base.locks import Lock
from pmsi.config import EvaluateConfig, RobustnessConfig, TrainConfig
from pmsi.engine.checkpoint import CHECKPOINT, PREVIOUS
from pmsi.runs import Run, State, jobs, list_runs, trash
from pmsi.runs.labels import Labels, label, labels_of
from pmsi.runs.lifecycle import ENDINGS, begin
from pmsi.runs.listing import Choice, chosen, entries
from pmsi.runs.run import SHIPPED
from pmsi.runs.theatre import theatre_of

CONFIG = TrainConfig(backbone="tiny", weights="none", image_size=64, epochs=2)
RESULT = {
    "last": {"epoch": 2, "accuracy": {"S5": 0.5, "mix": 0.625}},
    "best": {"epoch": 1, "accuracy": {"S5": 0.75, "mix": 0.875}, "by": "mix"},
    "classes": ["wren", "owl"],
    "train_images": 20,
    "test_images": 8,
    "skipped_images": 0,
    "parameters": 1_234_567,
    "seconds": 65.0,
}
FINISHED = {"ending": State.FINISHED, "about": {"result": RESULT}, "epochs": 2}


@pytest.fixture
def root(runs_folder):
    runs_folder.mkdir()
    return runs_folder


@pytest.fixture
def shown(open_page):
    """Open the list, as a link asks, or a run."""
    return lambda run=None, **query: open_page("runs", **({"run": run.id} if run else {}), **query)


def make(root, config=CONFIG, ending=None, about=None, epochs=0):
    """Return a run that was started; it ended as ``ending``, or else its worker is gone."""
    run = Run.create(root, config)
    mark(run, "started")
    for epoch in range(1, epochs + 1):
        run.log({"kind": "loss", "epoch": epoch, "step": epoch, "losses": {"S5": 1.0 / epoch, "concat": 0.5}})
        accuracy = {"S5": 0.25 * epoch, "mix": 0.375 * epoch}
        run.log({"kind": "epoch", "epoch": epoch, "step": epoch, "accuracy": accuracy, "loss": {}, "seconds": 1.0})
    run.progress(epochs, config.epochs if isinstance(config, TrainConfig) else 1, "epoch 1 of 2")
    run.flush_progress()
    if ending is not None:
        mark(run, ENDINGS[ending], about)
    return run


def stopped(root, config=CONFIG, epochs=0):
    return make(root, config, State.STOPPED, epochs=epochs)


def failed(root, kind="OutOfMemory", message="can't allocate [memory]", remedy="Lower batch_size."):
    return make(root, ending=State.FAILED, about={"kind": kind, "message": message, "remedy": remedy})


def many(root, count):
    return [stopped(root, CONFIG.with_(method=("pmr", "pm")[n % 2], seed=n), epochs=2) for n in range(count)]


def mark(run, name, about=None):
    (run.folder / name).write_text(json.dumps({"at": time.time(), "launcher": "none"} | (about or {})))


@contextlib.contextmanager
def worked_on(run):
    lock = Lock(run.folder / "lock")
    assert lock.take()
    try:
        yield
    finally:
        lock.release()


def labels(test):
    return {button.label for button in test.button}


def charts(test):
    return [json.loads(chart.proto.spec)["data"] for chart in test.get("plotly_chart")]


# The list


def test_the_list_says_what_each_run_is_and_how_it_went(root, shown):
    assert "No runs yet" in words(shown())
    make(root, **FINISHED)
    failed(root, "DataError", "The folder is gone. " * 20)
    (make(root).folder / "config.json").write_text("{")
    test = shown()
    for said in ("finished", "75.0 %", "failed", "The folder is gone.", "…]", "cannot be read"):
        assert said in words(test)
    assert test.query_params == {}


def test_a_long_list_is_shown_in_parts(root, shown):
    for _ in range(21):
        Run.create(root, CONFIG)
    test = shown()
    assert words(test).count("not started yet") == 20
    assert words(click(test, "Show more (1)")).count("not started yet") == 21


def test_a_list_of_four_hundred_runs_is_read_without_metrics(root, monkeypatch):
    for number in range(400):
        folder = root / f"20260101-{number:06d}-train-pmr-plumage-ab12"
        folder.mkdir()
        (folder / "config.json").write_text(CONFIG.to_json())
    monkeypatch.setattr(Run, "metrics", None)
    assert len(chosen(entries(list_runs(root)), Choice(method="pmr", text="tiny", state="created"), "newest")) == 400


def listed(test):
    return {box.key.removeprefix("picker-run-") for box in test.checkbox}


def test_the_list_is_searched_by_what_the_address_says_and_what_is_typed(root, shown):
    runs = many(root, 8)
    label(runs[0], tags=["paper"], note="midnight")
    assert listed(shown(in_method="pm")) == {run.id for run in runs[1::2]}
    assert listed(shown(tagged="paper")) == listed(shown(words="MIDNIGHT paper")) == {runs[0].id}
    test = shown(in_method="pm", tagged="paper")
    assert listed(test) == set()
    assert "No run of yours is like that" in words(test)
    assert dict(test.query_params) == {"in_method": "pm", "tagged": "paper"}
    test = shown()
    sound(next(field for field in test.text_input if field.label == "Search").input("pm nothing").run())
    assert test.query_params["words"] == "pm nothing"
    assert listed(test) == set()


def test_ticked_runs_stand_in_the_address_and_can_be_compared(root, shown):
    runs = many(root, 3)
    test = shown(pick=runs[0].id)
    assert links(test, "Compare")[0].disabled
    sound(next(box for box in test.checkbox if box.key.endswith(runs[2].id)).check().run())
    assert test.query_params["pick"] == f"{runs[0].id},{runs[2].id}"
    assert not links(test, "Compare 2 runs")[0].disabled
    click(test, "Choose none")
    assert "pick" not in test.query_params
    assert not any(box.value for box in test.checkbox)


# One run


def test_a_finished_run_shows_what_came_of_it_its_command_and_its_differences(root, shown):
    run = make(root, **FINISHED)
    run.append_log("a line of the log")
    test = shown(run)
    assert test.query_params == {"run": run.id}
    table, *others = (table.value for table in test.table)
    assert table.values.tolist() == [["S5", "50.0 %", "75.0 %"], ["mix", "62.5 %", "87.5 %"]]
    assert [tile.value for tile in test.metric] == ["75.0 %", "75.0 %"]
    assert not {"Stop this run", "Resume"} & labels(test)
    assert "--backbone tiny" in test.code[0].value
    assert "a line of the log" in test.code[-1].value
    settings = next(table for table in others if "Setting" in table)
    row = settings[settings["Setting"] == "Epochs"].iloc[0]
    assert (row["This run"], row["Paper"]) == ("2", "150")


@pytest.mark.parametrize(("ending", "word"), [(State.STOPPED, "was stopped"), (None, "is gone")])
def test_a_run_that_ended_early_can_be_resumed(root, shown, monkeypatch, ending, word):
    resumed = []
    monkeypatch.setattr(jobs, "resume", lambda run: resumed.append(run.id))
    run = make(root, ending=ending, epochs=1)
    test = shown(run)
    assert word in words(test)
    assert "from the beginning" in words(test)
    assert len(charts(test)) == 2
    whole = next(SHIPPED.glob("*/checkpoints/*"))
    shutil.copy(whole, run.checkpoints / CHECKPOINT)
    assert "from its last checkpoint" in words(test.run())
    click(test, "Resume")
    assert resumed == [run.id]
    (run.checkpoints / CHECKPOINT).write_bytes(whole.read_bytes()[:-9])
    assert "Resume" not in labels(test.run())
    shutil.copy(whole, run.checkpoints / PREVIOUS)
    assert "Resume" in labels(test.run())


@pytest.mark.parametrize("final", [True, False])
def test_a_run_that_can_never_succeed_is_not_offered_to_be_resumed(root, shown, final):
    run = make(root, ending=State.FAILED, about={"kind": "ConfigError", "message": "No sense.", "final": final})
    test = shown(run)
    assert ("Resume" in labels(test)) == ("Resume tries again" in words(test)) == (not final)
    assert "Its settings in the form" in labels(test)


def test_a_failed_run_says_why_and_what_to_do_and_shows_no_empty_charts(root, shown):
    test = shown(failed(root))
    for said in ("OutOfMemory", "can't allocate [memory]", "Lower batch_size.", "Nothing was measured"):
        assert said in words(test)
    assert not charts(test)


@pytest.mark.parametrize("ending", [State.FAILED, State.STOPPED, State.FINISHED])
def test_a_run_that_ended_early_leads_to_the_form_with_its_settings(root, shown, ending):
    run = failed(root) if ending is State.FAILED else make(root, ending=ending)
    test = shown(run)
    assert ("Its settings in the form" in labels(test)) == (ending in ADVICE)
    if ending in ADVICE:
        test = click(test, "Its settings in the form")
        assert {name: test.query_params[name] for name in address_of(run.config)} == address_of(run.config)


def test_a_trained_run_shows_how_it_learned_and_leads_to_its_mistakes(root, shown, tiny_run):
    """Its baseline, here the same run, answered the same images."""
    for method in ("pmr", "baseline"):
        shutil.copytree(tiny_run.folder, root / method)
        config = tiny_run.config.with_(method=method)
        (root / method / "config.json").write_text(config.to_json())
    test = shown(Run(root / "pmr"))
    data, theatre = part(test, "theatre"), theatre_of(tiny_run)
    assert [run["title"] for run in data["runs"]] == [name_of_run(Run(root / name)) for name in ("pmr", "baseline")]
    assert [image["name"] for image in data["images"]] == [theatre.classes[label] for label in theatre.labels]
    assert len(data["moments"]) == 3
    last = data["moments"][-1]["runs"][1]["images"][2]
    assert (last["name"], last["right"]) == theatre.said(theatre.moments[-1], 2)
    assert [dict(parse_qsl(link.query_string))["show"] for link in links(test, "Mistakes")] == ["mistakes"]


@pytest.mark.parametrize("id", ["demo-maps-pmr", "demo-parts", "demo-sanity-pmr", "demo-unknowns"])
def test_each_kind_of_run_that_ships_has_its_page(root, shown, id):
    shutil.copytree(ASSETS / "demo" / id, root / id)
    assert "Result" in words(fine(shown(Run(root / id))))


def test_a_mix_below_concat_is_explained(root, shown):
    run = make(root)
    for mix, explained in ((0.5, False), (0.25, True)):
        accuracy = {"S3": 0.125, "concat": 0.5, "mix": mix}
        run.log({"kind": "epoch", "epoch": 1, "step": 1, "accuracy": accuracy, "loss": {}})
        assert ("25.0 points below" in words(shown(run))) == explained


def test_a_resumed_run_says_when_it_was_started_and_when_it_went_on(root, shown):
    run = make(root, ending=State.STOPPED)
    mark(run, "started", {"at": 1000.0})
    begin(run.folder).release()
    status = run.status()
    assert status.first_at == 1000.0 < status.started_at
    assert all(word in words(shown(run)) for word in ("started 01 Jan", "resumed"))


def test_a_queued_run_says_how_many_are_before_it_and_that_nobody_works_on_it(root, shown, monkeypatch):
    running, first, second = (Run.create(root, CONFIG) for _ in range(3))
    for at, run in enumerate((first, second), start=100):
        mark(run, "queued", {"at": float(at)})
    mark(running, "started")
    with worked_on(running):
        assert [runs_before(run) for run in (first, second)] == [1, 2]
        assert "Stop this run" in labels(shown(second))
        test = shown()
        assert "2 before it" in words(test)
        started = []
        monkeypatch.setattr("pmsi.runs.jobs.resume", started.append)
        next(button for button in test.button if button.label == "Start the queue").click().run()
        assert started == [first, second]


def test_a_running_run_can_be_stopped_and_is_told_apart_from_a_stuck_one(root, shown):
    run = make(root, epochs=1)
    with worked_on(run):
        test = shown()
        assert "running" in words(test)
        assert "may be stuck" not in words(test)
        long_ago = time.time() - 185
        beat = {"done": 1, "total": 9, "text": "epoch 1", "at": long_ago, "rate": 0.1, "pause": 2.0}
        (run.folder / "progress.json").write_text(json.dumps(beat))
        mark(run, "started", {"at": long_ago - 100})
        for name in ("started", "progress.json", "metrics.jsonl"):
            os.utime(run.folder / name, (long_ago, long_ago))
        assert "no sign of life for 3 min" in words(test.run())
        test = shown(run)
        assert "No sign of life for 3 min" in words(test)
        click(test, "Stop this run")
        assert run.state is State.STOPPING
        assert "Stopping …" in labels(test)


def test_an_evaluation_shows_its_accuracies(root, shown):
    trained = make(root, **FINISHED)
    result = {"of": trained.id, "split": "test", "images": 8, "accuracy": {"S5": 0.5, "mix": 0.75}}
    result["class_accuracy"] = {"wren": 1.0, "owl": None}
    run = make(root, EvaluateConfig(of=trained.id), State.FINISHED, {"result": result})
    assert list(shown(run).table[0].value["Accuracy"]) == ["50.0 %", "75.0 %"]
    assert "They keep their results" in words(shown(trained)), "before it is deleted"


def test_a_sweep_shows_what_it_has_measured(root, shown):
    run = stopped(root, RobustnessConfig(of=("a", "b")))
    scores = {"accuracy": 0.5, "low": 0.25, "high": 0.75}
    runs = {"20260101-101010-train-pmr-cub-ab12": {"primary": "mix", "heads": {"mix": scores}}}
    for name, severity in ((None, 0.0), ("gaussian_noise", 5.0)):
        run.log({"kind": "cell", "perturbation": name, "severity": severity, "images": 4, "runs": runs})
    test = shown(run)
    assert "robustness of 2 runs" in words(test)
    table = test.table[0].value
    assert list(table["Images"]) == ["Clean", "Gaussian noise"]
    assert list(table["Severity"]) == ["", "5"]
    assert list(table["pmr-cub-ab12"]) == ["50.0 % (25.0 % to 75.0 %)"] * 2


# Names, tags, notes


def test_a_name_is_shown_wherever_a_run_is_named_and_never_as_markup(root, shown):
    run = stopped(root)
    label(run, name="**Best** <b>so far</b>", tags=["pa_per"], note="A _note_.")
    assert name_of_run(run) == f"**Best** <b>so far</b> · {run.id[-4:]}"
    test = shown()
    assert "pa_per" in words(test)
    assert links(test, "so far")[0].label == r"**\*\*Best\*\* \<b\>so far\</b\>**"
    test = shown(run)
    assert test.title[0].value == r"\*\*Best\*\* \<b\>so far\</b\>"
    assert "A _note_." in [text.value for text in test.text]
    assert "RMG-PMSI on plumage" in words(test)
    test.text_input[0].input("Mine")
    test.text_area[0].input("Another.")
    click(test, "Save")
    assert labels_of(run) == Labels("Mine", ("pa_per",), "Another.")
    assert test.title[0].value == "Mine"


# Beside each other


def test_runs_beside_each_other_show_what_differs_and_what_came_of_them(root, shown):
    runs = many(root, 2)
    label(runs[0], name="<i>mine</i>")
    test = shown(runs=",".join(run.id for run in runs), head="S5", phase="S5")
    accuracy, loss = charts(test)
    assert [len(accuracy), len(loss)] == [2, 2]
    assert plotted(accuracy[0]) == [25.0, 50.0]
    assert plotted(loss[0]) == [1.0, 0.5]
    assert test.query_params["head"] == "S5"
    numbers, differing = [element.proto.body for element in test.get("html")]
    assert "&lt;i&gt;mine&lt;/i&gt;" in numbers
    assert "<i>mine" not in numbers
    assert numbers.count("50.0 %") == 4
    assert "Method" in differing
    assert "Epochs" not in differing
    assert runs[1].id in test.code[0].value


def plotted(line):
    y = line["y"]
    return y if isinstance(y, list) else np.frombuffer(base64.b64decode(y["bdata"]), y["dtype"]).tolist()


def test_a_baseline_is_one_click_away_and_unknown_runs_are_named(root, shown):
    run = stopped(root, epochs=2)
    baseline = stopped(root, CONFIG.with_(method="baseline"), epochs=2)
    assert "Beside a baseline" in labels(shown(run))
    test = shown(runs=f"{run.id},nobody")
    assert "Not here, or no training run: nobody" in words(test)
    click(test, "Add the baseline")
    assert test.query_params["runs"] == f"{run.id},{baseline.id}"
    assert not any("Add the baseline" in label for label in labels(test))
    assert "Choose two or more" in words(shown(runs="nobody"))


# Deleting


def test_runs_are_deleted_and_come_back_until_they_are_removed_for_good(root, shown):
    run, *others = many(root, 4)
    click(shown(run), "delete-yes")
    assert run not in list_runs(root)
    test = shown(run)
    assert "was deleted" in words(test)
    click(test, "Restore")
    test = click(shown(run), "delete-yes")
    assert "Deleted: RMG-PMSI on plumage" in words(test.run())
    click(test, "Undo")
    assert run in list_runs(root)
    click(shown(pick=f"{run.id},{others[0].id}"), "delete-chosen-yes")
    assert set(list_runs(root)) == set(others[1:])
    test = shown()
    assert "Deleted: 2 runs" in test.expander[0].label
    click(test, "Remove them for good")
    assert trash.deleted_runs(root) == []
    assert set(list_runs(root)) == set(others[1:])


# Who may


def test_visitors_who_may_only_look_are_offered_nothing_that_writes(root, shown, monkeypatch):
    run = stopped(root, epochs=1)
    (run.checkpoints / CHECKPOINT).touch()
    trash.delete(stopped(root))
    monkeypatch.setenv("PMSI_READ_ONLY", "1")
    offered = labels(shown(run)) | labels(shown(pick=run.id))
    assert not offered & {"Resume", "Save", "Delete", "Delete 1", "Evaluate", "Restore", "Remove them for good"}
    assert "Choose none" in offered


def test_runs_that_come_with_the_program_can_only_be_looked_at(root, shown, shipped):
    run = make(root / "shipped", **FINISHED)
    shipped(root / "shipped")
    assert "Come with the program" in words(shown())
    test = shown(run)
    assert "comes with the program" in words(test)
    assert not labels(test) & {"Save", "Delete", "Resume"}
