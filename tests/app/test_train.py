"""The Train page: presets, the form, the command, and the start."""

import json

import pytest
import torch
from pages import button, class_folders, click, sound, words

import pmsi.engine.costs
from app.views.train.address import address_of
from pmsi.base.text import short
from pmsi.base.vision import models
from pmsi.config.command import command
from pmsi.config.presets import PRESETS
from pmsi.methods import outline
from pmsi.runs import Run, State, default_root, jobs, list_runs
from pmsi.runs.launchers import LAUNCHERS
from pmsi.runs.launchers.row import Launcher, LauncherStatus

QUICK = PRESETS["quick"].config
SUBMIT = jobs.submit


pytestmark = pytest.mark.usefixtures("submitted")


@pytest.fixture
def page(open_page):
    return open_page("train")


def is_ready(test):
    return not button(test, "Start training").disabled


def widget(test, kind, name):
    return next(found for found in getattr(test, kind) if found.key.endswith(f"-{name}"))


def enter(test, kind="number_input", **values):
    """Return the page after values were given to widgets of one kind, by their names."""
    for name, value in values.items():
        sound(widget(test, kind, name).set_value(value).run())
    return test


def choose(test, **values):
    return enter(test, "selectbox", **values)


def figure(test, label):
    """A figure: its value and what stands below it, with plain spaces; None where there is none."""
    found = next((metric for metric in test.metric if metric.label == label), None)
    return found and tuple(text.replace("\N{NO-BREAK SPACE}", " ") for text in (found.value, found.delta))


def costs(test):
    return [figure(test, label) for label in ("Parameters", "Multiply-adds", "Memory")]


def query_of(test):
    """The address; AppTest gives what was written in one form or the other."""
    return {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in test.query_params.items()
    }


def test_the_first_preset_is_ready_and_a_change_follows_into_command_address_and_run(page, submitted):
    assert is_ready(page)
    assert PRESETS["quick"].help in words(page)
    assert page.code[0].value == command(QUICK)
    assert query_of(page) == {}
    assert "Reset to the preset" not in [button.label for button in page.button]
    enter(enter(page, epochs=3), "toggle", flip=False)
    assert page.code[0].value == command(QUICK.with_(epochs=3, flip=False))
    assert query_of(page) == {"preset": "quick", "epochs": "3", "flip": "off"}
    assert query_of(enter(page, epochs=QUICK.epochs)) == {"preset": "quick", "flip": "off"}
    click(page, "Reset to the preset")
    assert page.code[0].value == command(QUICK)
    click(enter(page, epochs=3), "Start training")
    (run,) = list_runs(default_root())
    assert submitted == [run.id]
    assert run.config == QUICK.with_(epochs=3)
    assert page.query_params["run"] == run.id


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_the_form_and_the_settings_of_any_run_can_be_linked_to(page, open_page, name):
    config = PRESETS[name].config
    sound(page.segmented_control(key="train-preset").set_value(name).run())
    assert widget(page, "number_input", "epochs").value == config.epochs
    assert page.code[0].value == command(config)
    changed = config.with_(epochs=9, lr_new=0.02, trackers=("tensorboard",), flip=False)
    about = address_of(changed)
    assert about["preset"] == name
    test = open_page("train", **about)
    assert test.code[0].value == command(changed)
    assert test.segmented_control(key="train-preset").value == name
    assert not test.warning


def test_costs_are_counted_again_only_where_something_that_costs_has_changed(page, monkeypatch):
    counted, count, before = [], pmsi.engine.costs.costs_of, costs(page)
    monkeypatch.setattr(
        "app.views.train.outlook.costs_of", lambda config, classes: counted.append(config) or count(config, classes)
    )
    enter(page, epochs=5, lr_new=0.07)
    assert (counted, costs(page)) == ([], before)
    enter(page, batch_size=14)
    assert [config.batch_size for config in counted] == [14]
    larger = costs(page)
    assert [a == b for a, b in zip(before, larger, strict=True)] == [True, True, False]
    assert all(a != b for a, b in zip(larger, costs(choose(page, method="baseline")), strict=True))
    assert figure(choose(page, augmentation="rmg"), "Parameters") is None, "this cannot be"
    assert not is_ready(page)
    assert "progressive" in page.error[0].value


def test_costs_are_counted_for_the_classes_of_the_data_set(page, tmp_path):
    """Of a folder that nobody has looked into, as many are assumed as CUB has, and the help says so."""

    def looked_for(classes):
        model = outline(QUICK, classes)
        heads = sum(one.numel() for one in model.parameters()) - sum(one.numel() for one in model.backbone.parameters())
        assert f"For {classes} classes" in next(one for one in page.metric if one.label == "Parameters").help
        assert figure(page, "Parameters")[1] == f"{short(heads)} outside the backbone"

    for dataset, classes in {"plumage": 12, "cars": 196, "folder": 200}.items():
        choose(page, dataset=dataset)
        looked_for(classes)
    home = class_folders(tmp_path / "birds", [f"kind {label}" for label in range(13)], 2)
    enter(page, "text_input", data=str(home))
    looked_for(13)


