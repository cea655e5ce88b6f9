"""The first page: the method in one picture, with the visitor's image and a model's answers in it."""

import re

import pytest
from pages import fine, png

from app.shared.cached_data import open_builtin
from app.views.home.flow import Answer, flow
from pmsi.predictor import Predictor

LINKS = dict.fromkeys(("image", "mosaics", "stages", "interaction", "heads"), "train")


def picture(test):
    return next(element.value for element in fine(test).html if 'class="flow"' in element.value)


def test_without_any_model_the_picture_is_there_and_leads_to_the_pages_with_its_image(open_page):
    key = open_builtin().test[-1].key
    shown = picture(open_page("home", image=key))
    assert "Once a model is trained" in shown
    assert shown.count("data:image/jpeg") == 5  # the photo, and one for each phase
    addresses = re.findall(r'<a data-go="\d" href="([^"]+)"', shown)
    assert [address.partition("?")[0] for address in addresses] == ["perturb", "mosaic", "maps", "train", "tables"]
    assert all(f"image={key.replace('/', '%2F')}" in address for address in addresses[:3])


def test_a_trained_model_says_what_it_sees_by_head(open_page, make_run):
    run, data = make_run(method="pmr"), open_builtin()
    sample, predictor = data.test[0], Predictor.load(run)
    prediction = predictor.predict(predictor.prepare(data.open_image(sample)))
    shown = picture(open_page("home", image=sample.key))
    assert list(prediction.heads) == ["S3", "S4", "S5", "concat", "mix"]
    for head, guesses in prediction.heads.items():
        mark = "✓" if guesses[0].name == data.classes[sample.label] else "✗"
        assert f"<b>{head}</b> {guesses[0].name} {mark}" in shown
    assert len(re.findall(r"\d%</span>", shown)) == 5
    assert f"run={run.id}" in shown


def test_an_upload_goes_through_the_picture_too(open_page):
    test = open_page("home", source="upload")
    assert "Choose an image" in test.info[0].value
    test.file_uploader(key="picker-upload").set_value(("<b>x.png", png(), "image/png")).run()
    assert "source=upload" in picture(test)
    assert "<b>x.png" not in picture(test)


def test_texts_from_outside_are_escaped():
    answers = {"S3": Answer("<script>", 0.5, False)}
    html = flow('<img onerror="x">', b"", [b""] * 4, answers, "<i>note", LINKS)
    assert not re.search(r"<script>|<img onerror|<i>note", html)
    assert "&lt;script&gt; ✗" in html


@pytest.mark.parametrize(("right", "mark"), [(True, "Wren ✓<"), (False, "Wren ✗<"), (None, "Wren<")])
def test_right_and_wrong_are_told_apart_where_they_are_known(right, mark):
    assert mark in flow("x", b"", [b""] * 4, {"mix": Answer("Wren", 0.5, right)}, "", LINKS)
