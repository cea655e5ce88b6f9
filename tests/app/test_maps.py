"""The maps page: three stages of one or two runs, for any output and class."""

from app.wording import name_of_run
from pmsi.lifecycle import enqueue
from pmsi.runs import Run, State


def value_of(test, kind, name):
    return getattr(test, kind)(key=f"kept-{name}").value


def captions(test):
    return [image.captions[0] for image in test.image]


def sentences(test):
    return " ".join(element.value for element in test.markdown)


def test_without_a_run_there_is_one_button_that_leads_to_training(open_page):
    test = open_page("maps")
    assert not test.exception
    assert [button.label for button in test.button] == ["Train a model"]
    test.button[0].click().run()
    assert not test.exception
    assert "maps" not in [title.value for title in test.title]
    assert any(button.label == "Start training" for button in test.button)


def test_three_stages_are_shown_with_the_prediction(open_page, make_run):
    make_run()
    test = open_page("maps")
    assert not test.exception
    assert not test.error
    assert [caption[:6] for caption in captions(test)[1:4]] == ["**S3**", "**S4**", "**S5**"]
    assert "map 8 × 8" in captions(test)[1]
    assert "at output **mix**" in sentences(test)


def test_any_output_and_class_can_be_explained(open_page, make_run):
    make_run()
    test = open_page("maps", head="S4", **{"class": "Gorget Crestjay"})
    assert not test.exception
    assert "Maps explain **Gorget Crestjay** at output **S4**" in sentences(test)
    assert "no positive evidence" in captions(test)[3] or "S5" in captions(test)[3]


def test_a_second_run_without_that_output_says_what_it_explains(open_page, make_run):
    pmr, baseline = make_run(), make_run(method="baseline")
    test = open_page("maps", run=pmr.id, beside=baseline.id, head="S3")
    assert not test.exception
    assert len(captions(test)) == 9  # two times the image and three maps, and the colour bar
    assert "it has no output S3, so classifier is explained" in sentences(test)


def test_a_run_that_is_gone_is_named_and_another_one_shown(open_page, make_run):
    run = make_run()
    test = open_page("maps", run="20200101-000000-train-gone-0000")
    assert not test.exception
    assert value_of(test, "selectbox", "run") == run.id
    assert "another one is shown" in " ".join(caption.value for caption in test.caption)


def test_while_the_first_run_is_trained_its_page_is_offered(open_page, runs_folder, tiny_config):
    run = Run.create(runs_folder, tiny_config)
    enqueue(run.folder, (State.CREATED,), "none")
    test = open_page("maps")
    assert not test.exception
    assert not test.button
    assert "being trained now" in sentences(test)


def test_two_runs_are_told_apart_by_the_same_names_everywhere(open_page, make_run):
    first, second = make_run(), make_run()
    test = open_page("maps", run=first.id, beside=second.id)
    assert all(name_of_run(run) in sentences(test) for run in (first, second))
    assert [name_of_run(run) in test.selectbox(key="kept-run").options[i] for i, run in enumerate((second, first))]
