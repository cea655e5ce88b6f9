"""Sweeps written out: CSV, a page, confusions, and the images that flip, against loops over invented answers."""

import base64
import csv
import io
import json
import shutil
from collections import Counter
from html import escape
from html.parser import HTMLParser

import numpy as np
import plotly.graph_objects as plotly
import pytest
from PIL import Image
from untrained import untrained

from pmsi import tasks
from pmsi.base.errors import RunError, UnknownName
from pmsi.config import RobustnessConfig
from pmsi.perturbations import pixel_hash
from pmsi.robustness import CLEAN, Cell
from pmsi.robustness.confusion import confused_pairs, confusion, first_to_flip, images_at, most_confused
from pmsi.robustness.drawing import class_drops, confusion_figure, curves
from pmsi.robustness.export import CELLS, as_csv
from pmsi.robustness.page import accuracy_text, as_html, drop_text, p_text
from pmsi.robustness.report import FILE
from pmsi.robustness.results import read_results
from pmsi.runs import Run, State
from pmsi.uncertainty.measures import brier

sklearn = pytest.importorskip("sklearn.metrics")

JITTER = Cell("color_jitter", 1.0)


@pytest.fixture(scope="module")
def swept(tmp_path_factory, tiny_run):
    """A finished sweep over a trained run and one that was not."""
    root = tmp_path_factory.mktemp("runs")
    runs = Run(shutil.copytree(tiny_run.folder, root / tiny_run.id)), untrained(root, tiny_run.config.with_(seed=1))
    sweep = Run.create(root, RobustnessConfig(of=tuple(run.id for run in runs), perturbations=("color_jitter=1",)))
    assert tasks.execute(sweep) is State.FINISHED
    return sweep


def stored(sweep, cell):
    return json.loads((sweep.folder / cell.file).read_text())


def lines_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_csv_has_a_line_for_each_run_cell_and_output(swept, pmsi, tmp_path):
    out = tmp_path / "deep" / "sweep.csv"
    assert pmsi("report", swept.id, "--out", out, "--runs", swept.folder.parent)[0] == 0
    lines = lines_of(out.read_text())
    assert tuple(lines[0]) == CELLS
    found = {(line["run"], line["perturbation"], line["output"]): line for line in lines}
    expected = set()
    for cell in (CLEAN, JITTER):
        kept = stored(swept, cell)
        for id, answers in kept["runs"].items():
            for head, predicted in answers["predicted"].items():
                line = found[id, cell.perturbation or "", head]
                hits = sum(a == b for a, b in zip(predicted, kept["labels"], strict=True))
                assert (int(line["correct"]), int(line["n"])) == (hits, len(predicted))
                assert float(line["low"]) <= hits / len(predicted) <= float(line["high"])
                said = read_results(swept).answers(cell, id)
                assert float(line["brier"]) == pytest.approx(brier(said["raw"][head]))
                assert said["raw"][head].right.sum() == hits
                expected.add((id, cell.perturbation or "", head))
    assert len(lines) == len(found)
    assert found.keys() == expected


def test_each_output_is_tested_against_the_same_one_of_the_first_run(swept):
    results = read_results(swept)
    first, second = results.runs
    lines = [line for line in lines_of(as_csv(results)) if line["p"]]
    heads = [*stored(swept, CLEAN)["runs"][second]["predicted"]]
    assert [line["output"] for line in lines] == [head for _ in (CLEAN, JITTER) for head in heads]
    for line in lines:
        head, cell = line["output"], JITTER if line["perturbation"] else CLEAN
        assert (line["run"], line["against"], line["against_output"]) == (second, first, head)
        right = {id: results.predictions(cell, id, head) == results.report["labels"] for id in (first, second)}
        assert int(line["only_here"]) == (right[second] & ~right[first]).sum()
        assert int(line["only_there"]) == (right[first] & ~right[second]).sum()
        test = results.test(cell, (first, head), (second, head))
        assert (float(line["p"]), float(line["holm"])) == (test["p"], test["holm"])


