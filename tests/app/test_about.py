"""What a page shows is about the image, classes, split and runs that are shown, whatever has changed since."""

import contextlib
import io
import json
import re
from urllib.parse import parse_qs

import numpy as np
import pytest
from pages import button, click, links, part, png, words
from pages import fine as shown
from PIL import Image

from app.shared.cached_data import data_of_run, open_builtin, open_folder, thumbnail_once
from app.shared.cached_models import explain_once, predict_once, predictor_of
from app.shared.memory import forget
from app.shared.panels import Picked
from app.shared.wording import name_of_run
from app.views.maps.explained import PREDICTED, SIDE, Wanted, figure_of, seen
from app.views.numbers.maps import reports_on
from app.views.sweeps.cached import results_once, sweep_picture_once
from pmsi import tasks
from pmsi.base.errors import DataError, ImageError, PMSIError
from pmsi.config import MapsConfig, RobustnessConfig
from pmsi.pictures.encoding import data_uri, jpeg
from pmsi.pictures.sheets import enlarged, thumbnail
from pmsi.runs import Run, jobs
from pmsi.runs.lifecycle import begin
from pmsi.runs.record import record_of


@pytest.fixture(autouse=True)
def _own_cache(cache_folder):
    """Nothing that another test has read."""
    forget()


