"""The Tables page: what can be chosen, what stands in the cells and where they lead, and what the button queues."""

import re
from html import escape, unescape
from pathlib import Path

import pytest
import streamlit as st
from finished_runs import ended, finished, swept
from pages import button, click, kept, sound, words

from app.shared.charts import paired_bars
from app.views.tables import queue as queueing
from app.views.tables.protocols import command_of, offered, titles, unbroken
from app.views.tables.table_html import table_html
from pmsi.cli.main import make_parser
from pmsi.cli.tables import table_of
from pmsi.config import RobustnessConfig, TrainConfig
from pmsi.config.presets import PRESETS
from pmsi.methods import METHODS
from pmsi.runs import Run, State, lifecycle, list_runs
from pmsi.runs.launchers import LAUNCHERS
from pmsi.runs.launchers.row import Launcher
from pmsi.tables import FORMATS, TABLES, expand, fill, seeds_from
from pmsi.tables.definitions import PAPER_LABELS

SETS = {"cub": "/photos/cub", "cars": "/photos/cars", "aircraft": "/photos/aircraft"}
OURS = PAPER_LABELS["3", "pmr"]


@pytest.fixture
def base(tiny_config):
    """A protocol; trackers are no part of one, and are the default's."""
    return tiny_config.with_(trackers=TrainConfig().trackers)


@pytest.fixture
def submitted(monkeypatch):
    """The ids of runs given to a launcher that starts nothing."""
    ids = []
    monkeypatch.setitem(LAUNCHERS, "local", Launcher("Fake", lambda run: ids.append(run.id), ""))
    return ids


def failed(root, config):
    return ended(root, config, State.FAILED, {"kind": "OutOfMemory", "message": "no", "remedy": ""})


def line_of(method):
    """A method's line in Table III."""
    return PAPER_LABELS.get(("3", method), METHODS[method].title)


def page_html(test):
    return "".join(element.proto.body for element in sound(test).get("html"))


def text_of(html):
    return unescape(re.sub("<.*?>", "", html))


def cells(test):
    """Return by the text of each line's label what stands in its cells of ours, and the links in them."""
    found = {}
    for label, row in re.findall(r'<tr class="ours"><th scope="row">(.*?)</th>(.*?)</tr>', page_html(test)):
        tds = re.findall(r"<td.*?</td>", row)
        found[unescape(label)] = [(text_of(td), re.findall(r'href="runs\?run=(.*?)"', td)) for td in tds]
    return found


def is_ready(test):
    return not button(test, "missing run").disabled


# What can be chosen


def test_without_runs_a_table_can_be_started_from_a_preset(open_page):
    test = open_page("tables")
    assert "Table III" in words(test)
    assert PRESETS["quick"].title in kept(test, "selectbox", "protocol").options[0]
    assert {text for line in cells(test).values() for text, _ in line} == {"not run"}
    assert "81.5" in page_html(test)
    assert is_ready(test)


@pytest.mark.parametrize("number", TABLES)
def test_every_table_opens_by_its_address(open_page, number):
    test = open_page("tables", table=number)
    assert f"{TABLES[number].title}. {TABLES[number].caption}" in words(test)
    assert cells(test)


def test_the_fullest_protocol_comes_first_then_the_newest_and_the_address_keeps_another(open_page, runs_folder, base):
    for dropout, accuracy in ((0.1, 0.25), (0.2, 0.75)):
        finished(runs_folder, base.with_(dropout=dropout), {"concat": 0.5, "mix": accuracy})
    known = offered(runs_folder, "3")
    (newest, _), (older, about) = list(known.items())[:2]
    assert about.base.dropout == 0.1
    for asked, key, expected in (({}, newest, "75.0"), ({"protocol": older}, older, "25.0")):
        test = open_page("tables", table="3", **asked)
        assert cells(test)[OURS][1][0] == expected
        assert test.query_params["protocol"] == key
    said = list(titles(runs_folder, "3", known).values())
    assert sorted(re.findall(r"Dropout: ([\d.]+)", " ".join(said[:2]))) == ["0.1", "0.2"], "what tells them apart"
    assert all("2 of 12 cells" in title for title in said[:2])
    assert len(set(said)) == len(said)
    finished(runs_folder, base.with_(dropout=0.1, method="m"), {"concat": 0.5})
    finished(runs_folder, base.with_(dropout=0.2, seed=1), {"mix": 0.5})  # newer, and in the same cells
    assert next(iter(offered(runs_folder, "3"))) == older