def test_a_run_is_handed_to_the_launcher_that_is_chosen_whose_word_stands_on_its_page(page, monkeypatch):
    handed = []
    status = lambda run: LauncherStatus("Slurm job 7: pending") if run.state is State.QUEUED else None  # noqa: E731
    monkeypatch.setitem(LAUNCHERS, "slurm", Launcher("Slurm", handed.append, "", status=status))
    monkeypatch.setattr(jobs, "submit", SUBMIT)
    sound(page.selectbox(key="train-launcher").set_value("slurm").run())
    click(page, "Start training")
    (run,) = handed
    assert "Slurm job 7: pending" in words(page)
    click(page, "Stop this run")
    assert run.state is State.STOPPED


# Time


def finish(config, seconds, images):
    """Leave a finished run of the built-in birds, as training writes it."""
    run = Run.create(default_root(), config)
    result = {"seconds": seconds, "train_images": images, "classes": [str(number) for number in range(12)]}
    for name, about in (("started", {}), ("result.json", {"result": result})):
        (run.folder / name).write_text(json.dumps(about))


def test_a_time_is_what_equal_runs_took_or_measured_on_demand(page, monkeypatch):
    assert figure(page, "Time") == ("–", "not known yet")
    finish(QUICK.with_(seed=4), 100.0, 720)
    finish(QUICK.with_(seed=5), 200.0, 720)
    finish(QUICK.with_(seed=6), 900.0, 7200)  # when the data set was larger
    assert figure(sound(page.run()), "Time") == ("2 min 30 s", "as equal runs took")
    asked = []
    monkeypatch.setattr("app.shared.measuring._seconds", lambda words, images=None: asked.append(words) or 61.0)
    click(enter(page, epochs=4), "Measure")
    assert figure(page, "Time") == ("≈ 1 min 01 s", "by a trial")
    assert asked[0][0] == "train"
    assert asked[0][asked[0].index("--epochs") + 1] == "4"


# The address


def test_what_a_link_says_wrongly_is_left_out_with_a_word(open_page):
    asked = {"epochs": "many", "method": "pmx", "batch_size": "1", "resize": "48", "preset": "best"}
    test = open_page("train", lr_new="0.02", **asked)
    assert test.code[0].value == command(QUICK.with_(lr_new=0.02))
    for said in ("epochs = 'many'", "Unknown method 'pmx'", "batch_size = 1", "resize = 48", "Unknown preset 'best'"):
        assert said in words(test)
    assert query_of(test) == {"preset": "quick", "lr_new": "0.02"}


def test_a_second_link_in_the_same_session_opens_its_own_form(open_page):
    test = open_page("train", epochs="9")
    test.query_params.clear()
    test.query_params["preset"] = "quick"
    test.query_params["epochs"] = "5"
    assert "--epochs 5" in sound(test.run()).code[0].value


# From a run


def test_a_run_is_continued_with_changed_settings(open_page, make_run):
    run = make_run(epochs=7)
    test = open_page("train", start_from=run.id, lr_new="0.5")
    assert test.code[0].value == command(run.config.with_(start_from=run.id, lr_new=0.5))
    assert query_of(test) == {"settings": run.id, "lr_new": "0.5"}
    assert is_ready(test)
    sound(widget(test, "selectbox", "start_from").select_index(0).run())
    assert test.code[0].value == command(run.config.with_(lr_new=0.5))
    assert query_of(test)["start_from"] == "default"


def test_a_model_that_does_not_fit_or_is_not_there_is_explained_before_the_start(open_page, make_run):
    test = open_page("train", start_from=make_run().id, backbone="resnet18")
    assert not is_ready(test)
    assert "Backbone" in test.error[0].value
    test = open_page("train", start_from="20200101-nowhere")
    assert "There is no run" in words(test)
    assert test.code[0].value == command(QUICK)


# Sweeps


def test_a_sweep_says_how_many_runs_stands_in_the_address_and_queues_them(page, open_page, submitted):
    sound(page.multiselect(key="train-vary").set_value(["lr_new", "method"]).run())
    enter(page, "text_input", **{"vary-lr_new": "0.1,fast"})
    assert "expected a number" in page.error[0].value
    assert not any(button.label.startswith("Queue") for button in page.button)
    enter(page, "text_input", **{"vary-lr_new": "0.01, 0.02, 0.03", "vary-method": "p,pmr"})
    test = open_page("train", vary=query_of(page)["vary"])
    assert "6 runs" in words(test)
    assert any("grid --vary lr_new=0.01,0.02,0.03 method=p,pmr" in code.value for code in test.code)
    click(test, "Queue 6 runs")
    runs = list_runs(default_root())
    assert {(run.config.lr_new, run.config.method) for run in runs} == {
        (rate, method) for rate in (0.01, 0.02, 0.03) for method in ("p", "pmr")
    }
    assert sorted(submitted) == sorted(run.id for run in runs)


