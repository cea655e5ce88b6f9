"""The Train page: presets, the form, the command, and the start."""

import pytest
from streamlit.testing.v1 import AppTest

import pmsi.costs
from pmsi import jobs
from pmsi.config import TrainConfig
from pmsi.errors import RunError
from pmsi.flags import command
from pmsi.presets import PRESETS
from pmsi.reports import short
from pmsi.runs import list_runs


def site():
    import streamlit as st

    from app.run_session import page_of

    st.navigation([page_of("train"), page_of("runs"), page_of("maps"), page_of("robustness")]).run()


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


def costs_of(test):
    """The line that says what the system costs, with plain spaces; None where there is none."""
    lines = [caption.value.replace("\N{NO-BREAK SPACE}", " ") for caption in test.caption]
    return next((line for line in lines if "multiply-adds" in line), None)


def test_the_costs_of_the_paper_s_model_are_shown_before_its_folder_is_given(page):
    """METHOD: 2.2 M and 8.3 M parameters, 1.2 and 7.7 G multiply-adds."""
    choose(page, "Paper recipe")
    line = costs_of(page)
    assert line.startswith("10.5 M parameters, 8.30 M of them outside the backbone · 8.92 G multiply-adds to recognise")
    assert "107 G to learn" in line
    assert "GB of memory to train" in line


def test_the_costs_follow_the_form(page):
    before = costs_of(page)
    checked(widget(page, "number_input", "batch_size").set_value(8).run())
    assert costs_of(page).rpartition(" · ")[0] == before.rpartition(" · ")[0]
    assert costs_of(page) != before
    checked(widget(page, "selectbox", "method").set_value("baseline").run())
    assert costs_of(page).partition(" · ")[0] != before.partition(" · ")[0]


def test_costs_are_counted_again_only_where_something_that_costs_has_changed(page, monkeypatch):
    counted, count = [], pmsi.costs.costs_of
    monkeypatch.setattr(
        pmsi.costs, "costs_of", lambda config, classes: counted.append(config) or count(config, classes)
    )
    widget(page, "number_input", "epochs").set_value(5).run()
    checked(widget(page, "number_input", "lr_new").set_value(0.07).run())
    assert not counted
    checked(widget(page, "number_input", "batch_size").set_value(14).run())
    assert [config.batch_size for config in counted] == [14]


def test_a_system_that_cannot_be_has_no_costs(page):
    widget(page, "selectbox", "method").set_value("baseline").run()
    checked(widget(page, "selectbox", "augmentation").set_value("rmg").run())
    assert costs_of(page) is None


@pytest.mark.parametrize(("dataset", "classes"), [("plumage", 12), ("cub", 200), ("cars", 196), ("folder", 200)])
def test_costs_are_counted_for_the_classes_of_the_data_set(page, dataset, classes):
    """Of a folder that nobody has looked into, as many are assumed as CUB has, and the help says so."""
    checked(widget(page, "selectbox", "dataset").set_value(dataset).run())
    (line,) = (caption for caption in page.caption if "multiply-adds" in caption.value)
    assert line.help.startswith(f"For {classes} classes")
    config = next(iter(PRESETS.values())).config
    heads = pmsi.costs.costs_of(config, classes).head_parameters
    assert f"{short(heads)} of them outside" in costs_of(page)


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
