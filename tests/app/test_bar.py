"""The bar of the exploring pages, and the Answer page below it: what is offered beside an image, and a table."""

import csv
import io

import pytest
from pages import class_folders, fine, kept, png, sound, words
from PIL import Image

from app.shared.cached_data import open_builtin
from app.shared.wording import name_of_run
from app.views.answer.page import as_csv
from pmsi.predictor import Predictor

KEY = "test/sootcap_finchling/0002"


@pytest.fixture
def strange(make_run, tmp_path):
    """A run of other classes."""
    return make_run(dataset="folder", data=str(class_folders(tmp_path / "birds")), test_per_class=None)


def opened(test, chip):
    """Return the labels of the lines in a chip of the bar, in their order, once it is open."""
    test.session_state[f"bar-{chip}"] = True
    lines = [button for button in fine(test.run()).button if (button.key or "").startswith(f"bar-{chip}-")]
    return [line.label.replace("\\", "") for line in lines]


def test_runs_that_know_the_class_come_first_and_the_run_beside_says_why_not(open_page, make_run, strange):
    run, baseline = make_run(), make_run(method="baseline", stage_num=1)
    test = fine(open_page("answer", image=KEY, run=run.id))
    lines = opened(test, "run")
    assert [name_of_run(one) in line for one, line in zip((baseline, run, strange), lines, strict=True)] == [True] * 3
    assert "trained on other classes" in words(test)
    lines = opened(test, "beside")
    assert [name_of_run(one) in line for one, line in zip((baseline, strange), lines, strict=True)] == [True] * 2
    assert "other classes" in words(test)
    next(button for button in test.button if button.key == f"bar-beside-{baseline.id}").click().run()
    assert fine(test).query_params["beside"] == baseline.id


def test_the_address_says_all_that_is_chosen_and_what_is_not_there_is_said(open_page, make_run):
    run = make_run()
    test = fine(open_page("answer"))
    assert (test.query_params["run"], test.query_params["source"]) == (run.id, "sample")
    assert test.query_params["image"] == open_builtin().test[0].key
    gone = fine(open_page("answer", run="gone", image="gone"))
    assert {gone.query_params["run"], gone.query_params["image"]} == {run.id, open_builtin().test[0].key}
    assert words(gone).count("another one is shown") == 2


def test_an_answer_is_that_of_the_output_that_is_chosen(open_page, make_run):
    run, data = make_run(), open_builtin()
    predictor = Predictor.load(run)
    said = predictor.predict(predictor.prepare(data.open_image(data.find(KEY))))
    test = fine(open_page("answer", image=KEY, head="S3"))
    assert said.heads["S3"][0].name in test.subheader[0].value
    sound(kept(test, "selectbox", "head").set_value(said.primary).run())
    assert test.query_params["head"] == said.primary
    assert all(f"<b>{head}</b> {guesses[0].name}" in words(test) for head, guesses in said.heads.items())


def test_an_image_of_no_class_of_the_run_is_neither_right_nor_wrong(open_page, strange):
    test = fine(open_page("answer", source="sample", image=KEY))
    assert "This network knows 2 classes of birds, not Sootcap Finchling; nearest: " in words(test)
    assert not {"✓", "✗"} & set(words(test))


def test_own_pictures_become_a_table_that_can_be_taken_along(open_page, make_run):
    run = make_run()
    test = open_page("answer", source="upload")
    test.session_state["uploads"] = {f"{i}": (f"{i}.png", Image.open(io.BytesIO(png(40 * i)))) for i in range(3)}
    table = fine(test.run()).dataframe[0].value
    assert "knows 12 invented birds; nearest" in words(test)
    rows = list(csv.DictReader(io.StringIO(as_csv(table.to_dict("records")))))
    assert as_csv([{"File": "=1+1.png", "Probability": 0.5}]).splitlines()[1] == "'=1+1.png,0.5"
    predictor = Predictor.load(run)
    for i, row in enumerate(rows):
        best = predictor.predict(predictor.prepare(Image.open(io.BytesIO(png(40 * i))))).best
        assert (row["File"], row["Answer"]) == (f"{i}.png", best.name)
        assert float(row["Probability"]) == pytest.approx(best.probability)