# The first batch


def test_the_first_batch_is_shown_on_demand_as_each_phase_shows_it(page, cache_folder):
    """Mixed images name both classes and their shares; the phase of concat shows whole images."""
    assert not page.get("html")
    choose(page, augmentation="mixup")
    sound(page.toggle(key="kept-batch").set_value(True).run())
    assert query_of(page)["batch"] == "1"
    rows = page.get("html")[0].proto.body.split("<section")[1:]
    assert [row.count("<img") for row in rows] == [8, 8, 8, 8]
    for row, head in zip(rows, ("S3", "S4", "S5", "concat"), strict=True):
        assert f"Phase of {head}" in row
        assert 'alt="' in row
        assert (" % " in row) == (head != "concat")


# Folders


def test_a_folder_is_chosen_in_a_browser_of_what_may_be_read_and_its_classes_are_counted(open_page, tmp_path):
    home = class_folders(tmp_path / "two" / "birds", [f"kind {label}" for label in range(13)], 6)
    test = open_page("train", preset="photos", weights="none")
    assert not is_ready(test)
    for step in (tmp_path.name, "two", "birds"):
        click(test, step)
    assert "13 folders" in words(test)
    click(test, "Use this folder")
    assert widget(test, "text_input", "data").value == str(home)
    assert is_ready(test)
    assert "For 13 classes" in next(one for one in test.metric if one.label == "Parameters").help
    for _ in ("birds", "two"):
        click(test, "One up")
    assert "One up" not in [one.label for one in test.button]


# What cannot start


def test_a_read_only_app_starts_nothing(open_page, monkeypatch):
    monkeypatch.setenv("PMSI_READ_ONLY", "1")
    test = open_page("train", vary="seed=0,1")
    assert not is_ready(test)
    assert button(test, "Queue 2 runs").disabled
    assert "read-only" in words(test)


def test_files_and_folders_that_are_missing_are_named(page, tmp_path):
    choose(page, dataset="folder")
    assert not is_ready(page)
    assert "folder" in page.info[0].value
    enter(page, "text_input", data=str(tmp_path / "nowhere"))
    assert not is_ready(page)
    assert "nowhere" in page.error[0].value
    choose(page, dataset="plumage", backbone="mobilenet_v2", weights="file")
    assert not is_ready(page)
    assert "path" in page.info[0].value
    enter(page, "text_input", **{"weights-file": "/nowhere/w.pt"})
    assert not is_ready(page)
    assert "w.pt" in page.error[0].value
    assert not is_ready(choose(page, backbone="tiny", weights="imagenet")), "there are none"


def test_a_backbone_that_is_typed_is_checked_before_the_start(page):
    for typed, said in {
        "timm:mobilenetv4_conv_smal": "Did you mean timm:mobilenetv4_conv_small",
        "timm:vit_tiny_patch16_224": "cannot be a backbone",
        "resnet50": "Or timm:NAME",
        "timm:mobilenetv4_conv_small": "",
    }.items():
        box = widget(page, "selectbox", "backbone")
        box.options.append(typed)  # as typing does in a browser
        sound(box.set_value(typed).run())
        assert is_ready(page) == (not said)
        assert f"--backbone {typed}" in page.code[0].value
        assert said in "".join(error.value.replace("\\", "") for error in page.error)


def test_an_error_names_fields_by_their_labels_and_a_button_takes_its_cause_away(open_page, tmp_path):
    """A file with two networks, settings that contradict each other or themselves, a batch that is too large."""
    state = models.mobilenet_v2().state_dict()
    torch.save({"net": state, "ema": {name: value + 1 for name, value in state.items()}}, tmp_path / "w.pth")
    page = open_page("train", preset="paper", dataset="plumage", image_size="64", weights=str(tmp_path / "w.pth"))
    for name, value, label, fix in (
        ("weights_part", None, "Place in the weights file = ", "Take ema"),
        ("epochs", 2, "Frozen epochs = 5", "Train the backbone from the first epoch"),
        ("resize", 48, "Resize to = 48", "Resize as usual"),
        ("batch_size", 1000, "Batch size = 1000", "Take 480"),
    ):
        if value is not None:
            enter(page, **{name: value})
        if name == "batch_size":
            click(page, "Start training")  # only now are images counted
        said = page.error[0].value.replace("\\", "")
        assert label in said
        assert "_" not in said.replace(str(tmp_path), "")
        click(page, fix)
        assert not page.error
        assert is_ready(page)
    assert "in ema" in words(page)


def test_a_link_that_varies_a_setting_twice_or_one_that_cannot_be_varied_opens(open_page):
    test = sound(open_page("train", vary=["seed=0,1", "seed=2", "device=cpu"]))
    assert test.multiselect(key="train-vary").value == ["seed"]
    assert not any("not your doing" in error.value for error in test.error)
