"""The Train page: presets, the form, the command, and the start."""

import itertools
import json

import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

import pmsi.engine.costs
from app.views.train.address import address_of
from pmsi.base.errors import RunError
from pmsi.base.text import short
from pmsi.base.vision import models
from pmsi.config import TrainConfig
from pmsi.config.command import command
from pmsi.config.presets import PRESETS
from pmsi.runs import Run, default_root, jobs, list_runs


def site():
    from pages import navigate

    navigate("train", "runs", "maps", "robustness")


@pytest.fixture
def submitted(monkeypatch, tmp_path):
    """The ids of submitted runs; nothing is started."""
    ids = []
    monkeypatch.setenv("PMSI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(jobs, "submit", lambda run, launcher: ids.append(run.id))
    return ids


@pytest.fixture
def page(submitted):
    return checked(AppTest.from_function(site, default_timeout=30).run())


def checked(test):
    assert not test.exception, test.exception
    return test


def start_button(test):
    return next(button for button in test.button if button.label == "Start training")


def widget(test, kind, name):
    return next(found for found in getattr(test, kind) if found.key.endswith(f"-{name}"))


def choose(test, title):
    name = next(name for name, preset in PRESETS.items() if preset.title == title)
    checked(test.segmented_control(key="train-preset").set_value(name).run())
    return PRESETS[name]


def test_the_first_preset_is_ready_to_start(page):
    preset = next(iter(PRESETS.values()))
    assert not start_button(page).disabled
    assert preset.help in [caption.value for caption in page.caption]
    assert page.code[0].value == command(preset.config)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_the_form(page, name):
    preset = choose(page, PRESETS[name].title)
    assert widget(page, "number_input", "epochs").value == preset.config.epochs
    assert widget(page, "selectbox", "backbone").value == preset.config.backbone
    assert page.code[0].value == command(preset.config)


def test_the_command_follows_the_form(page):
    widget(page, "number_input", "epochs").set_value(3)
    checked(widget(page, "selectbox", "method").set_value("baseline").run())
    assert "--epochs 3" in page.code[0].value
    assert "--method baseline" in page.code[0].value


def test_starting_makes_a_run_and_opens_it(page, submitted, tmp_path):
    widget(page, "number_input", "epochs").set_value(3).run()
    checked(start_button(page).click().run())
    (run,) = list_runs(tmp_path / "runs")
    assert submitted == [run.id]
    assert run.config == next(iter(PRESETS.values())).config.with_(epochs=3)
    assert page.query_params["run"] == run.id


def figure(test, label):
    """A figure: its value and what stands below it, with plain spaces; None where there is none."""
    found = next((metric for metric in test.metric if metric.label == label), None)
    return found and tuple(text.replace("\N{NO-BREAK SPACE}", " ") for text in (found.value, found.delta))


def test_the_costs_of_the_paper_s_model_are_shown_before_its_folder_is_given(page):
    """METHOD: 2.2 M and 8.3 M parameters, 1.2 and 7.7 G multiply-adds."""
    choose(page, "Paper recipe")
    assert figure(page, "Parameters") == ("10.5 M", "8.30 M outside the backbone")
    assert figure(page, "Multiply-adds") == ("8.92 G", "107 G to learn")
    assert figure(page, "Memory")[0].endswith("GB")


def test_the_costs_follow_the_form(page):
    before = [figure(page, label) for label in ("Parameters", "Multiply-adds", "Memory")]
    checked(widget(page, "number_input", "batch_size").set_value(8).run())
    assert figure(page, "Parameters") == before[0]
    assert figure(page, "Memory") != before[2]
    checked(widget(page, "selectbox", "method").set_value("baseline").run())
    assert figure(page, "Parameters") != before[0]
    assert figure(page, "Multiply-adds") != before[1]


def test_costs_are_counted_again_only_where_something_that_costs_has_changed(page, monkeypatch):
    counted, count = [], pmsi.engine.costs.costs_of
    monkeypatch.setattr(
        "app.views.train.outlook.costs_of", lambda config, classes: counted.append(config) or count(config, classes)
    )
    widget(page, "number_input", "epochs").set_value(5).run()
    checked(widget(page, "number_input", "lr_new").set_value(0.07).run())
    assert not counted
    checked(widget(page, "number_input", "batch_size").set_value(14).run())
    assert [config.batch_size for config in counted] == [14]


def test_a_system_that_cannot_be_has_no_costs(page):
    widget(page, "selectbox", "method").set_value("baseline").run()
    checked(widget(page, "selectbox", "augmentation").set_value("rmg").run())
    assert figure(page, "Parameters") is None


@pytest.mark.parametrize(("dataset", "classes"), [("plumage", 12), ("cub", 200), ("cars", 196), ("folder", 200)])
def test_costs_are_counted_for_the_classes_of_the_data_set(page, dataset, classes):
    """Of a folder that nobody has looked into, as many are assumed as CUB has, and the help says so."""
    checked(widget(page, "selectbox", "dataset").set_value(dataset).run())
    shown = next(metric for metric in page.metric if metric.label == "Parameters")
    assert f"For {classes} classes" in shown.help
    config = next(iter(PRESETS.values())).config
    heads = pmsi.engine.costs.costs_of(config, classes).head_parameters
    assert figure(page, "Parameters")[1] == f"{short(heads)} outside the backbone"


def test_the_classes_of_a_folder_are_counted(page, tmp_path):
    for label, number in itertools.product(range(35), range(2)):
        file = tmp_path / "birds" / f"kind {label}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (label, number, 0)).save(file)
    widget(page, "selectbox", "dataset").set_value("folder").run()
    checked(widget(page, "text_input", "data").set_value(str(tmp_path / "birds")).run())
    shown = next(metric for metric in page.metric if metric.label == "Parameters")
    assert "For 35 classes" in shown.help
    heads = pmsi.engine.costs.costs_of(next(iter(PRESETS.values())).config, 35).head_parameters
    assert figure(page, "Parameters")[1] == f"{short(heads)} outside the backbone"


# Time


def finish(config, seconds, images):
    """Leave a finished run of the built-in birds, as training writes it."""
    run = Run.create(default_root(), config)
    result = {"seconds": seconds, "train_images": images, "classes": [str(number) for number in range(12)]}
    for name, about in (("started", {}), ("result.json", {"result": result})):
        (run.folder / name).write_text(json.dumps(about))
    return run


def test_a_time_is_what_equal_runs_took(page):
    config = next(iter(PRESETS.values())).config
    assert figure(page, "Time") == ("–", "not known yet")
    finish(config.with_(seed=4), 100.0, 720)
    finish(config.with_(seed=5), 200.0, 720)
    assert figure(checked(page.run()), "Time") == ("2 min 30 s", "as equal runs took")


def test_a_time_is_measured_on_demand(page, monkeypatch):
    asked = []
    monkeypatch.setattr("app.shared.measuring._seconds", lambda words: asked.append(words) or 61.0)
    widget(page, "number_input", "epochs").set_value(4).run()
    measure = next(button for button in page.button if button.label == "Measure")
    checked(measure.click().run())
    assert figure(page, "Time") == ("≈ 1 min 01 s", "by a trial")
    assert asked[0][0] == "train"
    assert asked[0][asked[0].index("--epochs") + 1] == "4"


def test_a_trial_that_fails_is_said_in_a_panel(page, monkeypatch):
    def refuse(words):
        raise RunError("The machine is busy.")

    monkeypatch.setattr("app.shared.measuring._seconds", refuse)
    widget(page, "number_input", "epochs").set_value(6).run()
    checked(next(button for button in page.button if button.label == "Measure").click().run())
    assert "The machine is busy" in page.error[0].value


# The address


def opened(**query):
    test = AppTest.from_function(site, default_timeout=30)
    for name, value in query.items():
        test.query_params[name] = value
    return checked(test.run())


def query_of(test):
    """The address; AppTest gives what was written in one form or the other."""
    return {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in test.query_params.items()
    }


def test_what_is_changed_stands_in_the_address(page):
    assert query_of(page) == {}
    widget(page, "number_input", "epochs").set_value(3).run()
    checked(widget(page, "toggle", "flip").set_value(False).run())
    assert query_of(page) == {"preset": "quick", "epochs": "3", "flip": "off"}
    checked(widget(page, "number_input", "epochs").set_value(28).run())
    assert query_of(page) == {"preset": "quick", "flip": "off"}
    choose(page, "Paper recipe")
    assert query_of(page) == {"preset": "paper"}


def test_a_link_opens_the_same_form(submitted):
    test = opened(preset="released", epochs="9", lr_new="0.02", train_per_class="7", per_image="on")
    expected = PRESETS["released"].config.with_(epochs=9, lr_new=0.02, train_per_class=7, per_image=True)
    assert test.code[0].value == command(expected)
    assert test.segmented_control(key="train-preset").value == "released"
    assert not test.warning
    checked(next(button for button in test.button if button.label == "Reset to the preset").click().run())
    assert test.code[0].value == command(PRESETS["released"].config)
    assert query_of(test) == {"preset": "released"}


@pytest.mark.parametrize("name", PRESETS)
def test_the_settings_of_any_run_can_be_linked_to(submitted, name):
    config = PRESETS[name].config.with_(epochs=9, lr_new=0.02, trackers=("tensorboard",), flip=False)
    about = address_of(config)
    assert about["preset"] == name
    test = opened(**about)
    assert test.code[0].value == command(config)
    assert not test.warning


def test_what_a_link_says_wrongly_is_left_out_with_a_word(submitted):
    test = opened(epochs="many", method="pmx", batch_size="1", lr_new="0.02", resize="48", preset="best")
    assert test.code[0].value == command(PRESETS["quick"].config.with_(lr_new=0.02))
    said = test.warning[0].value.replace("\\", "")
    for words in ("epochs = 'many'", "Unknown method 'pmx'", "batch_size = 1", "resize = 48", "Unknown preset 'best'"):
        assert words in said
    assert query_of(test) == {"preset": "quick", "lr_new": "0.02"}


def test_a_second_link_in_the_same_session_opens_its_own_form(submitted):
    test = opened(epochs="9")
    test.query_params.clear()
    test.query_params["preset"] = "quick"
    test.query_params["epochs"] = "5"
    assert "--epochs 5" in checked(test.run()).code[0].value


# From a run


def test_a_run_is_continued_with_changed_settings(submitted, make_run):
    run = make_run(epochs=7)
    test = opened(start_from=run.id, lr_new="0.5")
    assert test.code[0].value == command(run.config.with_(start_from=run.id, lr_new=0.5))
    assert query_of(test) == {"settings": run.id, "lr_new": "0.5"}
    assert not start_button(test).disabled
    checked(widget(test, "selectbox", "start_from").select_index(0).run())
    assert test.code[0].value == command(run.config.with_(lr_new=0.5))
    assert query_of(test)["start_from"] == "default"


def test_a_model_that_does_not_fit_is_explained_before_the_start(submitted, make_run):
    run = make_run()
    test = opened(start_from=run.id, backbone="resnet18")
    assert start_button(test).disabled
    assert "Backbone" in test.error[0].value


def test_a_link_to_a_run_that_is_not_there_opens_the_first_preset(submitted):
    test = opened(start_from="20200101-nowhere")
    assert "There is no run" in test.warning[0].value.replace("\\", "")
    assert test.code[0].value == command(PRESETS["quick"].config)


# Sweeps


def test_a_sweep_says_how_many_runs_and_queues_them(page, submitted):
    checked(page.multiselect(key="train-vary").set_value(["lr_new", "method"]).run())
    page.text_input(key="train-vary-lr_new").set_value("0.01, 0.02, 0.03").run()
    checked(page.text_input(key="train-vary-method").set_value("p,pmr").run())
    assert any("6 runs" in text.value for text in page.markdown)
    assert any("grid --vary lr_new=0.01,0.02,0.03 method=p,pmr" in code.value for code in page.code)
    checked(next(button for button in page.button if button.label == "Queue 6 runs").click().run())
    runs = list_runs(default_root())
    assert {(run.config.lr_new, run.config.method) for run in runs} == {
        (rate, method) for rate in (0.01, 0.02, 0.03) for method in ("p", "pmr")
    }
    assert sorted(submitted) == sorted(run.id for run in runs)


def test_a_sweep_stands_in_the_address(submitted):
    test = opened(vary=["seed=0,1", "epochs=2,3"])
    assert any("4 runs" in text.value for text in test.markdown)
    assert query_of(test)["vary"] == ["seed=0,1", "epochs=2,3"]


def test_values_that_are_none_are_refused(page):
    checked(page.multiselect(key="train-vary").set_value(["lr_new"]).run())
    checked(page.text_input(key="train-vary-lr_new").set_value("0.1,fast").run())
    assert "expected a number" in page.error[0].value
    assert not any(button.label.startswith("Queue") for button in page.button)


# The first batch


def test_the_first_batch_is_shown_on_demand(page, monkeypatch, tmp_path):
    monkeypatch.setenv("PMSI_CACHE", str(tmp_path / "cache"))
    assert not page.get("html")
    checked(page.toggle(key="kept-batch").set_value(True).run())
    assert query_of(page)["batch"] == "1"
    (shown,) = page.get("html")
    rows = shown.proto.body.split("<section")[1:]
    assert [row.count("<img") for row in rows] == [8, 8, 8, 8]
    for row, head in zip(rows, ("S3", "S4", "S5", "concat"), strict=True):
        assert f"Phase of {head}" in row
        assert 'alt="' in row


def test_mixed_images_name_both_classes_and_their_shares(page, monkeypatch, tmp_path):
    monkeypatch.setenv("PMSI_CACHE", str(tmp_path / "cache"))
    widget(page, "selectbox", "augmentation").set_value("mixup").run()
    checked(page.toggle(key="kept-batch").set_value(True).run())
    first, *_, last = page.get("html")[0].proto.body.split("<section")[1:]
    assert " % " in first
    assert " % " not in last, "the concat phase shows whole images"


# A public demo


def test_a_read_only_app_starts_nothing(submitted, monkeypatch):
    monkeypatch.setenv("PMSI_READ_ONLY", "1")
    test = opened(vary="seed=0,1")
    assert start_button(test).disabled
    assert next(button for button in test.button if button.label == "Queue 2 runs").disabled
    assert any("read-only" in caption.value for caption in test.caption)


def test_a_reset_brings_the_preset_back(page):
    epochs = next(iter(PRESETS.values())).config.epochs
    assert "Reset to the preset" not in [button.label for button in page.button]
    widget(page, "number_input", "epochs").set_value(epochs + 1).run()
    checked(next(button for button in page.button if button.label == "Reset to the preset").click().run())
    assert widget(page, "number_input", "epochs").value == epochs


def test_a_data_set_without_its_folder_asks_for_it(page):
    checked(widget(page, "selectbox", "dataset").set_value("cub").run())
    assert start_button(page).disabled
    assert "folder" in page.info[0].value


def test_a_folder_that_does_not_exist_is_named(page, tmp_path):
    widget(page, "selectbox", "dataset").set_value("folder").run()
    checked(widget(page, "text_input", "data").set_value(str(tmp_path / "nowhere")).run())
    assert start_button(page).disabled
    assert "nowhere" in page.error[0].value


def test_a_weights_file_that_does_not_exist_is_named(page):
    widget(page, "selectbox", "backbone").set_value("mobilenet_v2").run()
    widget(page, "selectbox", "weights").set_value("file").run()
    assert start_button(page).disabled
    assert "path" in page.info[0].value
    checked(widget(page, "text_input", "weights-file").set_value("/nowhere/w.pt").run())
    assert start_button(page).disabled
    assert "w.pt" in page.error[0].value


def test_settings_that_contradict_each_other_are_explained(page):
    widget(page, "selectbox", "method").set_value("baseline").run()
    checked(widget(page, "selectbox", "augmentation").set_value("rmg").run())
    assert start_button(page).disabled
    assert "progressive" in page.error[0].value


def test_an_error_names_fields_by_their_labels_and_a_button_takes_its_cause_away(page, tmp_path):
    """Settings that contradict each other, one that the form refuses, a file with two networks, a batch too large."""
    choose(page, PRESETS["paper"].title)
    widget(page, "selectbox", "dataset").set_value("plumage").run()
    widget(page, "selectbox", "weights").set_value("file").run()
    state = models.mobilenet_v2().state_dict()
    both = {"net": state, "ema": {name: value + 1 for name, value in state.items()}}
    torch.save(both, tmp_path / "w.pth")
    for kind, name, value, label, button in (
        ("text_input", "weights-file", str(tmp_path / "w.pth"), "Place in the weights file = ", "ema"),
        ("number_input", "epochs", 2, "Frozen epochs = 5", "from the first epoch"),
        ("number_input", "resize", 64, "Resize to = 64", "as usual"),
        ("number_input", "batch_size", 4000, "Batch size = 4000", "Take"),
    ):
        widget(page, kind, name).set_value(value).run()
        if name == "batch_size":
            start_button(page).click().run()  # only now are images counted
        said = page.error[0].value.replace("\\", "")
        assert label in said
        assert name == "epochs" or f"{name} = " not in said
        (fix, *_) = [each for each in page.button if button in each.label]
        checked(fix.click().run())
        assert not page.error
        assert not start_button(page).disabled
    assert "in ema" in "".join(caption.value for caption in page.caption)


def test_imagenet_weights_of_a_network_that_has_none_are_refused(page):
    widget(page, "selectbox", "backbone").set_value("tiny").run()
    checked(widget(page, "selectbox", "weights").set_value("imagenet").run())
    assert start_button(page).disabled


@pytest.mark.parametrize(
    ("typed", "ready", "said"),
    [
        ("timm:mobilenetv4_conv_small", True, ""),
        ("timm:mobilenetv4_conv_smal", False, "Did you mean timm:mobilenetv4_conv_small"),
        ("timm:vit_tiny_patch16_224", False, "cannot be a backbone"),
        ("resnet50", False, "Or timm:NAME"),
    ],
)
def test_a_backbone_that_is_typed_is_checked_before_the_start(page, typed, ready, said):
    box = widget(page, "selectbox", "backbone")
    box.options.append(typed)  # as typing does in a browser
    checked(box.set_value(typed).run())
    assert start_button(page).disabled != ready
    assert f"--backbone {typed}" in page.code[0].value
    assert said in "".join(error.value.replace("\\", "") for error in page.error)


def test_a_start_that_fails_is_said_in_a_panel(page, monkeypatch):
    def refuse(run, launcher):
        raise RunError("The queue is closed.")

    monkeypatch.setattr(jobs, "submit", refuse)
    checked(start_button(page).click().run())
    assert "The queue is closed" in page.error[0].value


def test_presets_are_configs_of_training():
    assert all(isinstance(preset.config, TrainConfig) for preset in PRESETS.values())
