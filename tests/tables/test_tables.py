"""Tables: which runs each needs, which of those in a folder count, what comes of them, and how it is laid out."""

import csv
import gzip
import io
import json
import math
import os
import random
import re
import statistics
import time
from pathlib import Path

import pytest
from finished_runs import ended, finished, recorded, swept

from pmsi.base.errors import ConfigError, UnknownName
from pmsi.config import TrainConfig, differences
from pmsi.data import DATASETS, DatasetRow
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.record import FILE
from pmsi.methods import METHODS
from pmsi.runs import Run, State, lifecycle
from pmsi.tables import (
    FORMATS,
    TABLES,
    as_csv,
    as_json,
    as_latex,
    as_markdown,
    as_text,
    data_sets,
    expand,
    fill,
    found_seeds,
    protocols,
)
from pmsi.tables.needed import needed_runs
from pmsi.tables.printed import paper_table
from pmsi.tables.rows import finding

ROOT = Path(__file__).parents[2]
BASE = TrainConfig(dataset="cub", data="/photos/cub", image_size=224, epochs=7, frozen_epochs=2)
SETS = {"cub": "/photos/cub", "cars": "/photos/cars", "aircraft": "/photos/aircraft"}
HEADS = ("S3", "S4", "S5", "concat", "mix")


def configs(number, base=BASE, sets=None):
    """The needed configs as differences from the base, line by line."""
    table = expand(number, base, sets)
    return {place: differences(cell.config, table.base) for place, cell in table.cells.items()}


def config_of(number, line, column, base=BASE, sets=None):
    return expand(number, base, sets).cells[line, column].config


# What a table needs


def test_table_ii_varies_stage_num_of_pm_and_has_no_cell_for_a_stage_that_takes_no_part():
    cells = configs("2")
    assert {line for line, _ in cells} == set("12345")
    for n in range(1, 6):
        columns = [column for line, column in cells if line == str(n)]
        assert columns == [f"S{stage}" for stage in range(6 - n, 6)] + ["concat", "mix"]
        expected = {"method": "pm"} | ({} if n == 3 else {"stage_num": n})
        assert cells[str(n), "mix"] == expected


@pytest.mark.parametrize("number", ["3", "5"])
def test_tables_iii_and_v_have_a_line_for_each_method_that_says_so(monkeypatch, number):
    own = METHODS["pm"].__class__(**(vars(METHODS["pm"]) | {"title": "Mine", "tables": (number,)}))
    monkeypatch.setitem(METHODS, "mine", own)
    table = expand(number, BASE)
    assert [line.key for line in table.lines] == [name for name, row in METHODS.items() if number in row.tables]
    assert all(differences(config, BASE).keys() <= {"method"} for config in table.configs)
    assert [config.method for config in table.configs] == [line.key for line in table.lines]
    assert table.lines[-1].title == "Mine"
    assert table.cells["mine", "mix"].config.method == "mine"
    assert table.cells["mine", "mix"].printed is None


def test_equal_computations_are_one_config_in_all_tables():
    pm = [config_of("2", "3", "mix"), config_of("3", "pm", "mix"), config_of("4", "none", "mix")]
    assert set(pm) == {BASE.with_(method="pm")}
    pmr = [config_of(number, line, "mix") for number, line in (("3", "pmr"), ("4", "rmg"), ("5", "pmr"))]
    pmr += [config_of("6", "mobilenet_v2/pmr", "cub"), config_of("7", "clean", "cub/pmr")]
    assert set(pmr) == {BASE}
    baseline = [config_of("3", "baseline", "concat"), config_of("6", "mobilenet_v2/baseline", "cub")]
    assert set(baseline) == {BASE.with_(method="baseline")} == {config_of("7", "clean", "cub/baseline")}


def test_what_a_table_decides_is_ignored_in_its_base():
    busy = BASE.with_(method="p", augmentation="rmg", stage_num=5)
    assert expand("2", busy).configs == expand("2", BASE).configs
    assert expand("4", busy.with_(stage_num=3)) == expand("4", BASE)
    assert all(config.stage_num == 5 for config in expand("3", busy).configs)


