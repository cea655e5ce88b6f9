"""The first page: what the steps say of the visitor's image is what the network computes of it."""

import io
import re

import numpy as np
import pytest
import torch
from pages import fine, links, png, words
from PIL import Image
from untrained import answer

from app.shared.cached_data import data_of_run, open_builtin
from app.shared.charts import answers_html
from app.shared.gates import IMAGES
from pmsi.data import open_dataset
from pmsi.data.preprocessing import normalize
from pmsi.explain.stages import sampled, steady
from pmsi.pictures.mosaics import mosaics
from pmsi.predictor import Predictor


def html(test):
    return "".join(element.value for element in fine(test).html)


def test_without_any_model_the_picture_and_its_mosaics_are_there(open_page):
    test = open_page("home", image=open_builtin().test[-1].key)
    assert html(test).count("<figure><img") == 4
    assert "Once a model is trained" in words(test)
    assert any("image=test" in link.query_string for link in links(test))


def test_each_step_shows_what_the_network_computes(make_run, open_page):
    run, data = make_run(method="pmr"), open_builtin()
    sample, predictor = data.test[0], Predictor.load(run)
    truth = data.classes[sample.label]
    seen = predictor.prepare(data.open_image(sample))
    test = open_page("home", image=sample.key)
    shown = html(test)
    for head, (best, *_) in predictor.predict(seen).heads.items():
        mark = "✓" if best.name == truth else "✗"
        assert f"<b>{head}</b> {best.name} {mark}</span><span>{best.probability:.0%}" in shown
    cuts = mosaics(seen, 3, borders=False)
    for r, head in ((3, "S3"), (2, "S4"), (1, "S5"), (0, "concat")):
        best = predictor.predict(cuts[r]).heads[head][0]
        assert re.search(rf"r = {r} → {head}</b><span>{best.name} [✓✗], {best.probability:.0%}<", shown)
    assert all(f"</i><b>S{n}</b>" in shown for n in range(1, 6))

    model = predictor.model
    x = model.vectors(model.backbone(normalize(torch.from_numpy(predictor.pixels(seen))[None])))
    x_m = model.interaction.f_m(torch.cat(x, dim=1))
    for n, x_n in zip((3, 4, 5), x, strict=True):
        gates = torch.sigmoid(x_m * x_n)  # Eq. 2
        assert f"S{n}: gates from {gates.min():.2f} to {gates.max():.2f}" in shown

    data = data_of_run(run).dataset
    some = sampled(data, IMAGES)
    gated = predictor.gated([predictor.prepare(data.open_image(one)) for one in some])
    right = [f"{sum(np.equal(found['S3'], [one.label for one in some]))}" for found in gated.answers.values()]
    assert f"S3 {', '.join(right)};" in words(test)
    assert f"{steady(gated.g['S5'])} of {len(gated.g['S5'][0])} in S5" in words(test)


def test_a_network_without_interaction_has_no_gates(make_run, open_page):
    make_run(method="baseline")
    shown = html(open_page("home"))
    assert "<b>classifier</b>" in shown
    assert 'class="strips"' not in shown


def test_an_image_that_the_first_head_got_wrong_and_the_last_right_is_shown(make_run, open_page):
    run = make_run(method="pmr", test_per_class=2)
    test = open_dataset(run.config).test
    answer(run, {}, first={test[3].key: 0, test[4].key: 5})
    said = words(open_page("home"))
    assert "Of 24 test images, S5 gets **2** wrong; mix gets **2** of these right, and **0** wrong" in said
    assert f"**{open_builtin().classes[test[3].label]}**, a test image" in said


def test_an_upload_goes_through_the_steps_too(make_run, open_page):
    make_run(method="pmr")
    test = open_page("home", source="upload")
    assert "Choose an image" in test.info[0].value
    test.session_state["uploads"] = {"ab": ("<b>x.png", Image.open(io.BytesIO(png())))}
    fine(test.run())
    assert "This network knows 12" in words(test)
    assert not re.search("[✓✗]", html(test).partition("Recorded")[0])
    assert "<b>x.png" not in html(test)


@pytest.mark.parametrize(("truth", "mark"), [("<i>", "✓"), ("Wren", "✗"), (None, "")])
def test_names_are_shown_as_they_are_and_marked_where_the_truth_is_known(truth, mark):
    assert f"&lt;i&gt;{mark and ' '}{mark}</span>" in answers_html({"mix": ("<i>", 0.5)}, truth, "<b>")