@pytest.fixture
def of_two_kinds(tmp_path):
    """A sweep, written by hand, of a run that predicts with ``classifier`` and one that predicts with ``mix``."""
    runs = {"a": {"classifier": [0, 1, 1, 0]}, "b": {"mix": [0, 1, 0, 1], "S5": [0, 0, 0, 0]}}
    sweep = Run.create(tmp_path, RobustnessConfig(of=tuple(runs), perturbations=("color_jitter=1",)))
    (sweep.folder / "predictions").mkdir()
    for cell in (CLEAN, JITTER):
        answers = {id: {"factors": {}, "predicted": predicted} for id, predicted in runs.items()}
        stored = {"keys": [*"wxyz"], "labels": [0, 1, 0, 1], "runs": answers}
        (sweep.folder / cell.file).write_text(json.dumps(stored))
        scores = dict.fromkeys(("correct", "n", "accuracy", "low", "high", "drop", "drop_low", "drop_high"), 0)
        about = {
            id: {"primary": next(iter(predicted)), "heads": dict.fromkeys(predicted, scores)}
            for id, predicted in runs.items()
        }
        sweep.log({"kind": "cell", "perturbation": cell.perturbation, "severity": cell.severity, "runs": about})
    return sweep


def test_runs_without_a_common_output_are_tested_by_what_they_predict(of_two_kinds):
    lines = {(line["run"], line["output"]): line for line in lines_of(as_csv(read_results(of_two_kinds)))}
    assert [key for key, line in lines.items() if line["p"]] == [("b", "mix")]
    line = lines["b", "mix"]
    assert (line["against"], line["against_output"]) == ("a", "classifier")
    assert (line["only_here"], line["only_there"], line["p"], line["holm"]) == ("2", "0", "0.5", "1.0")


def test_a_stored_report_of_another_time_changes_nothing_and_lost_answers_are_told(of_two_kinds):
    expected = read_results(of_two_kinds).report
    for text in ('{"comparisons": [], "primary": {"a": "classifier"}}', "{"):
        (of_two_kinds.folder / FILE).write_text(text)
        assert read_results(of_two_kinds).report == expected
    (of_two_kinds.folder / FILE).write_text('{"classes": ["ant", "bee"]}')
    results = read_results(of_two_kinds)
    assert results.report == expected | {"classes": ["ant", "bee"]}, "names that nobody else may know"
    (of_two_kinds.folder / JITTER.file).unlink()
    results = read_results(of_two_kinds)
    assert results.predictions(CLEAN, "b", "mix").tolist() == [0, 1, 0, 1]
    with pytest.raises(RunError, match="Resume the sweep"):
        results.predictions(JITTER, "b", "mix")
    with pytest.raises(UnknownName, match="mix, S5"):
        results.predictions(CLEAN, "b", "S3")
    for damaged in ("{}", '{"runs": {"a": 1}}', '{"runs": {"a": {"predicted": {"S5": ["x"]}}}}'):
        (of_two_kinds.folder / JITTER.file).write_text(damaged)
        with pytest.raises(RunError, match="damaged"):
            read_results(of_two_kinds)


def test_the_lines_of_images_say_what_flips_them(swept, pmsi, tmp_path):
    out = tmp_path / "images.csv"
    assert pmsi("report", swept.id, "--out", out, "--per-image", "--runs", swept.folder.parent)[0] == 0
    lines = lines_of(out.read_text())
    results = read_results(swept)
    assert len(lines) == len(results.runs) * results.images
    for line in lines:
        i = results.report["keys"].index(line["image"])
        before, after = (results.predictions(cell, line["run"], "mix")[i] for cell in (CLEAN, JITTER))
        assert line["clean_answer"] == results.report["classes"][before]
        assert line["flips_at color_jitter"] == ("1.0" if before != after else "")