def test_tables_vi_and_vii_compare_data_sets():
    cells = expand("6", BASE, SETS).cells
    assert {cell.config.dataset: cell.config.data for cell in cells.values()} == SETS
    assert len(cells) == 3 * 2 * 3
    seven = expand("7", BASE, SETS)
    assert len(seven.configs) == 2 * 3
    shown = {(cell.perturbation, cell.severity) for cell in seven.cells.values()}
    noises = {("gaussian_noise", 5.0), ("gaussian_noise_legacy", 5.0)}
    assert shown == {(None, 0.0), ("color_jitter", 1.0), *noises}


# Which runs count


def test_mean_and_standard_deviation_over_seeds(tmp_path):
    draw = random.Random(3)
    values = [draw.random() for _ in range(3)]
    for seed, value in enumerate(values):
        finished(tmp_path, BASE.with_(seed=4 + seed), {"concat": value / 2, "mix": value})
    table = expand("3", BASE.with_(seed=4))
    three = fill(table, tmp_path, (4, 5, 6)).cells["pmr", "mix"]
    assert (three.n, three.values) == (3, values)
    assert three.mean == pytest.approx(statistics.mean(values))
    assert three.sd == pytest.approx(statistics.stdev(values))
    assert three.difference == pytest.approx(statistics.mean(values) - 0.870)
    one = fill(table, tmp_path).cells["pmr", "concat"]
    assert (one.n, one.mean, one.sd) == (1, values[0] / 2, None)
    four = fill(table, tmp_path, (4, 5, 6, 7)).cells["pmr", "mix"]
    assert (four.n, four.states[-1]) == (3, None)
    assert found_seeds(tmp_path, table) == (4, 5, 6)


def test_a_run_that_computes_the_same_counts_and_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = BASE.with_(data="photos", resize=256)
    changes = {"seed": 9, "data": "/elsewhere", "image_size": 192, "resize": 300, "method": "p", "weights": "none"}
    for name, value in (changes | {"dropout": 0.1, "augmentation": "none", "per_image": False, "epochs": 8}).items():
        finished(tmp_path, base.with_(**{name: value}), {"mix": 0.5})
    assert fill(expand("3", base), tmp_path).cells["pmr", "mix"].n == 0
    finished(tmp_path, base.with_(device="cpu", threads=2, workers=3, resize=None), {"mix": 0.5})
    assert fill(expand("3", base), tmp_path).cells["pmr", "mix"].n == 1


def test_of_several_runs_the_newest_finished_one_counts_then_a_live_one_then_one_to_resume(tmp_path):
    def counted():
        (entry,) = fill(expand("3", BASE), tmp_path).cells["pmr", "mix"].entries
        return entry.run, entry.state

    failed = ended(tmp_path, BASE, State.FAILED, {"kind": "E", "message": ""})
    assert counted() == (failed.id, State.FAILED)
    Run.create(tmp_path, BASE)
    assert counted() == (failed.id, State.FAILED), "one that was never started is no better"
    queued = Run.create(tmp_path, BASE)
    lifecycle.enqueue(queued.folder, (State.CREATED,), "nobody")
    assert counted() == (queued.id, State.QUEUED)
    old, new = (finished(tmp_path, BASE, {"mix": value}) for value in (0.1, 0.2))
    for age, run in enumerate((new, old, queued, failed)):
        run.folder.rename(tmp_path / f"2030010{9 - age}-000000-{run.id[16:]}")
    assert counted()[0].startswith("20300109")
    assert fill(expand("3", BASE), tmp_path).cells["pmr", "mix"].mean == 0.2


