"""The maps page: images by stages of some runs, one map with its numbers, rising severity, where two runs differ."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from app.shared.wording import name_of_run
from app.views.maps.explained import MORE, more_images, ranked_mistakes
from app.views.maps.zoom import numbers_table, removal_chart
from pmsi.base.errors import DataError
from pmsi.data import open_dataset
from pmsi.explain.measures.deletion import Curve
from pmsi.explain.measures.pointing import RegionScores
from pmsi.maps import disagreement, sampled
from pmsi.runs import Run, State
from pmsi.runs.lifecycle import enqueue
from pmsi.runs.mistakes import Predictions

KEY = "test/ochre_finchling/0000"


def value_of(test, kind, name):
    return getattr(test, kind)(key=f"kept-{name}").value


def data_of(test, part="maps_grid"):
    """What a part that works in the browser was given."""
    (found,) = [one.proto for one in test.get("bidi_component") if one.proto.component_name == f"pmsi_{part}"]
    return json.loads(found.json)


def sentences(test):
    return " ".join(element.value for element in [*test.markdown, *test.caption])


def cells(test):
    return [cell for row in data_of(test)["rows"] for sight in row["sights"] for cell in sight["cells"]]


def pixels(address):
    import base64

    data = base64.b64decode(address["src"].removeprefix("data:image/jpeg;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)), dtype=int)


def test_without_a_run_there_is_one_button_that_leads_to_training(open_page):
    test = open_page("maps")
    assert not test.exception
    assert [button.label for button in test.button] == ["Train a model"]
    test.button[0].click().run()
    assert not test.exception
    assert "maps" not in [title.value for title in test.title]
    assert any(button.label == "Start training" for button in test.button)


def test_three_stages_are_shown_with_the_prediction(open_page, make_run):
    run = make_run()
    test = open_page("maps")
    assert not test.exception
    assert not test.error
    data = data_of(test)
    assert [stage["name"] for stage in data["stages"]] == ["S3", "S4", "S5"]
    assert [one["title"] for one in data["runs"]] == [name_of_run(run)]
    assert [cell["id"] for cell in cells(test)] == ["0.0.S3", "0.0.S4", "0.0.S5"]
    assert all(cell["note"].startswith(("peak", "no positive")) for cell in cells(test))
    assert all("Ochre Finchling" in cell["image"]["alt"] for cell in cells(test))
    assert data["rows"][0]["sights"][0]["verdict"].startswith("Says ")


def test_any_output_class_and_method_can_be_explained(open_page, make_run):
    make_run()
    test = open_page("maps", head="S4", method="layercam", **{"class": "Gorget Crestjay"})
    assert not test.exception
    assert value_of(test, "selectbox", "method") == "layercam"
    assert all("evidence for Gorget Crestjay" in cell["image"]["alt"] for cell in cells(test))


def test_a_second_run_without_that_output_says_what_it_explains(open_page, make_run):
    pmr, baseline = make_run(), make_run(method="baseline")
    test = open_page("maps", run=pmr.id, beside=baseline.id, head="S3")
    assert not test.exception
    first, second = data_of(test)["rows"][0]["sights"]
    assert "it has no output S3, so classifier is explained" in second["verdict"]
    assert "no output" not in first["verdict"]


def test_two_runs_have_the_names_and_colours_of_all_pages(open_page, make_run):
    first, second = make_run(), make_run()
    test = open_page("maps", run=first.id, beside=second.id)
    runs = data_of(test)["runs"]
    assert [run["title"] for run in runs] == [name_of_run(first), name_of_run(second)]
    assert runs[0]["color"] != runs[1]["color"]
    assert [name_of_run(run) in test.selectbox(key="kept-run").options[i] for i, run in enumerate((second, first))]
    again = open_page("maps", run=second.id)
    assert data_of(again)["runs"][0] == runs[1]


def test_a_run_that_is_gone_is_named_and_another_one_shown(open_page, make_run):
    run = make_run()
    test = open_page("maps", run="20200101-000000-train-gone-0000")
    assert not test.exception
    assert value_of(test, "selectbox", "run") == run.id
    assert "another one is shown" in sentences(test)


def test_while_the_first_run_is_trained_its_page_is_offered(open_page, runs_folder, tiny_config):
    run = Run.create(runs_folder, tiny_config)
    enqueue(run.folder, (State.CREATED,), "none")
    test = open_page("maps")
    assert not test.exception
    assert not test.button
    assert "being trained now" in sentences(test)


def test_more_images_stand_below_and_kept_ones_stay(open_page, make_run):
    make_run(test_per_class=3)
    test = open_page("maps", image=KEY, more="class", count="2", kept="test/gorget_crestjay/0001|gone")
    assert not test.exception
    titles = [row["title"] for row in data_of(test)["rows"]]
    assert titles == [
        "Ochre Finchling, image 1",
        "Gorget Crestjay, 0001",
        "Ochre Finchling, 0001",
        "Ochre Finchling, 0002",
    ]
    next(button for button in test.button if button.label == "Keep this image").click().run()
    assert not test.exception
    assert "".join(test.query_params["kept"]) == f"test/gorget_crestjay/0001|{KEY}"


def answered(run, given):
    """Write what a run of the tests answered: ``given`` by key where that is not the true class."""
    test = open_dataset(run.config).test
    labels = [sample.label for sample in test]
    answers = [given.get(sample.key, sample.label) for sample in test]
    stored = {"keys": [sample.key for sample in test], "labels": labels, "predicted": {"mix": answers}}
    (run.folder / "predictions.json").write_text(json.dumps(stored))


def test_every_row_of_more_lists_test_images_of_the_run(make_run):
    from app.shared.cached_data import open_builtin
    from app.shared.panels import Picked

    run, data = make_run(test_per_class=3), open_builtin()
    picked = Picked.of(data, data.find(KEY))
    keys = [sample.key for sample in open_dataset(run.config).test]
    other = next(key for key in keys if "ochre" not in key)
    answered(run, {other: 0, KEY: 5})
    found = {kind: more_images(run, picked, kind, 99) for kind in MORE}
    assert [image.key for image in found["class"]] == [key for key in keys if "ochre" in key and key != KEY]
    assert {image.label for image in found["others"]} == {*data.classes} - {picked.label}
    assert len(found["others"]) == 11
    assert [image.key for image in found["mistakes"]] == [other]
    assert {image.key for image in found["others"]} <= set(keys)
    assert found[""] == []


def test_mistakes_begin_with_the_pair_that_is_confused_most():
    given = {"S3": (0,) * 6, "mix": (0, 2, 0, 1, 2, 1)}
    answers = Predictions(("a", "b", "c"), tuple("abcdef"), (0, 1, 1, 2, 2, 0), given, {}, {}, "mix")
    found = ranked_mistakes(answers)
    assert {frozenset(found[:2]), frozenset(found[2:])} == {frozenset("bd"), frozenset("cf")}


def test_an_outline_and_a_mosaic_are_drawn(open_page, make_run):
    make_run()
    plain, framed = (cells(open_page("maps", image=KEY, outline=name)) for name in ("", "object"))
    changed = (np.abs(pixels(plain[0]["image"]) - pixels(framed[0]["image"])) > 60).any(axis=2).mean()
    assert 0.005 < changed < 0.2, "an outline changes some pixels, not the whole picture"
    cut = cells(open_page("maps", image=KEY, mosaic="plain"))
    assert [cell["mosaic"]["note"] for cell in cut] == ["r = 3", "r = 2", "r = 1"]
    mapped = cells(open_page("maps", image=KEY, mosaic="map"))
    assert all(np.abs(pixels(a["mosaic"]) - pixels(b["mosaic"])).mean() > 1 for a, b in zip(cut, mapped, strict=True))


def test_a_run_on_whole_images_has_no_mosaic(open_page, make_run):
    make_run(method="baseline")
    assert [cell.get("without") for cell in cells(open_page("maps", mosaic="map"))] == ["trained on whole images"] * 3


def test_a_link_opens_one_map_with_its_numbers(open_page, make_run):
    make_run()
    test = open_page("maps", image=KEY, zoom="0.0.S4", region="bill", tolerance="10")
    assert not test.exception
    assert not test.error
    (table,) = [element.value for element in test.markdown if "Pointing game" in element.value]
    assert all(word in table for word in ("This map", "Random maps", "Edges of the image", "chance"))
    assert "Map of 4 × 4" in sentences(test)
    assert value_of(test, "selectbox", "region") == "bill"


@pytest.mark.parametrize("zoom", ["9.0.S4", "0.0.S9", "0", "a.b.c"])
def test_a_link_to_a_map_that_is_not_there_opens_none(open_page, make_run, zoom):
    make_run()
    test = open_page("maps", zoom=zoom)
    assert not test.exception
    assert "Pointing game" not in sentences(test)
    assert "zoom" not in test.query_params


def test_the_table_of_numbers_says_hit_and_miss():
    found = {"map": RegionScores(1.0, 0.5), "random": RegionScores(0.25, 0.1), "edges": RegionScores(0.0, 0.2)}
    lines = numbers_table(found, 0.125).splitlines()
    assert lines[2] == "| **This map** | **hit** | **50.0%** |"
    assert lines[3] == "| Random maps | 25% | 10.0% |"
    assert "miss" in lines[4]
    assert "12.5%" in lines[5]


def test_the_legend_of_removal_curves_gives_their_areas():
    figure = removal_chart(
        {"map": Curve((0.0, 1.0), (1.0, 0.0)), "random": Curve((0.0, 1.0), (1.0, 0.5))}, "#000000", "x"
    )
    assert [trace.name for trace in figure.data] == ["This map: 0.500", "A random map: 0.750"]
    assert list(figure.data[0].y) == [100.0, 0.0]


def test_rising_severity_is_computed_for_the_class_of_the_clean_image(open_page, make_run):
    make_run()
    test = open_page("maps", image=KEY, tool="severity", perturbation="color_jitter")
    assert not test.exception
    assert not test.error
    data = data_of(test, "maps_player")
    assert [frame["label"] for frame in data["frames"]][:2] == ["k = 0 (clean)", "k = 0.125"]
    assert len(data["frames"]) == 9
    assert all(len(frame["runs"][0]["images"]) == 4 for frame in data["frames"])
    assert len({frame["runs"][0]["images"][0] for frame in data["frames"]}) == 9
    assert any(button.label == "Download GIF" for button in test.get("download_button"))


def test_two_runs_disagree_about_nothing_when_they_are_one(make_run):
    from app.shared.cached_data import open_builtin
    from app.shared.cached_models import predictor_of

    dataset = open_builtin()
    one, other = predictor_of(make_run()), predictor_of(make_run(seed=5))
    samples = sampled(one, other, dataset, 1)
    assert [sample.label for sample in samples] == list(range(12))
    assert set(samples) < set(sampled(one, other, dataset, 2))
    for sample in samples[:3]:
        same, different = (disagreement(one, b, dataset, sample) for b in (one, other))
        assert max(same.earth.values()) == pytest.approx(0, abs=1e-9)
        assert max(different.earth.values()) > 0
        assert (different.key, different.name) == (sample.key, dataset.classes[sample.label])
    with pytest.raises(DataError, match="classes of both runs"):
        sampled(one, SimpleNamespace(classes=("Dodo",)), dataset, 1)


def test_an_image_of_the_list_opens_in_the_grid(open_page, make_run):
    first, second = make_run(), make_run(seed=5)
    test = open_page("maps", run=first.id, beside=second.id, tool="disagree", image=KEY)
    assert not test.exception
    assert not test.error
    button = next(button for button in test.button if button.key == "open-test/gorget_crestjay/0000" or
                  (button.label == "Open" and "ochre" not in button.key))  # fmt: skip
    button.click().run()
    assert not test.exception
    assert "".join(test.query_params["image"]) == button.key.removeprefix("open-")
    assert data_of(test)["rows"][0]["title"].split(",")[0].lower().replace(" ", "_") in button.key


def test_one_run_has_nobody_to_disagree_with(open_page, make_run):
    make_run()
    test = open_page("maps", tool="disagree")
    assert not test.exception
    assert "Choose a second run" in " ".join(element.value for element in test.info)


def test_the_grid_can_be_had_as_a_figure(open_page, make_run):
    make_run()
    test = open_page("maps", tool="figure")
    assert not test.exception
    assert not test.error
    assert {button.label for button in test.get("download_button")} == {
        "Download PNG, 300 dpi",
        "Download SVG",
        "Download PDF",
    }


# In numbers


def report_of(shift):
    """A report in which every number says what it is: S3's energy is 0.1 + shift, and so on."""
    value = lambda mean: {"mean": mean, "low": mean - 0.02, "high": mean + 0.03}  # noqa: E731
    sources = {"S3": 0.1 + shift, "S5": 0.3, "random S3": 0.05, "random S5": 0.06, "edges": 0.4, "centre": 0.2}
    numbers = {
        f"{source}/{measure}": value(mean) for source, mean in sources.items() for measure in ("energy", "pointing")
    }
    numbers |= {f"S3 - S5/{measure}": value(shift - 0.2) for measure in ("energy", "pointing")} | {"area": value(0.08)}
    return {"images": 7, "numbers": numbers}


