"""The Runs page: the list, and one run in each state that it can be in."""

import json
import os
import time
from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest

from app.shared.wording import ago, line_of_run, moment, name_of_run, runs_before, short_id, title_of_run
from app.views.runs.detail import ADVICE
from app.views.train.address import address_of
from pmsi.base.locks import Lock
from pmsi.base.text import duration
from pmsi.config import EvaluateConfig, RobustnessConfig, TrainConfig
from pmsi.engine.checkpoint import CHECKPOINT
from pmsi.runs import Run, State, jobs, list_runs, trash
from pmsi.runs.labels import Labels, label, labels_of
from pmsi.runs.lifecycle import ENDINGS

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


def site():
    from pages import navigate

    navigate("runs", "train", "maps", "robustness")


@pytest.fixture
def root(monkeypatch, tmp_path):
    monkeypatch.setenv("PMSI_RUNS", str(tmp_path))
    return tmp_path


def shown(run=None):
    test = AppTest.from_function(site, default_timeout=30)
    if run is not None:
        test.query_params["run"] = run.id
    return checked(test.run())


def checked(test):
    assert not test.exception, test.exception
    return test


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


def mark(run, name, about=None):
    (run.folder / name).write_text(json.dumps({"at": time.time(), "launcher": "none"} | (about or {})))


def words(test):
    kinds = (test.markdown, test.caption, test.title, test.subheader, test.error, test.info, test.warning)
    return "\n".join(element.value.replace("\\", "") for kind in kinds for element in kind)


def labels(test):
    return [button.label for button in test.button]


def test_without_runs_the_page_shows_the_way_to_the_first(root):
    assert "No runs yet" in words(shown())


def test_the_list_says_what_each_run_is_and_how_it_went(root):
    make(root, ending=State.FINISHED, about={"result": RESULT}, epochs=2)
    make(root, ending=State.FAILED, about={"kind": "OutOfMemory", "message": "no", "remedy": ""})
    text = words(shown())
    assert "finished" in text
    assert "failed" in text
    assert "75.0 %" in text


def test_the_list_says_why_a_run_failed(root):
    make(root, ending=State.FAILED, about={"kind": "DataError", "message": "The folder is gone. " * 20, "remedy": ""})
    text = words(shown())
    assert "The folder is gone." in text
    assert "…]" in text


def test_the_address_names_the_run_that_is_shown_and_no_other(root):
    run = make(root, ending=State.STOPPED)
    assert shown(run).query_params == {"run": run.id}
    assert shown().query_params == {}


def test_resuming_is_said_to_begin_anew_where_there_is_no_checkpoint(root):
    run = make(root, ending=State.STOPPED)
    assert "from the beginning" in words(shown(run))
    (run.checkpoints / CHECKPOINT).touch()
    assert "from its last checkpoint" in words(shown(run))


def test_a_run_that_measured_nothing_shows_no_empty_charts(root):
    about = {"kind": "DataError", "message": "no", "remedy": ""}
    test = shown(make(root, ending=State.FAILED, about=about))
    assert not test.get("plotly_chart")
    assert "Nothing was measured" in words(test)
    assert len(shown(make(root, ending=State.STOPPED, epochs=1)).get("plotly_chart")) == 2


def test_a_damaged_run_does_not_hide_the_others(root):
    (make(root).folder / "config.json").write_text("{")
    make(root, ending=State.FINISHED, about={"result": RESULT}, epochs=2)
    text = words(shown())
    assert "cannot be read" in text
    assert "finished" in text


def test_a_long_list_is_shown_in_parts(root):
    for _ in range(21):
        Run.create(root, CONFIG)
    test = shown()
    assert words(test).count("not started yet") == 20
    checked(next(button for button in test.button if button.label == "Show more (1)").click().run())
    assert words(test).count("not started yet") == 21


def test_an_unknown_run_is_a_panel(root):
    test = AppTest.from_function(site, default_timeout=30)
    test.query_params["run"] = "nothing"
    checked(test.run())
    assert "There is no run" in words(test)