def test_one_output_stands_in_the_concat_column_and_tables_of_primaries_read_the_primary_head(tmp_path):
    finished(tmp_path, BASE.with_(method="baseline"), {"classifier": 0.8})
    finished(tmp_path, BASE.with_(method="m"), {"concat": 0.7})
    finished(tmp_path, BASE, {"S5": 0.1, "concat": 0.2, "mix": 0.9})
    three = fill(expand("3", BASE), tmp_path).cells
    assert [three[line, "concat"].mean for line in ("baseline", "m", "pmr")] == [0.8, 0.7, 0.2]
    assert [three[line, "mix"].mean for line in ("baseline", "m", "pmr")] == [None, None, 0.9]
    six = fill(expand("6", BASE), tmp_path).cells
    assert (six["mobilenet_v2/baseline", "cub"].mean, six["mobilenet_v2/pmr", "cub"].mean) == (0.8, 0.9)
    assert six["mobilenet_v2/pmr", "cub"].change == pytest.approx(0.1)


# On which data


def test_runs_on_other_data_than_the_newest_are_left_out_of_cell_and_table(tmp_path):
    """Seed 0 and the line "p" saw the folder as it was; "pm" only differs in its training images."""
    by_age = {
        "p": (BASE.with_(method="p"), "abc", "de"),
        "old": (BASE, "abc", "de"),
        "pm": (BASE.with_(method="pm"), "abcx", "def"),
        "new": (BASE.with_(seed=1), "abc", "def"),
    }
    for day, (name, (config, train, test)) in enumerate(by_age.items()):
        run = recorded(finished(tmp_path, config, {"mix": 0.1 + day / 10}), train, test)
        run.folder.rename(tmp_path / f"2030010{day + 1}-000000-{name}")
    filled = fill(expand("3", BASE), tmp_path, (0, 1))
    cells = {line: filled.cells[line, "mix"].values for line in ("p", "pm", "pmr")}
    assert cells == {"p": [], "pm": [], "pmr": [pytest.approx(0.4)]}
    (images,) = filled.images
    assert (images.classes, images.train, images.test, images.unknown) == (2, 3, 3, 0)
    assert {each.run.id.rpartition("-")[2] for each in filled.left_out} == {"p", "pm", "old"}
    text = " ".join(as_text(filled).split())
    assert "3 runs are left out of CUB" in text
    assert "tested on 2 images" in text or "4 images" in text
    assert len(json.loads(as_json(filled))["left_out"]) == 3
    plan = needed_runs(expand("3", BASE), tmp_path, (0, 1))
    done = [each.config for each in plan.trainings if each.state is State.FINISHED]
    assert done == [BASE.with_(seed=1)], "filling makes the others again"


def test_runs_without_a_record_count_as_far_as_their_numbers_of_images_agree_and_are_said_to_be_unknown(tmp_path):
    recorded(finished(tmp_path, BASE, {"mix": 0.4}), "abc", "def")
    alike, other = {"counts": (2, 3, 3)}, {"counts": (2, 3, 2)}
    for method, about in (("pm", alike), ("p", other)):
        run = finished(tmp_path, BASE.with_(method=method), {"mix": 0.3}, **about)
        path = run.folder / "result.json"
        path.write_text(path.read_text().replace('"0"', '"ani"').replace('"1"', '"crow"'))
    filled = fill(expand("3", BASE), tmp_path)
    assert [filled.cells[line, "mix"].mean for line in ("p", "pm", "pmr")] == [None, 0.3, 0.4]
    assert filled.images[0].unknown == 1
    assert "Of 1 of its runs the data are unknown" in " ".join(as_text(filled).split())
    (run,) = (each.run for each in filled.left_out)
    (run.folder / FILE).write_bytes(gzip.compress(b"torn"))
    assert [each.run for each in fill(expand("3", BASE), tmp_path).left_out] == [run], "a damaged record is left out"