def test_a_data_set_without_its_folder_is_asked_for(open_page, submitted, tmp_path):
    key = next(key for key, each in offered(Path("none"), "3").items() if "Paper" in each.source)
    test = open_page("tables", table="3", protocol=key)
    assert not is_ready(test)
    assert "Give the folder of CUB first" in words(test)
    sound(kept(test, "text_input", "cub-folder").set_value(str(tmp_path / "cub")).run())
    assert is_ready(test)
    assert test.query_params["cub-folder"] == str(tmp_path / "cub")


def test_a_protocol_whose_weights_are_gone_is_read_and_can_be_begun_anew(
    open_page, runs_folder, base, submitted, tmp_path
):
    file, moved = tmp_path / "weights_*.safetensors", tmp_path / "moved.safetensors"
    finished(runs_folder, base.with_(weights=str(file), backbone="mobilenet_v2"), {"mix": 0.5})
    test = open_page("tables", table="3")
    assert cells(test)[OURS][1][0] == "50.0"
    assert not is_ready(test)
    assert f"start from **{file}**, which is not on this machine" in words(test)
    moved.write_bytes(b"")
    sound(kept(test, "text_input", "weights-file").set_value(str(moved)).run())
    assert is_ready(test)
    assert "not on this machine" not in words(test)
    test = click(open_page("tables", table="3"), "from ImageNet's weights")
    shown = offered(runs_folder, "3")[test.query_params["protocol"]]
    assert shown.base == base.with_(method="pmr", backbone="mobilenet_v2", weights="imagenet")
    assert is_ready(test)
    file.write_bytes(b"")
    assert is_ready(open_page("tables", table="3"))


# What stands in the table


def test_a_wide_window_has_the_paper_s_numbers_beside_ours(open_page, runs_folder, base):
    finished(runs_folder, base, {"concat": 0.25, "mix": 0.5})
    html = page_html(open_page("tables", table="3"))
    wide = re.search(r'<table class="numbers wide".*?</table>', html, re.DOTALL)[0]
    line = re.search(rf'<tr class="line"><th[^>]*>{re.escape(escape(line_of("pmr")))}</th>(.*?)</tr>', wide)[1]
    shown = [text_of(cell) for cell in re.findall(r"<td.*?</td>", line)]
    assert shown == ["25.0", "86.6", "−61.6", "50.0", "87.0", "−37.0"]
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", wide)
    assert heads[:9] == ["", "concat", "mix", *("ours", "paper", "difference") * 2]
    seven = fill(expand("7", base, dict.fromkeys(SETS, "x")), runs_folder)
    assert len(seven.columns) == 6
    assert "numbers wide" not in table_html(seven, {}), "many numbers stay below each other"


def test_each_number_leads_to_its_runs_and_seeds_are_averaged(open_page, runs_folder, base):
    runs = {
        config.method: finished(runs_folder, config, {"concat": 0.5, "mix": n / 20})
        for n, config in enumerate(expand("3", base).configs, start=4)
    }
    lines = cells(open_page("tables", table="3"))
    for n, (method, run) in enumerate(runs.items(), start=4):
        assert lines[line_of(method)] == [("50.0", [run.id]), (f"{5 * n:.1f}", [run.id])]
    other = finished(runs_folder, base.with_(seed=1, method="baseline"), {"concat": 0.7, "mix": 0.7})
    text, links = cells(open_page("tables", table="3", seeds="2"))[line_of("baseline")][0]
    assert text.startswith("60.0 ± 14.1")
    assert "n = 2" in text
    assert links == [runs["baseline"].id, other.id]


