"""The form: a widget for each field, with the field's range, choices and paper value."""

from dataclasses import fields

import pytest
from pages import sound, words
from streamlit.testing.v1 import AppTest

from pmsi.config import CONFIGS, TrainConfig

HELP = {about.name: about.metadata["help"] for about in fields(TrainConfig)}


def train_form_page(start):
    import streamlit as st

    from app.views.train.form import train_form

    found = train_form("t", start, {}, st.container())
    st.session_state["found"] = found


def general_form_page(task):
    import streamlit as st

    from app.views.train.form import form
    from pmsi.config import CONFIGS

    st.session_state["found"] = form(CONFIGS[task], "g", CONFIGS[task]())


def shown(page=train_form_page, **about):
    return sound(AppTest.from_function(page, kwargs=about, default_timeout=30).run())


@pytest.fixture
def test():
    """The form that starts from the paper's values."""
    return shown(start=TrainConfig())


def enter(test, kind, name, value):
    """Give a value to the widget of a field, and return the config that comes of it."""
    sound(getattr(test, kind)(key=f"t-{name}").set_value(value).run())
    return found(test)


def found(test):
    return test.session_state["found"]


def explained(test, name):
    """What the form says below a field, with plain spaces."""
    (line,) = [caption.value for caption in test.caption if caption.value.startswith(HELP[name])]
    return line.removeprefix(HELP[name]).replace("\N{NO-BREAK SPACE}", " ")


START = TrainConfig(
    backbone="timm:mobilenetv4_conv_small", weights="none", image_size=96, epochs=3, train_per_class=4, lr_new=0.02,
    flip=False, data=None,
)  # fmt: skip


@pytest.mark.parametrize("task", CONFIGS)
def test_an_untouched_form_returns_what_it_started_from(task):
    assert found(shown(general_form_page, task=task)) == CONFIGS[task]()
    for start in (TrainConfig(), START) if task == "train" else ():
        assert found(shown(start=start)) == start


def test_every_field_has_one_widget_with_its_help_in_sight(test):
    widgets = [*test.selectbox, *test.multiselect, *test.number_input, *test.text_input, *test.toggle]
    assert {f"t-{name}" for name in HELP} <= {widget.key.removesuffix("-no") for widget in widgets}
    for help in HELP.values():
        assert sum(caption.value.startswith(help) for caption in test.caption) == 1


def test_the_papers_value_is_said_of_each_kind_of_field_and_stands_out_where_another_is_chosen(test):
    said = {
        "dataset": " **Paper: CUB-200-2011.**",  # the built-in data are not the paper's
        "epochs": " Paper: 150.",
        "flip": " Paper: on.",
        "resize": " Paper: 512.",
        "backbone": " Paper: MobileNetV2.",
        "channels": " Paper: half of the last stage's.",
        "start_from": "",  # the paper says nothing about it
    }
    assert {name: explained(test, name) for name in said} == said
    assert enter(test, "number_input", "epochs", 7).epochs == 7
    assert explained(test, "epochs") == " **Paper: 150.**"
    assert enter(test, "number_input", "seed", 3).seed == 3
    assert explained(test, "seed") == "", "seeds are not compared"


def test_an_optional_number_can_be_emptied_to_automatic():
    test = shown(start=START)
    assert test.number_input(key="t-train_per_class").value == 4
    assert enter(test, "number_input", "train_per_class", None).train_per_class is None
    assert test.number_input(key="t-train_per_class").placeholder == "all"


def test_an_error_between_fields_is_one_line_and_no_config(test):
    assert enter(test, "number_input", "resize", 200) is None
    assert len(test.error) == 1
    assert "below Image size" in words(test)
    assert enter(test, "number_input", "resize", None) == TrainConfig()
    assert not test.error


def test_a_file_of_weights_and_a_data_set_in_a_folder_need_a_path(test):
    assert enter(test, "selectbox", "weights", "file").weights == ""
    assert enter(test, "text_input", "weights-file", " /some/file.safetensors ").weights == "/some/file.safetensors"
    assert enter(test, "selectbox", "weights", "none").weights == "none"
    assert test.text_input(key="t-data-no").disabled
    enter(test, "selectbox", "dataset", "cub")
    assert not test.text_input(key="t-data").disabled
    assert enter(test, "text_input", "data", "/data/birds").data == "/data/birds"
    assert enter(test, "selectbox", "dataset", "plumage").data is None
