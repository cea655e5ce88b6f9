"""The form: a widget for each field, with the field's range, choices and paper value."""

from dataclasses import fields

import pytest
from streamlit.testing.v1 import AppTest

from app.shared.fields import entries
from pmsi.config import CONFIGS, TrainConfig


def train_form_page(start):
    import streamlit as st

    from app.views.train.form import train_form

    found = train_form("t", start, st.container(), st.container())
    st.session_state["found"] = found


def general_form_page(task):
    import streamlit as st

    from app.shared.forms import form
    from pmsi.config import CONFIGS

    st.session_state["found"] = form(CONFIGS[task], "g", CONFIGS[task]())


def shown(start=None):
    test = AppTest.from_function(train_form_page, kwargs={"start": start or TrainConfig()}, default_timeout=30)
    return checked(test.run())


def checked(test):
    assert not test.exception, test.exception
    return test


def found(test):
    return test.session_state["found"]


START = TrainConfig(
    backbone="tiny", weights="none", image_size=96, epochs=3, train_per_class=4, lr_new=0.02, flip=False, data=None
)


@pytest.mark.parametrize("start", [TrainConfig(), START], ids=["the paper's", "another"])
def test_an_untouched_form_returns_what_it_started_from(start):
    assert found(shown(start)) == start


@pytest.mark.parametrize("task", CONFIGS)
def test_every_task_has_a_form(task):
    test = checked(AppTest.from_function(general_form_page, kwargs={"task": task}, default_timeout=30).run())
    assert found(test) == CONFIGS[task]()


def test_every_field_has_one_widget_with_its_help_in_sight():
    test = shown()
    widgets = [*test.selectbox, *test.multiselect, *test.number_input, *test.text_input, *test.toggle]
    keys = {widget.key for widget in widgets}
    assert {f"t-{about.name}" for about in fields(TrainConfig)} <= keys
    said = [caption.value for caption in test.caption]
    for about in fields(TrainConfig):
        assert sum(line.startswith(about.metadata["help"]) for line in said) == 1


def explained(test, name):
    """What the form says below a field, with plain spaces."""
    help = next(about.metadata["help"] for about in fields(TrainConfig) if about.name == name)
    lines = [caption.value for caption in test.caption if caption.value.startswith(help)]
    return lines[0].removeprefix(help).replace("\N{NO-BREAK SPACE}", " ")


def test_a_table_is_offered_with_its_titles():
    choices = shown().selectbox(key="t-backbone").options
    assert "MobileNetV2" in choices
    assert "ResNet-18" in choices


def test_a_backbone_of_timm_is_typed():
    test = shown()
    box = test.selectbox(key="t-backbone")
    box.options.append("timm:resnet50")  # as typing does in a browser
    checked(box.set_value("timm:resnet50").run())
    assert found(test).backbone == "timm:resnet50"
    assert "timm:resnet50" in test.selectbox(key="t-backbone").options
    checked(test.selectbox(key="t-backbone").set_value("tiny").run())
    assert found(test).backbone == "tiny"
    start = TrainConfig(backbone="timm:mobilenetv4_conv_small")
    assert found(shown(start)) == start


def test_a_change_is_returned_and_the_papers_value_stands_out():
    test = shown()
    assert explained(test, "epochs") == " Paper: 150."
    checked(test.number_input(key="t-epochs").set_value(7).run())
    assert found(test).epochs == 7
    assert explained(test, "epochs") == " **Paper: 150.**"


def test_the_papers_value_is_said_of_each_kind_of_field():
    test = shown()
    assert explained(test, "dataset") == " **Paper: CUB-200-2011.**", "the built-in data are not the paper's"
    assert explained(test, "flip") == " Paper: on."
    assert explained(test, "resize") == " Paper: 512."
    assert explained(test, "backbone") == " Paper: MobileNetV2."
    assert explained(test, "channels") == " Paper: half of the last stage's."
    assert explained(test, "start_from") == "", "the paper says nothing about it"


def test_seeds_are_not_compared_with_the_paper():
    test = shown()
    checked(test.number_input(key="t-seed").set_value(3).run())
    assert found(test).seed == 3
    assert explained(test, "seed") == ""


def test_an_optional_number_can_be_emptied_to_automatic():
    test = shown(START)
    assert test.number_input(key="t-train_per_class").value == 4
    checked(test.number_input(key="t-train_per_class").set_value(None).run())
    assert found(test).train_per_class is None
    assert test.number_input(key="t-train_per_class").placeholder == "all"


def test_an_error_between_fields_is_one_line_and_no_config():
    test = shown()
    checked(test.number_input(key="t-resize").set_value(200).run())
    assert found(test) is None
    assert len(test.error) == 1
    assert "below image" in test.error[0].value.replace("\\", "")
    checked(test.number_input(key="t-resize").set_value(None).run())
    assert found(test) == TrainConfig()
    assert not test.error


def test_a_file_of_weights_needs_a_path():
    test = shown()
    checked(test.selectbox(key="t-weights").set_value("file").run())
    assert found(test).weights == ""
    checked(test.text_input(key="t-weights-file").set_value(" /some/file.safetensors ").run())
    assert found(test).weights == "/some/file.safetensors"
    checked(test.selectbox(key="t-weights").set_value("none").run())
    assert found(test).weights == "none"


def test_only_a_data_set_that_is_read_from_a_folder_asks_for_one():
    test = shown()
    assert test.text_input(key="t-data").disabled
    checked(test.selectbox(key="t-dataset").set_value("cub").run())
    assert not test.text_input(key="t-data").disabled
    checked(test.text_input(key="t-data").set_value("/data/birds").run())
    assert found(test).data == "/data/birds"
    checked(test.selectbox(key="t-dataset").set_value("plumage").run())
    assert found(test).data is None


def test_values_are_shown_in_words():
    known = entries(TrainConfig)
    assert known["flip"].show(True) == "on"
    assert known["train_per_class"].show(None) == "all"
    assert known["lr_new"].show(0.001) == "0.001"
    assert known["weights"].show("imagenet") == "ImageNet"
    assert known["trackers"].show(("tensorboard", "mlflow")) == "TensorBoard, MLflow"
    assert known["trackers"].show(()) == "none"