def paint(file, seed):
    """Write a picture of noise, the same for a seed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((72, 72), Image.Resampling.NEAREST).save(file)


@pytest.fixture
def birds(tmp_path):
    """Class folders of three birds, with eight pictures each."""
    for number, name in enumerate(("jay", "tit", "wren")):
        for i in range(8):
            paint(tmp_path / "birds" / name / f"{i}.png", 100 * number + i)
    return tmp_path / "birds"


@pytest.fixture
def trained(make_run, birds):
    """A run on the birds, with a split of its own, that took the first jay for a tit and knew all else."""
    run = make_run(dataset="folder", data=str(birds), split="stratified", split_seed=5, test_per_class=None)
    record = record_of(run)
    labels = [image.label for image in record.test]
    given = [1, *labels[1:]]
    heads = {"S5": given, "mix": given}
    (run.folder / "predictions.json").write_text(
        json.dumps({"keys": [image.key for image in record.test], "labels": labels, "predicted": heads})
    )
    return run


def grid(test):
    return part(test, "maps_grid")


def tiles(test):
    return [one.label.replace("\\", "") for one in test.button if one.key.startswith("open-")]


# Images are known by their pixels


def test_two_folders_with_the_same_names_have_their_own_answers_maps_and_thumbnails(open_page, make_run, tmp_path):
    run = make_run()
    predictor = predictor_of(run)
    for number in (0, 1):
        home = tmp_path / f"photos {number}"
        for i in range(4):
            paint(home / "Gorget Crestjay" / f"{i}.png", 10 * number + i)
            paint(home / "Dusk Crestjay" / f"{i}.png", 50 + i)
        query = {"source": "data", "data": str(home), "image": "Gorget Crestjay/1.png", "run": run.id}
        (row,) = grid(shown(open_page("maps", **query)))["rows"]
        image = Image.open(home / "Gorget Crestjay" / "1.png")
        prepared = predictor.prepare(image)
        expected = predictor.explain(prepared)
        best = expected.prediction.best
        assert f"{best.name} {best.probability:.0%}" in row["sights"][0]["verdict"]
        assert row["image"]["src"] == data_uri(jpeg(enlarged(prepared, SIDE), 84))
        assert predict_once(run, prepared).best == best
        cached = explain_once(run, prepared, expected.head, None)
        assert all(np.array_equal(cached.maps[stage], values) for stage, values in expected.maps.items())
        folder = open_folder(str(home))
        small = thumbnail_once(folder, folder.find("Gorget Crestjay/1.png"), 64)
        assert small == jpeg(thumbnail(image, 64), quality=82)


def test_birds_of_another_seed_are_shown_as_they_are(open_page, make_run):
    run, usual = make_run(split_seed=3), open_builtin()
    own = data_of_run(run).dataset
    sample = own.test[0]
    assert thumbnail_once(own, sample, 64) != thumbnail_once(usual, usual.find(sample.key), 64)
    mine, other = (
        grid(shown(open_page("maps", run=run.id, image=sample.key, source=source)))["rows"][0]
        for source in ("run", "sample")
    )
    assert mine["image"]["src"] != other["image"]["src"]
    again = open_page("mosaic", run=run.id, image=sample.key, source="run")
    assert "run" in parse_qs(links(again, "Explain")[0].query_string)


def exchange(a, b):
    aside = a.with_name("aside")
    a.rename(aside)
    b.rename(a)
    aside.rename(b)


def test_a_file_that_has_other_pixels_than_a_moment_ago_is_not_shown_under_its_old_name(birds):
    jay = open_folder(str(birds)).find("jay/1.png")
    exchange(birds / "jay" / "1.png", birds / "wren" / "1.png")
    with pytest.raises(ImageError):
        thumbnail_once(open_folder(str(birds)), jay, 64)
    now = open_folder(str(birds))
    assert thumbnail_once(now, now.find("wren/1.png"), 64) == thumbnail_once(now, jay, 64)


def test_a_sweeps_pictures_are_those_that_it_was_shown(trained, birds):
    sweep = Run.create(trained.folder.parent, RobustnessConfig(of=(trained.id,), perturbations=("gaussian_noise=5",)))
    assert tasks.execute(sweep) == "finished"
    results = results_once(sweep)
    labels = results.report["labels"]
    first, last, gone = 0, len(labels) - 1, labels.index(1)
    before = results.picture(open_folder(str(birds)), first)
    files = [birds / results.report["keys"][i] for i in (first, last, gone)]
    exchange(*files[:2])
    paint(files[2], 991)
    forget()
    assert sweep_picture_once(results, first) == jpeg(before)
    with pytest.raises(DataError, match="gone"):
        sweep_picture_once(results, gone)


# Labels are named by the run's own classes


def rename(home):
    (home / "tit").rename(home / "coal tit")


def add(home):
    for i in range(8):
        paint(home / "ani" / f"{i}.png", 900 + i)


def remove(home):
    for file in (home / "wren").iterdir():
        file.unlink()
    (home / "wren").rmdir()


@pytest.mark.parametrize("change", [rename, add, remove])
def test_a_right_answer_stays_right_whatever_becomes_of_the_classes(open_page, trained, birds, change):
    count = len(record_of(trained).test)
    change(birds)
    test = shown(open_page("data", set="folder", data=str(birds), run=trained.id, show="mistakes"))
    assert f"**1 of {count}** test images are wrong" in words(test)
    wrong = [label for label in tiles(test) if "✗" in label]
    assert len(wrong) == 1
    assert wrong[0].startswith("jay")
    assert "✗ tit" in wrong[0]
    assert not any("ani" in label for label in tiles(test))
    assert re.search({rename: "'tit'.* 'coal tit'", add: "'ani'", remove: "'wren'"}[change], words(test))
    test = shown(open_page("data", set="folder", data=str(birds), run=trained.id, show="mistakes", by="pairs"))
    assert "**jay** and **tit**" in words(test)
    marked = tiles(shown(open_page("data", set="folder", data=str(birds), run=trained.id, split="test")))
    assert sum("✗" in label for label in marked) <= 1
    assert not any("✗" in label and "jay" not in label for label in marked)


def test_an_image_that_moved_keeps_its_answer_and_one_with_other_pixels_loses_it(open_page, trained, birds):
    first, second = record_of(trained).test[:2]
    (birds / first.key).rename(birds / "jay" / "moved.png")
    paint(birds / second.key, 77)
    test = shown(open_page("data", set="folder", data=str(birds), run=trained.id, open="jay/moved.png"))
    assert "✗ **mix**: tit" in words(test)
    assert "1 of the" in words(test)  # the other one is gone
    test = shown(open_page("data", set="folder", data=str(birds), run=trained.id, open=second.key))
    assert "**mix**" not in words(test)


def test_a_link_opens_the_picture_that_it_stands_under_wherever_it_lies(open_page, trained, birds):
    moved, record = birds / "jay" / "moved.png", record_of(trained)
    (birds / record.test[1].key).rename(moved)
    paint(birds / "wren" / "new.png", 4711)
    for key in ("jay/moved.png", "wren/new.png", record.test[-1].key, record.train[0].key):
        test = shown(open_page("data", set="folder", data=str(birds), run=trained.id, open=key))
        link = next(link.proto for link in test.get("page_link") if link.proto.label == "Explain")
        query = {name: value for name, (value,) in parse_qs(link.query_string).items()}
        row = grid(shown(open_page("maps", **query)))["rows"][0]
        seen = predictor_of(trained).prepare(Image.open(birds / key))
        assert row["image"]["src"] == data_uri(jpeg(enlarged(seen, SIDE), 84))


# Test images are those of the run's own split


def test_a_runs_test_images_are_those_of_its_record(open_page, trained, birds):
    record = record_of(trained)
    for i in range(8, 14):
        paint(birds / "jay" / f"{i}.png", i)
    paint(birds / record.test[0].key, 555)
    then = data_of_run(trained)
    assert then.dataset.classes == record.classes
    assert [sample.digest for sample in then.dataset.test] == [image.digest for image in record.test[1:]]
    assert not {sample.digest for sample in then.dataset.test} & {image.digest for image in record.train}
    assert f"1 of the {len(record.test)} test images" in " ".join(then.reasons)
    test = shown(open_page("maps", run=trained.id, more="class", count="8", image=record.test[1].key, source="run"))
    titles = {row["title"] for row in grid(test)["rows"][1:]}
    assert titles == {f"jay, {image.key[4:-4]}" for image in record.test[2:] if image.label == 0}
    assert "gone" in words(test)


# What can be compared


def besides(test):
    """Return the ids of the runs that the bar offers beside the one that is shown."""
    test.session_state["bar-beside"] = True
    buttons = [one.key.removeprefix("bar-beside-") for one in shown(test.run()).button if "bar-beside-" in one.key]
    return [id for id in buttons if id]


def test_beside_a_run_stands_what_can_be_compared_and_the_rest_with_its_reasons(open_page, make_run, trained):
    small = make_run(method="baseline", stage_num=1, image_size=96)
    alike = make_run(method="baseline", stage_num=1)
    run = make_run()
    test = shown(open_page("perturb", run=run.id))
    assert besides(test) == [alike.id, small.id, trained.id], "the baseline that began like it is the first"
    assert "cannot be compared" in words(test).lower()
    click(test, f"bar-beside-{alike.id}")
    assert test.query_params["beside"] == alike.id
    insisted = shown(open_page("maps", run=run.id, beside=trained.id))
    assert "cannot be compared" in insisted.warning[0].value
    assert not shown(open_page("maps", run=run.id, beside=small.id)).warning


def test_a_sweep_takes_runs_of_one_kind_and_refuses_others_at_once(open_page, make_run, trained, monkeypatch):
    monkeypatch.setattr(jobs, "submit", lambda run, launcher: pytest.fail("started"))
    run, _, live = make_run(), make_run(seed=1), make_run(seed=2)
    with contextlib.ExitStack() as stack:
        stack.callback(begin(live.folder).release)
        test = shown(open_page("sweeps", run=run.id))
        assert len(test.multiselect(key="kept-sweep-of").options) == 2
        first = open_page("sweeps").multiselect(key="kept-sweep-of").value
        assert len(first) == 1
        assert live.id not in first, "a run in training is not chosen for the visitor, even the newest"
        with pytest.raises(PMSIError, match="running"):
            tasks.check(RobustnessConfig(of=(run.id, live.id)), live.folder.parent)
    test = open_page("sweeps", **{"sweep-of": f"{run.id},{trained.id}"})
    assert "cannot be swept together" in words(test)
    assert button(test, "Start the sweep").disabled


def test_who_insists_sweeps_runs_of_other_splits(open_page, trained, make_run):
    other = make_run(dataset="folder", data=trained.config.data, split_seed=6, test_per_class=None)
    query = {"sweep-of": f"{trained.id},{other.id}"}
    test = open_page("sweeps", **query)
    assert re.search(r"\d of \d+ test images of .* were among the training images", words(test))
    assert "tick “Insist”" in words(test)
    assert "--insist" not in words(test)
    test = shown(test.checkbox(key="kept-sweep-insist").check().run())
    assert not button(test, "Start the sweep").disabled
    assert any("--insist" in code.value for code in test.code)


def test_who_insists_starts_from_a_run_that_was_trained_on_test_images(open_page, trained):
    test = open_page("train", settings=trained.id, split_seed="6")
    (refusal,) = [error.value.replace("\\", "") for error in test.error]
    assert re.search(r"\d of \d+ test images", refusal)
    assert "tick “Insist”" in refusal
    (box,) = [toggle for toggle in test.toggle if toggle.label == "Insist"]
    test = shown(box.set_value(True).run())
    assert not button(test, "Start training").disabled


def test_numbers_of_an_earlier_model_are_not_the_runs(make_run):
    run = make_run()
    about = {"method": "gradcam", "head": "mix", "stages": ["S5"], "tolerance": 15.0, "images": 12}
    report = Run.create(run.folder.parent, MapsConfig(of=run.id))
    (report.folder / "started").write_text('{"at": 100}')
    (report.folder / "result.json").write_text(json.dumps({"at": 200, "result": about}))
    for ended, count in ((50, 1), (150, 0)):
        (run.folder / "result.json").write_text(json.dumps({"at": ended, "result": {}}))
        assert len(reports_on(run, "gradcam", "mix")) == count


# Links and defaults


def test_the_newest_run_that_knows_the_class_answers_and_links_carry_it(open_page, make_run, trained):
    from pmsi.runs import list_runs

    plumage = make_run()
    newest = make_run(dataset="folder", data=trained.config.data, seed=9)
    assert list_runs(plumage.folder.parent)[0].id == newest.id
    test = shown(open_page("home", source="sample", image="test/gorget_crestjay/0000"))
    asked = [parse_qs(links(test, label)[0].query_string) for label in ("Answer", "Explain", "Mosaic")]
    assert [query["run"] for query in asked] == [[plumage.id]] * 3
    key = asked[0]["image"][0]
    assert open_page("perturb", source="sample", image=key).query_params["run"] == plumage.id
    strange = shown(open_page("perturb", source="sample", image=key, run=newest.id))
    assert "This network knows 3 classes of birds" in words(strange)
    assert not re.search("[✓✗]", words(strange))


def test_an_upload_is_neither_right_nor_wrong(open_page, make_run):
    make_run()
    for page in ("home", "perturb", "maps"):
        test = open_page(page, source="upload")
        test.session_state["uploads"] = {"ab": ("x.png", Image.open(io.BytesIO(png())))}
        test.run()
        assert "This network knows 12 invented birds" in words(shown(test))
        assert not re.search("[✓✗]", words(test) + json.dumps(grid(test) if page == "maps" else {}))


# Maps in numbers


def test_reports_beside_each_other_answer_what_the_page_asks(open_page, make_run, runs_folder):
    run, other = make_run(), make_run(seed=1)

    def reported(of, **asked):
        made = Run.create(runs_folder, MapsConfig(of=of.id, faithfulness_per_class=0, **asked))
        assert tasks.execute(made) == "finished"
        return made.result()

    usual = reported(run)
    reported(run, method="eigencam")
    reported(other, stages=("S3",))
    one = shown(open_page("maps", run=run.id, beside=other.id, tool="numbers"))
    assert "Grad-CAM at output mix, stages S3, S4, S5, on 12 test images" in words(one)
    assert [each.label for each in one.button if each.label == "Measure it"] == ["Measure it"]
    mean = usual["regions"]["telling"]["numbers"]["S3 - S5/energy"]["mean"]
    assert f"S3 − S5 is {100 * mean:+.1f} points" in words(one)
    assert "Eigen-CAM at" not in words(one)
    deep = shown(open_page("maps", run=other.id, tool="numbers"))
    assert "stages S3, on 12 test images" in words(deep)
    assert "stages S3, S4, S5" not in words(deep)
    assert "Eigen-CAM at output mix" in words(shown(open_page("maps", run=run.id, method="eigencam", tool="numbers")))
    none = shown(open_page("maps", run=run.id, head="S4", tool="numbers"))
    assert "has no report" in words(none)


def test_a_printed_figure_says_where_a_run_explains_another_output(make_run):
    run, baseline = make_run(), make_run(method="baseline", stage_num=1)
    dataset = open_builtin()
    picked, wanted = Picked.of(dataset, dataset.test[0]), Wanted("S4", PREDICTED, "gradcam", "map", 0.5, "", "", 0)
    note = figure_of([(picked, [seen(run, picked, wanted), seen(baseline, picked, wanted)])], wanted).note
    assert "at output S4" in note
    assert f"{name_of_run(baseline)} (it has no output S4" in note
    assert name_of_run(run) not in note


# Small truths