def test_the_best_epoch_is_shown_where_it_is_asked_for_and_marked_where_it_was_chosen_on_test_images(tmp_path):
    for method, on in (("pmr", "test"), ("pm", "validation")):
        finished(tmp_path, BASE.with_(method=method), {"concat": 0.5, "mix": 0.6}, {"concat": 0.7, "mix": 0.8}, on=on)
    best, last = (fill(expand("3", BASE), tmp_path, epoch=epoch) for epoch in ("best", "last"))
    assert best.cells["pmr", "mix"].mean == 0.8
    assert "best epoch" in as_text(best)
    assert "last epoch" in as_text(last)
    for layout, numbers in ((as_text, ("70.0†", "80.0†")), (as_latex, (r"70.0$\dagger$", r"80.0$\dagger$"))):
        words = layout(best).split()
        assert all(word in words for word in (*numbers, "70.0", "80.0"))
        assert words.count(numbers[0][4:]) == 1, "one line of explanation"
        assert numbers[0][4:] not in layout(last)
    marked = {(c["line"], c["column"]) for c in json.loads(as_json(best))["cells"] if c["on_test"]}
    assert marked == {("pmr", "concat"), ("pmr", "mix")}
    assert not any(cell["on_test"] for cell in json.loads(as_json(last))["cells"])
    with pytest.raises(ConfigError, match="last"):
        fill(expand("7", BASE), tmp_path, epoch="best")
    with pytest.raises(UnknownName, match="last, best"):
        fill(expand("3", BASE), tmp_path, epoch="third")


def test_the_change_pairs_seeds(tmp_path):
    baseline = BASE.with_(method="baseline")
    for seed, (plain, ours) in enumerate([(0.5, 0.6), (0.7, None), (None, 0.1), (0.2, 0.6)]):
        if plain is not None:
            finished(tmp_path, baseline.with_(seed=seed), {"classifier": plain})
        if ours is not None:
            finished(tmp_path, BASE.with_(seed=seed), {"mix": ours})
    cells = fill(expand("6", BASE), tmp_path, range(4)).cells
    assert cells["mobilenet_v2/pmr", "cub"].change == pytest.approx(statistics.mean([0.1, 0.4]))
    assert cells["mobilenet_v2/baseline", "cub"].change is None


# Perturbed cells


@pytest.fixture
def pair(tmp_path):
    """The two finished training runs of Table VII."""
    return (
        finished(tmp_path, BASE.with_(method="baseline"), {"x": 0.8}),
        finished(tmp_path, BASE, {"concat": 0.1, "x": 0.9}),
    )


def jittered(root):
    cells = fill(expand("7", BASE), root).cells
    return [cells["color_jitter", f"cub/{method}"] for method in ("baseline", "pmr")]


def test_perturbed_accuracies_come_from_a_sweep_of_the_runs(tmp_path, pair):
    swept(tmp_path, pair, "color_jitter", 0.5, (0.3, 0.7))
    swept(tmp_path, pair, "color_jitter", 1.0, (0.3, 0.7), test_per_class=2)
    swept(tmp_path, pair, "gaussian_noise", 1.0, (0.3, 0.7))
    swept(tmp_path, pair, "color_jitter", 1.0, (0.3, 0.7), perturbations=("color_jitter=0.5",))
    assert [cell.states for cell in jittered(tmp_path)] == [(None,), (None,)], "other images, other severities"
    sweep = swept(tmp_path, pair, "color_jitter", 1.0, (0.3, 0.7))
    cells = jittered(tmp_path)
    assert [cell.mean for cell in cells] == [0.3, 0.7]
    assert [cell.runs for cell in cells] == [(run.id, sweep.id) for run in pair]
    assert [cell.change for cell in cells] == [pytest.approx(0.3 - 0.8), pytest.approx(0.7 - 0.9)]
    assert fill(expand("7", BASE), tmp_path).cells["gaussian_noise", "cub/pmr"].n == 0


@pytest.mark.parametrize(
    "stated",
    [
        {"severities": None},
        {"severities": None, "perturbations": ("gaussian_noise", "color_jitter=0.5,1")},
        {"severities": (0.5,), "perturbations": ("color_jitter=1",)},
    ],
)
def test_a_sweep_counts_by_the_severities_that_it_means(tmp_path, pair, stated):
    swept(tmp_path, pair, "color_jitter", 1.0, (0.3, 0.7), **stated)
    assert [cell.mean for cell in jittered(tmp_path)] == [0.3, 0.7]