def test_the_figure_of_numbers_shows_each_stage_with_its_interval_and_the_floors():
    from app.views.maps.numbers import stages_figure

    figure = stages_figure([("a", "#000000", report_of(0.0)), ("<b>", "#111111", report_of(0.05))], "energy")
    by_name = {trace.name: trace for trace in figure.data}
    assert set(by_name) == {"a", "a, noise", "&lt;b&gt;", "&lt;b&gt;, noise"}
    assert by_name["a"].y == pytest.approx((10, 30))
    assert by_name["&lt;b&gt;"].y == pytest.approx((15, 30))
    assert by_name["a"].error_y.array == pytest.approx((3, 3))
    assert by_name["a"].error_y.arrayminus == pytest.approx((2, 2))
    assert by_name["a, noise"].y == pytest.approx((5, 6))
    assert sorted(line.y0 for line in figure.layout.shapes) == pytest.approx([8, 20, 40])


@pytest.mark.parametrize(("shift", "verdict"), [(0.3, "S3 is ahead"), (0.0, "S5 is ahead"), (0.2, "do not differ")])
def test_what_is_said_of_s3_and_s5_goes_by_the_interval(shift, verdict):
    from app.views.maps.numbers import _sentence

    assert verdict in _sentence("a run", report_of(shift)["numbers"], "energy")
