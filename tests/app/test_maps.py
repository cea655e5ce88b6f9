"""The maps page: images by stages of some runs, a map with its numbers, increasing severity, where two runs differ."""

import base64
import io
import re

import numpy as np
import pytest
from pages import click, fine, kept, part, words
from PIL import Image
from untrained import answer

from app.shared.cached_data import open_builtin
from app.shared.panels import Picked
from app.shared.wording import name_of_run
from app.views.maps.explained import MORE, PREDICTED, Wanted, more_images, ranked_mistakes, seen
from app.views.maps.form import MOST_KEPT
from app.views.maps.zoom import as_csv, numbers_table, removal_chart
from pmsi.data import open_dataset
from pmsi.explain.measures.deletion import Curve
from pmsi.explain.measures.pointing import RegionScores
from pmsi.runs.mistakes import Predictions

KEY = "test/ochre_finchling/0000"


def cells(test):
    return [cell for row in part(test, "maps_grid")["rows"] for sight in row["sights"] for cell in sight["cells"]]


def verdicts(test):
    return [sight["verdict"] for sight in part(test, "maps_grid")["rows"][0]["sights"]]


def pixels(address):
    data = base64.b64decode(address["src"].removeprefix("data:image/jpeg;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)), dtype=int)


def test_three_stages_are_shown_with_the_prediction(open_page, make_run):
    run = make_run()
    test = fine(open_page("maps", run="20200101-000000-train-gone-0000", zoom="0.0.S9"))
    assert test.query_params["run"] == run.id
    assert "another one is shown" in words(test)
    data = part(test, "maps_grid")
    assert [stage["name"] for stage in data["stages"]] == ["S3", "S4", "S5"]
    assert [one["title"] for one in data["runs"]] == [name_of_run(run)]
    assert [cell["id"] for cell in cells(test)] == ["0.0.S3", "0.0.S4", "0.0.S5"]
    assert all(cell["note"].startswith(("peak", "no positive")) for cell in cells(test))
    assert all("Ochre Finchling" in cell["image"]["alt"] for cell in cells(test))
    assert verdicts(test)[0].startswith("mix says ")


def test_an_image_s_maps_share_a_scale_at_first_and_the_browser_knows_their_values(open_page, make_run):
    run = make_run()
    shared, own = cells(open_page("maps", image=KEY)), cells(open_page("maps", image=KEY, scale="map"))
    picked = Picked.of(open_builtin(), open_builtin().find(KEY))
    maps = seen(run, picked, Wanted("mix", PREDICTED, "gradcam", "image", 0.5, "", "", 0)).explanation.maps
    peaks = [values.max() for values in maps.values()]
    assert [a["image"] == b["image"] for a, b in zip(shared, own, strict=True)] == [
        peak == max(peaks) for peak in peaks
    ]
    for cell, values in zip(shared, maps.values(), strict=True):
        sent = cell["values"]
        steps = np.frombuffer(base64.b64decode(sent["levels"]), np.uint8).reshape(sent["shape"])
        assert steps / 255 * sent["peak"] == pytest.approx(values, abs=float(values.max()) / 500)


def test_any_output_class_and_method_can_be_explained(open_page, make_run):
    make_run()
    test = open_page("maps", head="S4", method="layercam", **{"class": "Gorget Crestjay"})
    assert kept(test, "selectbox", "method").value == "layercam"
    assert all("evidence for Gorget Crestjay" in cell["image"]["alt"] for cell in cells(test))


def test_a_class_is_explained_against_a_rival_and_the_two_are_swapped(open_page, make_run):
    run = make_run()
    alone = part(open_page("maps", run=run.id, **{"class": "Twinbar Reedtail"}), "maps_grid")["rows"][0]
    test = fine(open_page("maps", run=run.id, rival="Marsh Reedtail", **{"class": "Twinbar Reedtail"}))
    assert "why Twinbar Reedtail, not Marsh Reedtail" in verdicts(test)[0]
    assert cells(test)[1]["image"]["src"] != alone["sights"][0]["cells"][1]["image"]["src"]
    test = fine(click(test, "swap-rival"))
    assert "why Marsh Reedtail, not Twinbar Reedtail" in verdicts(test)[0]
    test = fine(open_page("maps", run=run.id, rival="Marsh Reedtail", **{"class": "Marsh Reedtail"}))
    assert "likeliest other" in verdicts(test)[0]


def test_a_second_run_has_its_own_name_and_colour_and_says_where_it_lacks_an_output(open_page, make_run):
    pmr, baseline = make_run(), make_run(method="baseline")
    test = open_page("maps", run=pmr.id, beside=baseline.id, head="S3", mosaic="map")
    runs = part(test, "maps_grid")["runs"]
    assert [run["title"] for run in runs] == [name_of_run(pmr), name_of_run(baseline)]
    assert runs[0]["color"] != runs[1]["color"]
    first, second = verdicts(test)
    assert "it has no output S3, so classifier is explained" in second
    assert "no output" not in first
    assert [cell.get("without") for cell in cells(test)] == [None] * 3 + ["trained on whole images"] * 3
    assert part(open_page("maps", run=baseline.id), "maps_grid")["runs"][0] == runs[1]


def test_more_images_stand_below_and_kept_ones_stay(open_page, make_run):
    make_run(test_per_class=3)
    test = open_page("maps", image=KEY, more="class", count="2", kept="test/gorget_crestjay/0001|gone")
    assert [row["title"] for row in part(test, "maps_grid")["rows"]] == [
        "Ochre Finchling, 0000",
        "Gorget Crestjay, 0001",
        "Ochre Finchling, 0001",
        "Ochre Finchling, 0002",
    ]
    click(test, "Keep this image")
    assert "".join(test.query_params["kept"]) == f"test/gorget_crestjay/0001|{KEY}"


def test_a_link_keeps_no_more_images_than_a_visitor_may(open_page, make_run):
    make_run(train_per_class=6)
    keys = [sample.key for sample in open_builtin().train if sample.key.endswith(("0000", "0001"))]
    test = open_page("maps", image=KEY, kept="|".join(keys))
    assert len(keys) > MOST_KEPT
    assert len(part(test, "maps_grid")["rows"]) == MOST_KEPT + 1


def test_every_row_of_more_lists_test_images_of_the_run(make_run):
    run, data = make_run(test_per_class=3), open_builtin()
    picked = Picked.of(data, data.find(KEY))
    keys = [sample.key for sample in open_dataset(run.config).test]
    other = next(key for key in keys if "ochre" not in key)
    answer(run, {other: 0, KEY: 5})
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
    cut, mapped = (cells(open_page("maps", image=KEY, mosaic=name)) for name in ("plain", "map"))
    assert [cell["mosaic"]["note"] for cell in cut] == ["r = 3", "r = 2", "r = 1"]
    assert all(np.abs(pixels(a["mosaic"]) - pixels(b["mosaic"])).mean() > 1 for a, b in zip(cut, mapped, strict=True))
    framed = cells(open_page("maps", image=KEY, outline="object"))
    changed = (np.abs(pixels(cut[0]["image"]) - pixels(framed[0]["image"])) > 60).any(axis=2).mean()
    assert 0.005 < changed < 0.2, "an outline changes some pixels, not the whole picture"


def test_a_link_opens_one_map_with_its_numbers(open_page, make_run):
    make_run()
    test = fine(open_page("maps", image=KEY, zoom="0.0.S4", region="bill", tolerance="10"))
    (table,) = [element.value for element in test.markdown if "Pointing game" in element.value]
    assert all(word in table for word in ("This map", "Random maps", "Edges of the image", "chance"))
    assert "Map of 4 × 4" in words(test)
    assert kept(test, "selectbox", "region").value == "bill"
    assert {"Picture (PNG)", "Values (CSV)"} <= {one.label for one in test.get("download_button")}
    for zoom in ("9.0.S4", "0", "a.b.c"):
        test.query_params["zoom"] = zoom
        test.run()
        assert "Pointing game" not in words(test)
        assert "zoom" not in test.query_params


def test_the_numbers_of_one_map_say_hit_and_miss_and_its_curves_their_areas():
    found = {"map": RegionScores(1.0, 0.5), "random": RegionScores(0.25, 0.1), "edges": RegionScores(0.0, 0.2)}
    lines = numbers_table(found, 0.125).splitlines()
    assert lines[2] == "| **This map** | **hit** | **50.0%** |"
    assert lines[3] == "| Random maps | 25% | 10.0% |"
    assert "miss" in lines[4]
    assert "12.5%" in lines[5]
    curves = {"map": Curve((0.0, 1.0), (1.0, 0.0)), "random": Curve((0.0, 1.0), (1.0, 0.5))}
    drawn = removal_chart(curves, "#000000", "x").data
    assert [trace.name for trace in drawn] == ["This map: 0.500", "A random map: 0.750"]
    assert list(drawn[0].y) == [100.0, 0.0]
    values = np.array([[0.5, 0.25], [0.0, 1e-9]], np.float32)
    assert np.array_equal(np.loadtxt(io.StringIO(as_csv(values)), delimiter=",", dtype=np.float32), values)


def test_increasing_severity_is_computed_for_the_class_of_the_clean_image(open_page, make_run):
    make_run()
    test = fine(open_page("maps", image=KEY, tool="severity", perturbation="color_jitter"))
    frames = part(test, "maps_player")["frames"]
    assert [frame["label"] for frame in frames][:2] == ["k = 0 (clean)", "k = 0.125"]
    images = [frame["runs"][0]["images"] for frame in frames]
    assert [len(each) for each in images] == [4] * 9
    assert len({each[0] for each in images}) == 9
    assert any(button.label == "Download GIF" for button in test.get("download_button"))


def test_an_image_about_which_two_runs_disagree_opens_in_the_grid(open_page, make_run):
    first, second = make_run(), make_run(seed=5)
    alone = open_page("maps", tool="disagree", run=first.id)
    assert "Choose a second run" in words(alone)
    test = fine(open_page("maps", run=first.id, beside=second.id, tool="disagree", image=KEY))
    chosen = next(one for one in test.button if one.label == "Open" and "ochre" not in one.key)
    click(test, chosen.key)
    assert "".join(test.query_params["image"]) == chosen.key.removeprefix("open-")
    title = part(test, "maps_grid")["rows"][0]["title"]
    assert title.split(",")[0].lower().replace(" ", "_") in chosen.key


def test_the_grid_can_be_had_as_a_figure(open_page, make_run):
    make_run()
    offered = {one.label for one in fine(open_page("maps", tool="figure")).get("download_button")}
    assert [any(re.search(kind, label) for label in offered) for kind in ("PNG", "SVG", "PDF")] == [True] * 3