def test_a_sweep_of_images_that_have_changed_since_does_not_count(tmp_path, pair):
    for run in pair:
        recorded(run, "abc", "def")
    sweep = swept(tmp_path, pair, "color_jitter", 1.0, (0.3, 0.7))
    path = sweep.folder / "result.json"
    stored = json.loads(path.read_text())
    for about, counted in (
        ({"images": 3, "data": {run.id: [] for run in pair}}, [1, 1]),
        ({"images": 3, "data": {pair[0].id: ["1 of 3 test images has other pixels."], pair[1].id: []}}, [0, 1]),
        ({"images": 4}, [0, 0]),
    ):
        path.write_text(json.dumps(stored | {"result": stored["result"] | about}))
        os.utime(path, ns=(time.time_ns(),) * 2)
        assert [cell.n for cell in jittered(tmp_path)] == counted


def test_a_sweep_of_a_run_that_trained_on_afterwards_does_not_count(tmp_path, pair):
    swept(tmp_path, pair, "color_jitter", 1.0, (0.3, 0.7))
    path = pair[1].folder / "result.json"
    ending = json.loads(path.read_text())
    path.write_text(json.dumps(ending | {"at": ending["at"] + 60}))
    assert [cell.n for cell in jittered(tmp_path)] == [1, 0]


# Which protocols there are


def test_protocols_are_found_from_the_runs_newest_first(tmp_path):
    other = BASE.with_(image_size=96)
    for age, config in enumerate(
        [BASE.with_(seed=3, method="p", device="cpu"), other, BASE, other.with_(method="hbp")]
    ):
        finished(tmp_path, config, {"mix": 0.5}).folder.rename(tmp_path / f"2030010{9 - age}-000000-run-{age}")
    assert protocols(tmp_path, "3") == [BASE, other]
    assert protocols(tmp_path, "5") == [other, BASE]
    assert protocols(tmp_path, "1") == []
    for number in ("3", "5"):
        for base in protocols(tmp_path, number):
            filled = fill(expand(number, base), tmp_path, found_seeds(tmp_path, expand(number, base)))
            assert sum(cell.n for cell in filled.cells.values()) > 0


def test_protocols_of_table_vi_leave_data_sets_and_backbones_out(tmp_path):
    base = BASE.with_(weights="/weights/resnet18_imagenet.pth")
    cars = base.with_(dataset="cars", data="/photos/cars", backbone="resnet18")
    cub = cars.with_(dataset="cub", data="/photos/cub", backbone="mobilenet_v2")
    for config in (cars, cub.with_(weights="/weights/mobilenet_v2_imagenet.pth")):
        finished(tmp_path, config, {"mix": 0.5})
    (found,) = protocols(tmp_path, "6")
    assert data_sets(tmp_path, "6", found) == {"cub": "/photos/cub", "cars": "/photos/cars"}
    cells = fill(expand("6", found, data_sets(tmp_path, "6", found)), tmp_path).cells
    assert [place for place, cell in cells.items() if cell.n] == [("mobilenet_v2/pmr", "cub"), ("resnet18/pmr", "cars")]


# Layout


def numbers(root, seeds=2):
    """Finish every line of Table III but the last for some seeds."""
    for config in expand("3", BASE).configs[:-1]:
        heads = {"baseline": ("classifier",), "m": ("concat",)}.get(config.method, HEADS)
        for seed in range(seeds):
            finished(root, config.with_(seed=seed), dict.fromkeys(heads, 0.5 + seed / 100))
    return fill(expand("3", BASE), root, range(seeds))