def test_a_finished_run_shows_last_and_best_apart(root):
    test = shown(make(root, ending=State.FINISHED, about={"result": RESULT}, epochs=2))
    table = test.table[0].value
    assert list(table["Output"]) == ["S5", "mix"]
    assert list(table["Last epoch"]) == ["50.0 %", "62.5 %"]
    assert list(table["Best epoch"]) == ["75.0 %", "87.5 %"]
    assert [tile.value for tile in test.metric] == ["75.0 %", "75.0 %"]
    assert not {"Stop this run", "Resume"} & set(labels(test))


def test_a_finished_run_shows_its_command_and_its_differences(root):
    test = shown(make(root, ending=State.FINISHED, about={"result": RESULT}, epochs=2))
    assert "--backbone tiny" in test.code[0].value
    settings = next(table.value for table in test.table if "Setting" in table.value)
    row = settings[settings["Setting"] == "Epochs"].iloc[0]
    assert (row["This run"], row["Paper"]) == ("2", "150")


def test_the_log_is_shown(root):
    run = make(root, ending=State.STOPPED)
    run.append_log("a line of the log")
    assert "a line of the log" in shown(run).code[-1].value


@pytest.mark.parametrize(
    ("ending", "word"), [(State.STOPPED, "was stopped"), (None, "is gone")], ids=["stopped", "interrupted"]
)
def test_a_run_that_ended_early_can_be_resumed(root, monkeypatch, ending, word):
    resumed = []
    monkeypatch.setattr(jobs, "resume", lambda run: resumed.append(run.id))
    run = make(root, ending=ending)
    test = shown(run)
    assert word in words(test)
    checked(next(button for button in test.button if button.label == "Resume").click().run())
    assert resumed == [run.id]


def test_a_failed_run_says_why_and_what_to_do(root):
    about = {"kind": "OutOfMemory", "message": "can't allocate [memory]", "remedy": "Lower batch_size."}
    text = words(shown(make(root, ending=State.FAILED, about=about)))
    assert "OutOfMemory" in text
    assert "can't allocate [memory]" in text
    assert "Lower batch_size." in text


@pytest.mark.parametrize("ending", [State.FAILED, State.STOPPED, State.FINISHED])
def test_a_run_that_ended_early_leads_to_the_form_with_its_settings(root, ending):
    about = {"kind": "OutOfMemory", "message": "no", "remedy": ""} if ending is State.FAILED else None
    run = make(root, ending=ending, about=about)
    links = [link.proto for link in shown(run).get("page_link") if "other settings" in link.proto.label]
    assert [dict(parse_qsl(link.query_string)) for link in links] == [address_of(run.config)][: ending in ADVICE]


def test_a_queued_run_says_how_many_are_before_it(root):
    running, first, second = (Run.create(root, CONFIG) for _ in range(3))
    for at, run in enumerate((first, second), start=100):
        mark(run, "queued", {"at": float(at)})
    mark(running, "started")
    lock = Lock(running.folder / "lock")
    assert lock.take()
    try:
        assert [runs_before(run) for run in (first, second)] == [1, 2]
        assert "Stop this run" in labels(shown(second))
        assert "2 before it" in words(shown())
    finally:
        lock.release()


def test_a_running_run_can_be_stopped(root):
    run = make(root, epochs=1)
    lock = Lock(run.folder / "lock")
    assert lock.take()
    try:
        test = shown(run)
        assert "running" in words(test)
        checked(next(button for button in test.button if button.label == "Stop this run").click().run())
        assert run.state is State.STOPPING
        assert "Stopping …" in labels(test)
    finally:
        lock.release()


def test_a_refused_action_is_a_panel(root):
    run = make(root, ending=State.STOPPED)
    test = shown(run)
    mark(run, ENDINGS[State.FINISHED], {"result": RESULT})
    (run.folder / ENDINGS[State.STOPPED]).unlink()
    checked(next(button for button in test.button if button.label == "Resume").click().run())
    assert "finished" in words(test)


def test_an_evaluation_shows_its_accuracies(root):
    trained = make(root, ending=State.FINISHED, about={"result": RESULT}, epochs=2)
    result = {
        "of": trained.id,
        "split": "test",
        "images": 8,
        "accuracy": {"S5": 0.5, "mix": 0.75},
        "class_accuracy": {"wren": 1.0, "owl": None},
    }
    run = make(root, EvaluateConfig(of=trained.id), State.FINISHED, {"result": result})
    assert list(shown(run).table[0].value["Accuracy"]) == ["50.0 %", "75.0 %"]
    assert "75.0 %" in words(shown())