def test_what_is_live_or_failed_says_so_and_leads_to_its_run(open_page, runs_folder, base):
    configs = expand("3", base).configs[:3]
    running, broken, queued = Run.create(runs_folder, configs[0]), failed(runs_folder, configs[1]), None
    lock = lifecycle.begin(running.folder)
    running.progress(47, 100, "epoch 1 of 2")
    running.flush_progress()
    queued = Run.create(runs_folder, configs[2])
    lifecycle.enqueue(queued.folder, (State.CREATED,), "local")
    try:
        test = open_page("tables", table="3")
    finally:
        lock.release()
    said = {"running 45 %": running, "failed": broken, "queued": queued}
    for config, (text, run) in zip(configs, said.items(), strict=True):
        assert cells(test)[line_of(config.method)][0] == (text, [run.id])
    assert "2 queued or running, 1 to be resumed, 3 to be made" in words(test)


def test_the_best_epoch_is_shown_where_it_is_asked_for_with_the_command(open_page, runs_folder, base):
    finished(runs_folder, base, {"mix": 0.5}, best={"mix": 0.875}, on="test")
    test = open_page("tables", table="3", epoch="best", seeds="2")
    assert cells(test)[OURS][1][0].startswith("87.5†")
    assert "chosen on the test images" in words(test)
    assert test.code[0].value.startswith("python -m pmsi tables 3 ")
    assert test.code[0].value.endswith(f"--seeds 2 --epoch best --runs {runs_folder}")
    kept(test, "selectbox", "epoch").set_value("last").run()
    assert cells(test)[OURS][1][0].startswith("50.0")


def test_a_perturbed_cell_leads_to_its_sweep(open_page, runs_folder, base):
    two = [finished(runs_folder, base.with_(method=method), {"mix": 0.5}) for method in ("baseline", "pmr")]
    sweep = swept(runs_folder, two, "color_jitter", 1.0, (0.25, 0.25))
    lines = cells(open_page("tables", table="7"))
    assert [each for label, line in lines.items() if "jitter" in label for each in line] == [("25.0", [sweep.id])] * 2
    assert [links for _, links in lines["Origin"]] == [[run.id] for run in two]


def test_a_title_is_shown_as_it_is(tmp_path, base, monkeypatch):
    odd = METHODS["pm"].__class__(**(vars(METHODS["pm"]) | {"title": '<b onclick="x">&', "tables": ("3",)}))
    monkeypatch.setitem(METHODS, "odd", odd)
    html = table_html(fill(expand("3", base), tmp_path), {})
    assert "&lt;b onclick=&quot;x&quot;&gt;&amp;" in html
    assert "<b " not in html


def test_bars_stand_where_the_numbers_say(runs_folder, base):
    table = expand("fig1", base.with_(backbone="resnet18"))
    pairs = [(f"{key}/baseline", f"{key}/pmr") for key in ("mobilenet_v2", "resnet18")]
    for seed, value in enumerate((0.5, 0.7)):
        finished(runs_folder, table.cells["resnet18/pmr", "plumage"].config.with_(seed=seed), {"mix": value})
    filled = fill(table, runs_folder, (0, 1)).cells
    figure = paired_bars(("MobileNetV2", "ResNet-18"), [tuple(filled[line, "plumage"] for line in p) for p in pairs])
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [list(trace.y) for trace in bars] == [[None, None], [None, pytest.approx(60.0)]]
    assert bars[1].error_y.array[1] == pytest.approx(14.142, abs=1e-3)
    assert bars[0].x[1] < 1 < bars[1].x[1]


# What is taken away


def test_the_files_are_what_the_exporters_write(open_page, runs_folder, base, monkeypatch):
    run = finished(runs_folder, base, {"concat": 0.5, "mix": 0.625})
    offers = {}
    monkeypatch.setattr(st, "download_button", lambda label, data, file_name, **_: offers.update({file_name: data}))
    open_page("tables", table="3")
    filled = fill(expand("3", base), runs_folder)
    names = {"table-3.csv": "csv", "table-3.md": "markdown", "table-3.tex": "latex"}
    assert {name: data() for name, data in offers.items()} == {file: FORMATS[f](filled) for file, f in names.items()}
    assert run.id in offers["table-3.csv"]()