class Read(HTMLParser):
    """What a browser finds in a page: its text, its tables, what it would fetch, and its scripts."""

    def __init__(self, html):
        super().__init__()
        self.text, self.fetched, self.rows, self.scripts, self._open = "", [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self._open = tag
        self.fetched += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data):
        if self._open == "script":
            self.scripts.append(data)
        elif self._open != "style":
            self.text += data
        if self._open in ("td", "th"):
            self.rows[-1].append(data.strip())
            self._open = ""

    @property
    def figures(self):
        """The figures of Plotly."""
        (script,) = [script for script in self.scripts if "const figures = " in script]
        return json.JSONDecoder().raw_decode(script.split("const figures = ")[1])[0]


def test_the_page_stands_alone_and_says_what_the_csv_says(swept, pmsi, tmp_path):
    out = tmp_path / "sweep.html"
    assert pmsi("report", swept.id, "--out", out, "--runs", swept.folder.parent)[0] == 0
    page, results = Read(out.read_text()), read_results(swept)
    assert all(each.startswith("data:image/") for each in page.fetched)
    assert f"pmsi robustness {' '.join(results.runs)} --perturbations color_jitter=1" in page.text
    first, second = results.runs
    for id in results.runs:
        for head in results.heads(id):
            score = results.score(JITTER, id, head)
            test = results.test(JITTER, (first, head), (second, head)) if id == second else None
            p_values = [p_text(test["p"]), p_text(test["holm"])] if test else ["–", "–"]
            row = ["1", results.title(id), head, accuracy_text(score), drop_text(score), *p_values]
            assert row in page.rows


def test_the_page_s_figures_hold_the_sweep_s_numbers(swept):
    results = read_results(swept)
    titles = {id: f"run {number}" for number, id in enumerate(results.runs)}
    figures = Read(as_html(results, titles=titles, pictures=False)).figures
    for id, name in titles.items():
        lines = [trace for trace in figures[0]["data"] if trace["name"] == name and trace["mode"] == "lines+markers"]
        for head in results.heads(id):
            (line,) = [trace for trace in lines if head in trace["meta"]]
            scores = [results.score(cell, id, head) for cell in (CLEAN, JITTER)]
            assert line["y"] == pytest.approx([100 * score["accuracy"] for score in scores])
    factors = {each["factor"] for each in results.report["factors"]}
    (against,) = [each for each in figures if each["layout"]["xaxis"]["title"]["text"] == "As drawn for each image"]
    assert {trace["meta"][0].partition(",")[0].replace(" ", "_") for trace in against["data"]} == factors
    matrices = [figure for figure in figures if "squares" in figure]
    for id, figure in zip(results.runs, matrices, strict=True):
        pairs = zip(results.report["labels"], results.predictions(JITTER, id, "mix").tolist(), strict=True)
        counts = Counter(f"{row}-{column}" for row, column in pairs)
        squares = {name: len(square["images"]) + square["more"] for name, square in figure["squares"].items()}
        assert squares == counts


def test_a_square_s_pictures_are_those_that_the_run_was_shown(swept):
    results = read_results(swept)
    squares = Read(as_html(results)).figures[-1]["squares"].values()
    shown = {image["words"]: image["src"] for square in squares for image in square["images"] if image["src"]}
    assert shown
    for words, uri in shown.items():
        index = results.report["keys"].index(words.partition(" · ")[0])
        made = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).resize((8, 8)), float)
        expected = np.asarray(results.picture(results.dataset(), index, JITTER).resize((8, 8)), float)
        assert np.abs(made - expected).mean() < 6


def test_titles_are_text_and_never_markup(swept):
    results = read_results(swept)
    evil = "</script><b>&\"'"
    html = as_html(results, titles={results.runs[0]: evil}, command=evil, pictures=False)
    page = Read(html)
    assert evil in page.text
    assert html.count("</script>") == 2
    names = {trace["name"] for trace in page.figures[0]["data"]}
    assert escape(evil) in names, "Plotly reads tags in text"


