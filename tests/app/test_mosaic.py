"""The mosaic page: four pictures of any image, and the rule with its numbers."""

import io

import numpy as np
from PIL import Image


def value_of(test, kind, name):
    return getattr(test, kind)(key=f"kept-{name}").value


def pictures(test):
    return test.image


def texts(test):
    return " ".join(element.value for element in test.html)


def test_a_sample_is_shown_in_four_depths_without_any_click(open_page):
    test = open_page("mosaic")
    assert not test.exception
    assert not test.error
    assert len(pictures(test)) == 4
    assert [picture.captions[0][:9] for picture in pictures(test)] == [f"**r = {r}**" for r in range(4)]


def test_the_first_page_leads_on_to_training(open_page):
    (link,) = open_page("mosaic").get("page_link")
    assert link.proto.page == "train"
    assert link.proto.label.startswith("Next")


def test_new_layout_draws_another_seed(open_page):
    test = open_page("mosaic")
    first = value_of(test, "number_input", "seed")
    shown = [picture.value[0] for picture in pictures(test)]
    button = next(button for button in test.button if button.label == "New layout")
    for _ in range(3):  # one in a thousand draws the same again
        button.click().run()
        if value_of(test, "number_input", "seed") != first:
            break
    assert test.query_params["seed"] == str(value_of(test, "number_input", "seed"))
    now = [picture.value[0] for picture in pictures(test)]
    assert now[0] == shown[0]
    assert now[1:] != shown[1:]


def test_a_link_opens_the_same_image_and_layout(open_page):
    from app.resources import open_builtin

    sample = open_builtin().test[-1]
    test = open_page("mosaic", image=sample.key, seed="11", permutation="cycle")
    assert not test.exception
    assert test.selectbox(key="picker-image").value == sample.key
    assert value_of(test, "number_input", "seed") == 11
    assert value_of(test, "segmented_control", "permutation") == "cycle"


def test_an_upload_is_shown_and_a_broken_one_refused_with_a_reason(open_page):
    file = io.BytesIO()
    Image.fromarray(np.zeros((50, 80, 3), dtype=np.uint8)).save(file, "PNG")
    test = open_page("mosaic", source="upload")
    assert not pictures(test)
    test.file_uploader(key="picker-upload").set_value(("bird.png", file.getvalue(), "image/png")).run()
    assert len(pictures(test)) == 4
    assert not test.error
    test.file_uploader(key="picker-upload").set_value(("bird.png", b"no image at all", "image/png")).run()
    assert not test.exception
    assert "not an image" in test.error[0].value


def test_the_image_of_a_folder_can_be_chosen(open_page, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "birds" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (40, 30), (20 * i, 90, 90)).save(tmp_path / "birds" / name / f"{i}.jpg")
    test = open_page("mosaic", source="data", data=str(tmp_path / "birds"))
    assert not test.exception
    assert test.selectbox(key="picker-class").options == ["one", "two"]
    assert len(pictures(test)) == 4


def test_a_folder_that_is_not_there_is_explained(open_page):
    test = open_page("mosaic", source="data", data="/nowhere/at/all")
    assert not test.exception
    assert "does not exist" in test.error[0].value


def test_the_rule_shows_the_papers_numbers(open_page):
    test = open_page("mosaic")
    assert "smallest patch 56 px" in texts(test)
    assert "receptive field 59 px" in texts(test)
    assert not test.warning


def test_a_broken_rule_and_a_size_that_cannot_be_halved_are_told_apart(open_page):
    test = open_page("mosaic", size="512")
    assert [warning.value for warning in test.warning] == [
        "The rule is broken for S3: the smallest patch is not smaller than the receptive field. It holds up to 464 px."
    ]
    test = open_page("mosaic", size="450")
    assert [warning.value for warning in test.warning] == [
        "450 px cannot be cut in half 3 times. The nearest size that works is 448 px."
    ]


def test_the_rule_is_stated_for_a_network_of_timm_too(open_page):
    test = open_page("mosaic", backbone="timm:mobilenetv2_100")
    assert not test.exception
    assert not test.error
    assert "receptive field 267 px" in texts(test)
    assert value_of(test, "selectbox", "backbone") == "timm:mobilenetv2_100"


def test_a_receptive_field_that_nobody_knows_is_not_made_up(open_page):
    test = open_page("mosaic", backbone="timm:mobilenetv4_hybrid_medium")
    assert not test.error
    assert "receptive field" not in texts(test)
    assert "S4 and S5" in test.info[0].value


def test_a_network_that_does_not_exist_is_named(open_page):
    test = open_page("mosaic", backbone="timm:mobilenetv9")
    assert not test.exception
    assert "mobilenetv9" in test.error[0].value