def test_text_is_aligned_labelled_and_fits_a_terminal(tmp_path):
    text = as_text(numbers(tmp_path))
    assert max(map(len, text.splitlines())) <= 100
    assert text.startswith("Table III. The contribution of each component in RMG-PMSI.\n")
    assert "image_size = 224, epochs = 7, frozen_epochs = 2" in " ".join(text.split())
    assert "CUB, 35 classes, 1050 training and 942 test images (the paper: 200, 5994, 5794)" in text
    assert "2 seeds (0, 1)" in " ".join(text.split())
    misprinted = as_text(fill(expand("7", BASE), tmp_path))
    assert all(said in misprinted for said in ("14.1 (−67.4*)", "printed −77.4", "59.9 (−27.1)"))
    assert "*" not in as_text(fill(expand("6", BASE), tmp_path))
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert re.fullmatch(r"Baseline +50\.5 ± 0\.7 +–", lines["Baseline"])
    assert re.fullmatch(r"\+ P & M +50\.5 ± 0\.7 +50\.5 ± 0\.7", lines["+ P & M"])
    assert re.fullmatch(r"\+ P & M & R +not run +not run", lines["+ P & M & R"])
    assert len({len(line) for line in text.splitlines() if "±" in line and "Ours" not in line}) == 1


def test_a_difference_is_called_one_between_two_experiments_unless_data_and_recipe_are_the_paper_s(tmp_path):
    exact = TrainConfig(dataset="cub", data="/photos/cub")
    finished(tmp_path, exact, {"mix": 0.5}, counts=(200, 5994, 5794))
    assert "two different experiments" not in as_text(fill(expand("3", exact), tmp_path))
    assert "two different experiments" in as_text(fill(expand("3", exact, None), tmp_path, (1,))), (
        "nothing is known yet"
    )
    finished(tmp_path, exact.with_(seed=2), {"mix": 0.5}, counts=(35, 1050, 942))
    assert "two different experiments" in as_text(fill(expand("3", exact), tmp_path, (2,)))
    finished(tmp_path, exact.with_(epochs=100), {"mix": 0.5}, counts=(200, 5994, 5794))
    assert "two different experiments" in as_text(fill(expand("3", exact.with_(epochs=100)), tmp_path))


ODD = r"50 % of_A & B | <b> *x* #1 ~^ {y} \z $5 `q`"


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """Table V with a method whose title has every character that some format reads as something else."""
    row = METHODS["pm"].__class__(**(vars(METHODS["pm"]) | {"title": ODD, "tables": ("5",)}))
    monkeypatch.setitem(METHODS, "odd", row)
    return fill(expand("5", BASE), tmp_path)


def test_markdown_keeps_odd_titles_in_their_cell(odd):
    lines = [line for line in as_markdown(odd).splitlines() if line.startswith("|")]
    unescaped = [re.sub(r"\\[\\|]", "", line) for line in lines]
    assert {line.count("|") for line in unescaped} == {4}
    (title,) = (line.split(" | ")[0] for line in lines if "50 %" in line)
    assert re.sub(r"\\(.)", r"\1", as_markdown(odd).split("| 50", 1)[1].split(" | **", 1)[0]) == ODD[2:]
    assert not re.search(r"(?<!\\)[*_`<]", title[2:])