def test_a_picture_is_made_again_pixel_by_pixel(swept):
    results = read_results(swept)
    dataset = results.dataset()
    for cell in (CLEAN, JITTER):
        hashes = stored(swept, cell)["runs"][results.runs[0]]["pixels"]
        made = [pixel_hash(np.asarray(results.picture(dataset, i, cell))) for i in range(3)]
        assert made == hashes[:3]


def test_what_cannot_be_written_is_refused_in_a_line(swept, pmsi, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = swept.folder.parent
    part = Run.create(root, swept.config)
    for words, said in (
        ((swept.id, "--out", "x.doc"), ".html, .csv"),
        ((swept.id, "--out", "x.html", "--per-image"), "--per-image is for .csv"),
        ((read_results(swept).runs[0], "--out", "x.csv"), "is no sweep"),
        ((part.id, "--out", "x.html"), "no finished cell yet"),
    ):
        status, out, err = pmsi("report", *words, "--runs", root)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert said in err
        assert not list(tmp_path.iterdir())


# Confusions


def test_a_confusion_matrix_is_scikit_learn_s_and_its_pairs_come_fullest_first():
    truth, answers = np.random.default_rng(0).integers(0, 7, (2, 300))
    expected = sklearn.confusion_matrix(truth, answers, labels=range(9))
    assert np.array_equal(confusion(truth, answers, 9), expected)
    truth, answers = np.array([0, 0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 1, 0, 2, 1])
    pairs = confused_pairs(confusion(truth, answers, 4))
    assert [(pair.row, pair.column, pair.count) for pair in pairs] == [(0, 1, 2), (2, 0, 1), (2, 1, 1)]
    assert images_at(truth, answers, 0, 1) == [1, 2]


def test_of_many_classes_the_most_confused_are_shown():
    matrix = 10 * np.eye(200, dtype=int)
    matrix[17, 150], matrix[3, 90] = 6, 2
    assert most_confused(matrix, 2) == [17, 150]
    assert most_confused(matrix, 4) == [3, 17, 90, 150]
    assert len(most_confused(matrix, 16)) == 16
    assert most_confused(matrix, 300) == [*range(200)]


def test_only_clean_hits_flip_and_the_least_severity_comes_first():
    found = {"flips": {"a": {"jpeg": [90.0, None, 50.0, 70.0, 50.0]}}}
    flips = first_to_flip(found, "a", "jpeg", [True, True, True, False, True])
    assert [(flip.index, flip.severity) for flip in flips] == [(2, 50.0), (4, 50.0), (0, 90.0)]


# Figures


def test_a_place_of_the_matrix_knows_its_row_and_column():
    matrix = np.array([[5, 0, 2], [0, 4, 0], [0, 1, 3]])
    heat, places = confusion_figure(matrix, [0, 2], ["a", "b", "c"], ("True", "Answer"), "#0f7fc2")["data"]
    assert [place[:2] for place in places["customdata"]] == [[0, 0], [0, 2], [2, 2]]
    assert places["text"] == ["5", "2", "3"]
    assert heat["z"] == [[0, 2], [0, 0]]


def test_figures_are_plotly_s():
    line = [{"x": 0.0, "y": 0.5, "low": 0.4, "high": 0.6}]
    for figure in (
        curves({"a": line}, {"a": "#000000"}, "k", "Accuracy (%)"),
        class_drops({"a": [0.5, 0.1]}, ["x", "y"], {}),
        confusion_figure(np.array([[5, 2], [0, 4]]), [0, 1], ["x", "y"], ("True", "Answer"), "#0f7fc2"),
    ):
        assert json.loads(plotly.Figure(figure).to_json())["data"]  # raises where a name or a value is none of Plotly's
    assert class_drops({"a": [-0.0001]}, ["x"], {})["data"][0]["hovertext"] == ["0.0"], "no negative zero"