@pytest.mark.parametrize("number", ["2", "3", "7", "fig1", "1"])
def test_the_command_makes_the_same_table(base, number):
    odd = base.with_(flip=False, weights="/my weights/x.safetensors", per_image=False, train_per_class=7, lr_new=0.25)
    table = expand(number, odd, SETS | {"plumage": None})
    typed = make_parser("tables").parse_args(command_of(table, (4, 5, 6), Path("/some where"), "last"))
    again = table_of(typed)
    assert again.cells.keys() == table.cells.keys()
    assert {cell.config.with_(seed=0) for cell in again.cells.values()} == {c.config for c in table.cells.values()}
    assert seeds_from(again.base, typed.seeds) == (4, 5, 6)
    assert (typed.runs, typed.epoch) == (Path("/some where"), "last")


# What is still to be done


def test_seeds_are_counted_up_to_the_first_gap():
    assert [unbroken(seeds) for seeds in ((0,), (0, 1, 2), (3, 4), (0, 2, 3))] == [1, 3, 2, 1]


def test_the_button_queues_what_is_missing_and_nothing_twice_and_another_stops_it(
    open_page, runs_folder, base, submitted
):
    done, broken = finished(runs_folder, base, {"mix": 0.5}), failed(runs_folder, base.with_(method="m"))
    test = click(open_page("tables", table="3"), "Queue the 5 missing runs")
    needed = set(expand("3", base).configs)
    assert {run.config for run in list_runs(runs_folder)} == needed
    assert len(list_runs(runs_folder)) == 6
    assert broken.id in submitted
    assert len(submitted) == len(set(submitted)) == 5
    assert button(test, "Nothing to queue").disabled
    assert "5 queued or running" in words(test)
    sound(kept(test, "number_input", "seeds").set_value(2).run())
    click(test, "Queue the 6 missing runs")
    assert {run.config for run in list_runs(runs_folder)} == needed | {config.with_(seed=1) for config in needed}
    click(test, "Stop 11 runs")
    assert {run.state for run in list_runs(runs_folder) if run != done} == {State.STOPPED}


def test_sweeps_are_queued_once_their_models_are_trained(open_page, runs_folder, base, submitted):
    finished(runs_folder, base, {"mix": 0.5})
    test = open_page("tables", table="7")
    assert "3 of them perturb test images" in words(test)
    assert is_ready(test)
    finished(runs_folder, base.with_(method="baseline"), {"classifier": 0.5})
    click(open_page("tables", table="7"), "Queue the 3 missing runs")
    sweeps = [run.config for run in list_runs(runs_folder) if isinstance(run.config, RobustnessConfig)]
    swept = sorted(sweep.perturbations for sweep in sweeps)
    assert swept == [("color_jitter",), ("gaussian_noise",), ("gaussian_noise_legacy",)]
    assert len(submitted) == 3


def test_an_estimate_is_shown_until_something_changes(open_page, runs_folder, base, monkeypatch):
    finished(runs_folder, base, {"mix": 0.5})
    asked = []
    monkeypatch.setattr(queueing, "dry_run", lambda words: asked.append(words) or "6 runs.\nIt takes a while.")
    test = open_page("tables", table="3")
    assert "It takes a while." not in words(test)
    assert button(test, "missing runs").proto.type == "secondary"
    test = click(test, "Estimate")
    assert "It takes a while." in words(test)
    assert button(test, "missing runs").proto.type == "primary"
    assert "It takes a while." in words(test.run())
    assert len(asked) == 1
    finished(runs_folder, base.with_(method="m"), {"mix": 0.5})
    assert "It takes a while." not in words(test.run())


def test_table_i_counts_images_and_says_which_folder_is_wrong(open_page):
    test = open_page("tables", **{"table": "1", "cub-folder": "/nowhere/cub"})
    assert "/nowhere/cub" in words(test)
    (line,) = cells(test).values()
    assert line[0][0] == "12"
    assert not [button for button in test.button if "Queue" in button.label]