def test_latex_escapes_odd_titles(odd):
    text = as_latex(odd)
    (line,) = (line for line in text.splitlines() if line.startswith("50"))
    bare = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater)\{\}|\\[&%$#_{}]", "", line)
    assert not re.search(r"[%$#_{}~^<>]|\\(?!\\$)", bare.removesuffix(r" \\"))
    assert bare.count("&") == 2
    for begin in ("table", "tabular"):
        assert text.count(rf"\begin{{{begin}}}") == text.count(rf"\end{{{begin}}}") == 1
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    assert not set(text) & set("−±–×σ"), "every sign is one that TeX has"


def test_csv_has_one_record_for_each_cell(tmp_path, odd):
    found = {(record["line"], record["column"]): record for record in csv.DictReader(io.StringIO(as_csv(odd)))}
    assert found.keys() == odd.cells.keys()
    assert found["odd", "mix"]["line_title"] == ODD
    filled = numbers(tmp_path)
    records = {(row["line"], row["column"]): row for row in csv.DictReader(io.StringIO(as_csv(filled)))}
    record, cell = records["p", "mix"], filled.cells["p", "mix"]
    assert float(record["mean"]) == pytest.approx(50.5)
    assert float(record["sd"]) == pytest.approx(100 * statistics.stdev([0.5, 0.51]), abs=1e-5)
    assert float(record["paper"]) == 85.5
    assert float(record["difference"]) == pytest.approx(50.5 - 85.5)
    assert record["runs"].split() == list(cell.runs)
    assert (record["seeds"], record["states"], record["n"]) == ("0 1", "finished finished", "2")
    assert records["pmr", "mix"]["mean"] == records["pmr", "mix"]["sd"] == ""
    assert records["baseline", "concat"]["unit"] == "per cent"


@pytest.mark.parametrize("number", TABLES)
def test_every_table_has_a_cell_for_each_printed_number_and_a_layout_before_anything_has_run(
    tmp_path, number, monkeypatch
):
    cells = expand(number, BASE, SETS).cells
    assert {place: cell.printed for place, cell in cells.items() if cell.printed} == paper_table(number).cells
    monkeypatch.setitem(DATASETS, "cub", counted(3, 5, 4, needs_folder=True))
    filled = fill(expand(number, BASE.with_(data=str(tmp_path))), tmp_path)
    for name, layout in FORMATS.items():
        assert paper_table(number).title in layout(filled) or name == "csv"


# Table I


def counted(classes, train, test, needs_folder=False):
    """A data set with so many classes and images."""

    def open_(config, progress=None):
        names = tuple(map(str, range(classes)))
        samples = [
            tuple(Sample(f"{split}/{i}", i % classes) for i in range(n)) for split, n in enumerate((train, test))
        ]
        return Dataset("counted", names, *samples, lambda sample: None)

    return DatasetRow("Counted", open_, needs_folder, "Counts.")


def test_table_i_counts_what_is_there_beside_what_is_printed(tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS, "cub", counted(3, 11, 7))
    monkeypatch.setitem(DATASETS, "cars", counted(196, 8144, 8041))
    filled = fill(expand("1", BASE, {"cub": None, "cars": None}), tmp_path)
    assert {place: cell.mean for place, cell in filled.cells.items() if place[0] == "cub"} == {
        ("cub", "classes"): 3, ("cub", "train"): 11, ("cub", "test"): 7,
    }  # fmt: skip
    assert filled.cells["cub", "train"].difference == 11 - 5994
    assert filled.cells["cars", "test"].difference == 0
    text = as_text(filled)
    run = finished(tmp_path, BASE.with_(data=None, test_per_class=1, epochs=9), {"mix": 0.5}, counts=(3, 9, 3))
    used = fill(expand("1", BASE, {"cub": None}), tmp_path)
    assert [used.cells["cub", count].mean for count in ("classes", "train", "test")] == [3, 9, 3]
    assert f"as run {run.id} used it" in " ".join(as_text(used).split())
    assert re.search(r"CUB-200-2011? +3 +11 +7|Counted +3 +11 +7", text)
    assert "−5983" in text
    assert "%" not in text


def test_the_sentence_about_a_table_follows_from_its_numbers(tmp_path):
    said = lambda number, sets=None: finding(fill(expand(number, BASE, sets), tmp_path))  # noqa: E731
    assert "no number" in said("3")
    for method, mix in (("pmr", 0.75), ("pm", 0.5), ("p", 0.625)):
        finished(tmp_path, BASE.with_(method=method), {"concat": 0.1, "mix": mix}, counts=(35, 1050, 100))
    found = said("3")
    titles = {part.key: part.title for part in expand("3", BASE).lines}
    assert found.startswith(f"{titles['pmr']} ")
    assert "mix: 75.0 %" in found
    assert f"12.5 points above {titles['p']} and 25.0 above {titles['pm']}" in found
    chance = 1.96 * math.sqrt(2 * 0.5 * 0.5 / 100)  # of the accuracy that chance moves most
    assert f"less than {100 * chance:.1f} points" in found
    finished(tmp_path, BASE.with_(method="baseline"), {"classifier": 0.5}, counts=(35, 1050, 100))
    assert "+25.0 points" in said("6", {"cub": "/photos/cub"})