def test_a_sweep_shows_what_it_has_measured(root):
    run = make(root, RobustnessConfig(of=("a", "b")), State.STOPPED)
    scores = {"accuracy": 0.5, "low": 0.25, "high": 0.75}
    runs = {"20260101-101010-train-pmr-cub-ab12": {"primary": "mix", "heads": {"mix": scores}}}
    run.log({"kind": "cell", "perturbation": None, "severity": 0.0, "images": 4, "runs": runs})
    run.log({"kind": "cell", "perturbation": "gaussian_noise", "severity": 5.0, "images": 4, "runs": runs})
    test = shown(run)
    assert "robustness of 2 runs" in words(test)
    table = test.table[0].value
    assert list(table["Images"]) == ["Clean", "Gaussian noise"]
    assert list(table["Severity"]) == ["", "5"]
    assert list(table["pmr-cub-ab12"]) == ["50.0 % (25.0 % to 75.0 %)"] * 2


def test_any_other_result_is_shown_as_it_is():
    def page():
        from app.views.runs.results import show_result

        show_result("another task", {"rows": [{"name": "x", "value": 1.5}], "size": 3})

    test = checked(AppTest.from_function(page, default_timeout=30).run())
    assert list(test.dataframe[0].value["value"]) == [1.5]
    assert json.loads(test.json[0].value) == {"size": 3}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations_are_said_in_two_units(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(("before", "said"), [(5, "just now"), (90, "1 min ago"), (7300, "2 h ago")])
def test_moments_are_said_in_one_unit(before, said):
    assert ago(1e9 - before, now=1e9) == said


@pytest.mark.parametrize(("zone", "said"), [("UTC", "09 Sep, 01:46"), ("Asia/Tokyo", "09 Sep, 10:46")])
def test_moments_are_told_in_the_visitors_time(zone, said):
    assert moment(1e9, zone) == said


def test_an_unknown_time_zone_is_the_servers():
    assert moment(1e9, "no/such/zone") == moment(1e9, None)


def test_titles_say_what_a_run_is_about():
    assert title_of_run(CONFIG) == "RMG-PMSI on plumage"
    assert title_of_run(EvaluateConfig(of="20260101-101010-train-pmr-cub-ab12")) == "evaluation of pmr-cub-ab12"
    assert title_of_run(RobustnessConfig(of=("a", "b"))) == "robustness of 2 runs"
    assert short_id("20260101-101010-evaluate-test-ab12") == "evaluate-test-ab12"


def test_a_run_to_choose_has_its_name_moment_and_facts(root):
    run = Run(root / "20260101-101010-train-pmr-plumage-ab12")
    run.folder.mkdir()
    (run.folder / "config.json").write_text(json.dumps(CONFIG.to_dict()))
    assert name_of_run(run) == "RMG-PMSI on plumage · ab12"
    assert line_of_run(run, "UTC") == "RMG-PMSI on plumage · ab12 · 01 Jan, 10:10 · tiny · 64 px · 2 epochs"


# Stuck


def test_a_silent_worker_is_told_apart_from_a_slow_one_in_the_list_and_on_its_page(root):
    run = make(root, epochs=1)
    lock = Lock(run.folder / "lock")
    assert lock.take()
    try:
        assert "may be stuck" not in words(shown())
        long_ago = time.time() - 185
        beat = {"done": 1, "total": 9, "text": "epoch 1", "at": long_ago, "rate": 0.1, "pause": 2.0}
        (run.folder / "progress.json").write_text(json.dumps(beat))
        mark(run, "started", {"at": long_ago - 100})
        for name in ("started", "progress.json", "metrics.jsonl"):
            os.utime(run.folder / name, (long_ago, long_ago))
        assert "no sign of life for 3 min" in words(shown())
        text = words(shown(run))
        assert "No sign of life for 3 min" in text
        assert "stop the run" in text
    finally:
        lock.release()


# Names, tags, notes


def test_a_name_is_shown_wherever_a_run_is_named_and_never_as_markup(root):
    run = make(root, ending=State.STOPPED)
    label(run, name="**Best** <b>so far</b>", tags=["pa_per"], note="A _note_.")
    assert name_of_run(run) == f"**Best** <b>so far</b> · {run.id[-4:]}"
    test = shown()
    assert "pa_per" in words(test)
    (link,) = [link for link in test.get("page_link") if "so far" in str(link.proto.label)]
    assert link.proto.label == r"**\*\*Best\*\* \<b\>so far\</b\>**"
    test = shown(run)
    assert test.title[0].value == r"\*\*Best\*\* \<b\>so far\</b\>"
    assert "A _note_." in [text.value for text in test.text]
    assert "RMG-PMSI on plumage" in words(test)


def test_a_run_is_named_on_its_page(root):
    run = make(root, ending=State.STOPPED)
    test = shown(run)
    test.text_input[0].input("Mine")
    test.text_area[0].input("A note.")
    checked(next(button for button in test.button if button.label == "Save").click().run())
    assert labels_of(run) == Labels("Mine", (), "A note.")
    assert test.title[0].value == "Mine"


# Finding and choosing


def many(root, count=8):
    return [
        make(root, CONFIG.with_(method=("pmr", "pm")[n % 2], seed=n), State.STOPPED, epochs=2) for n in range(count)
    ]


def listed(test):
    return {box.key.removeprefix("picker-run-") for box in test.checkbox}


def test_the_list_is_searched_by_what_the_address_says(root):
    runs = many(root)
    label(runs[0], tags=["paper"], note="midnight")
    assert listed(open_list(in_method="pm")) == {run.id for run in runs[1::2]}
    assert listed(open_list(tagged="paper")) == {runs[0].id}
    assert listed(open_list(words="MIDNIGHT paper")) == {runs[0].id}
    test = open_list(in_method="pm", tagged="paper")
    assert listed(test) == set()
    assert "No run of yours is like that" in words(test)
    assert dict(test.query_params) == {"in_method": "pm", "tagged": "paper"}


def open_list(**query):
    test = AppTest.from_function(site, default_timeout=30)
    for name, value in query.items():
        test.query_params[name] = value
    return checked(test.run())


def test_a_search_that_is_typed_stands_in_the_address(root):
    many(root)
    test = open_list()
    checked(next(field for field in test.text_input if field.label == "Search").input("pm nothing").run())
    assert test.query_params["words"] == "pm nothing"
    assert listed(test) == set()


def test_ticked_runs_stand_in_the_address_and_can_be_compared(root):
    runs = many(root, 3)
    test = open_list(pick=runs[0].id)
    (link,) = [link.proto for link in test.get("page_link") if "Compare" in link.proto.label]
    assert link.disabled
    checked(next(box for box in test.checkbox if box.key.endswith(runs[2].id)).check().run())
    assert test.query_params["pick"] == f"{runs[0].id},{runs[2].id}"
    (link,) = [link.proto for link in test.get("page_link") if "Compare 2 runs" in link.proto.label]
    assert not link.disabled
    checked(next(button for button in test.button if button.label == "Choose none").click().run())
    assert "pick" not in test.query_params
    assert not any(box.value for box in test.checkbox)


# Beside each other


def test_runs_beside_each_other_show_what_differs_and_what_came_of_them(root):
    runs = many(root, 2)
    label(runs[0], name="<i>mine</i>")
    test = open_list(runs=",".join(run.id for run in runs))
    assert [len(json.loads(chart.proto.spec)["data"]) for chart in test.get("plotly_chart")] == [2, 2]
    numbers, differing = [element.proto.body for element in test.get("html")]
    assert "&lt;i&gt;mine&lt;/i&gt;" in numbers
    assert "<i>mine" not in numbers
    assert numbers.count("75.0 %") == 4
    assert "Method" in differing
    assert "Epochs" not in differing
    assert runs[1].id in test.code[0].value


def test_another_output_and_phase_stand_in_the_address(root):
    runs = many(root, 2)
    test = open_list(runs=",".join(run.id for run in runs), head="S5", phase="S5")
    accuracy, loss = [json.loads(chart.proto.spec)["data"] for chart in test.get("plotly_chart")]
    assert plotted(accuracy[0]) == [25.0, 50.0]
    assert plotted(loss[0]) == [1.0, 0.5]
    assert test.query_params["head"] == "S5"


def plotted(line):
    import base64

    import numpy as np

    y = line["y"]
    return y if isinstance(y, list) else np.frombuffer(base64.b64decode(y["bdata"]), y["dtype"]).tolist()


def test_a_baseline_is_one_click_away(root):
    run = make(root, ending=State.STOPPED, epochs=2)
    baseline = make(root, CONFIG.with_(method="baseline"), State.STOPPED, epochs=2)
    assert "Beside a baseline" in labels(shown(run))
    test = open_list(runs=run.id)
    checked(next(button for button in test.button if "Add the baseline" in button.label).click().run())
    assert test.query_params["runs"] == f"{run.id},{baseline.id}"
    assert not any("Add the baseline" in button.label for button in test.button)


def test_unknown_runs_in_the_address_are_named_and_the_rest_is_shown(root):
    run = make(root, ending=State.STOPPED, epochs=2)
    assert "Not here, or no training run: nobody" in words(open_list(runs=f"{run.id},nobody"))
    assert "Choose two or more" in words(open_list(runs="nobody"))


# Deleting


def test_a_run_is_deleted_and_comes_back(root):
    run = make(root, ending=State.STOPPED, epochs=1)
    test = shown(run)
    checked(next(button for button in test.button if button.key == "delete-yes").click().run())
    assert list_runs(root) == []
    test = checked(test.run())
    assert "Deleted: RMG-PMSI on plumage" in words(test)
    checked(next(button for button in test.button if button.label == "Undo").click().run())
    assert list_runs(root) == [run]


def test_the_page_of_a_deleted_run_offers_it_back(root):
    run = make(root, ending=State.STOPPED)
    trash.delete(run)
    test = shown(run)
    assert "was deleted" in words(test)
    checked(next(button for button in test.button if button.label == "Restore").click().run())
    assert list_runs(root) == [run]


def test_the_trash_is_listed_and_emptied(root):
    make(root, ending=State.STOPPED)
    trash.delete(make(root, ending=State.STOPPED))
    test = open_list()
    assert "Deleted: 1 run" in test.expander[0].label
    checked(next(button for button in test.button if button.label == "Remove them for good").click().run())
    assert trash.deleted_runs(root) == []
    assert len(list_runs(root)) == 1


def test_several_runs_are_deleted_at_once(root):
    runs = many(root, 3)
    test = open_list(pick=f"{runs[0].id},{runs[1].id}")
    checked(next(button for button in test.button if button.key == "delete-chosen-yes").click().run())
    assert list_runs(root) == [runs[2]]


def test_a_run_that_an_evaluation_uses_says_so(root):
    run = make(root, ending=State.STOPPED, epochs=1)
    make(root, EvaluateConfig(of=run.id), State.STOPPED)
    text = words(shown(run))
    assert "They keep their results" in text


# Who may


def test_visitors_who_may_only_look_are_offered_nothing_that_writes(root, monkeypatch):
    run = make(root, ending=State.STOPPED, epochs=1)
    (run.checkpoints / CHECKPOINT).touch()
    trash.delete(make(root, ending=State.STOPPED))
    monkeypatch.setenv("PMSI_READ_ONLY", "1")
    offered = {*labels(shown(run)), *labels(open_list(pick=run.id))}
    assert not offered & {"Resume", "Save", "Delete", "Delete 1", "Evaluate", "Restore", "Remove them for good"}
    assert "Choose none" in offered


def test_runs_that_come_with_the_program_can_only_be_looked_at(root, monkeypatch):
    shipped = root / "shipped"
    run = make(shipped, ending=State.FINISHED, about={"result": RESULT}, epochs=2)
    monkeypatch.setattr("pmsi.runs.run.SHIPPED", shipped)
    assert "Come with the program" in words(open_list())
    test = shown(run)
    assert "comes with the program" in words(test)
    assert not set(labels(test)) & {"Save", "Delete", "Resume"}


# Fast


def test_a_list_of_four_hundred_runs_is_read_without_metrics(root, monkeypatch):
    from pmsi.runs.listing import Choice, chosen, entries

    for number in range(400):
        folder = root / f"20260101-{number:06d}-train-pmr-plumage-ab12"
        folder.mkdir()
        (folder / "config.json").write_text(CONFIG.to_json())
    monkeypatch.setattr(Run, "metrics", None)
    assert len(chosen(entries(list_runs(root)), Choice(method="pmr", text="tiny", state="created"), "newest")) == 400
