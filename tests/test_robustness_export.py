"""Sweeps written out: CSV, a page, confusions, and the images that flip, against loops over invented answers."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from pmsi import tasks
from pmsi.base.errors import RunError, UnknownName
from pmsi.config import RobustnessConfig
from pmsi.perturbations import pixel_hash
from pmsi.robustness import CLEAN, Cell
from pmsi.robustness.confusion import behind, confused_pairs, confusion, first_to_flip, most_confused
from pmsi.robustness.drawing import curves
from pmsi.robustness.export import CELLS, as_csv
from pmsi.robustness.page import as_html, p_text
from pmsi.robustness.reading import tell
from pmsi.robustness.report import FILE
from pmsi.runs import Run

sklearn = pytest.importorskip("sklearn.metrics")

JITTER = Cell("color_jitter", 1.0)


@pytest.fixture(scope="module")
def swept(tmp_path_factory, tiny_config):
    """A finished sweep over two runs trained for seconds."""
    root = tmp_path_factory.mktemp("runs")
    trained = [Run.create(root, tiny_config.with_(seed=seed, epochs=1)) for seed in (0, 1)]
    sweep = Run.create(root, RobustnessConfig(of=tuple(run.id for run in trained), perturbations=("color_jitter=1",)))
    for run in (*trained, sweep):
        assert tasks.execute(run).name == "FINISHED"
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
    expected = 0
    for cell in (CLEAN, JITTER):
        kept = stored(swept, cell)
        for id, answers in kept["runs"].items():
            for head, predicted in answers["predicted"].items():
                (line,) = [
                    line
                    for line in lines
                    if (line["run"], line["perturbation"], line["output"]) == (id, cell.perturbation or "", head)
                ]
                hits = sum(a == b for a, b in zip(predicted, kept["labels"], strict=True))
                assert (int(line["correct"]), int(line["n"])) == (hits, len(predicted))
                assert float(line["low"]) <= hits / len(predicted) <= float(line["high"])
                expected += 1
    assert len(lines) == expected


def test_each_output_is_tested_against_the_same_one_of_the_first_run(swept, pmsi, tmp_path):
    out = tmp_path / "sweep.csv"
    pmsi("report", swept.id, "--out", out, "--runs", swept.folder.parent)
    first, second = tell(swept).runs
    lines = [line for line in lines_of(out.read_text()) if line["p"]]
    assert {(line["run"], line["against"]) for line in lines} == {(second, first)}
    heads = [*stored(swept, CLEAN)["runs"][second]["predicted"]]
    assert [line["output"] for line in lines] == [head for _ in (CLEAN, JITTER) for head in heads]
    family = {}
    for line in lines:
        kept = stored(swept, JITTER if line["perturbation"] else CLEAN)
        right = {
            id: np.array(kept["runs"][id]["predicted"][line["output"]]) == kept["labels"] for id in (first, second)
        }
        assert line["against_output"] == line["output"]
        assert int(line["only_here"]) == (right[second] & ~right[first]).sum()
        assert int(line["only_there"]) == (right[first] & ~right[second]).sum()
        family.setdefault(line["output"], []).append((float(line["p"]), float(line["holm"])))
    for tests in family.values():  # of two cells each: the smaller p doubled, the larger one not below it
        (least, doubled), (most, kept) = sorted(tests)
        assert doubled == pytest.approx(min(1.0, 2 * least))
        assert kept == pytest.approx(max(doubled, most))


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
    lines = {(line["run"], line["output"]): line for line in lines_of(as_csv(tell(of_two_kinds)))}
    assert [key for key, line in lines.items() if line["p"]] == [("b", "mix")]
    line = lines["b", "mix"]
    assert (line["against"], line["against_output"]) == ("a", "classifier")
    assert (line["only_here"], line["only_there"], line["p"], line["holm"]) == ("2", "0", "0.5", "1.0")


def test_a_stored_report_of_another_time_changes_nothing(of_two_kinds):
    expected = tell(of_two_kinds).report
    for text in ('{"comparisons": [], "primary": {"a": "classifier"}}', "{"):
        (of_two_kinds.folder / FILE).write_text(text)
        assert tell(of_two_kinds).report == expected
    (of_two_kinds.folder / FILE).write_text('{"classes": ["ant", "bee"]}')
    assert tell(of_two_kinds).report == expected | {"classes": ["ant", "bee"]}, "names that nobody else may know"


def test_a_cell_whose_answers_are_lost_is_told_with_what_to_do(of_two_kinds):
    (of_two_kinds.folder / JITTER.file).unlink()
    told = tell(of_two_kinds)
    assert told.answers(CLEAN, "b", "mix").tolist() == [0, 1, 0, 1]
    with pytest.raises(RunError, match="Resume the sweep"):
        told.answers(JITTER, "b", "mix")
    with pytest.raises(UnknownName, match="mix, S5"):
        told.answers(CLEAN, "b", "S3")


def test_the_lines_of_images_say_what_flips_them(swept, pmsi, tmp_path):
    out = tmp_path / "images.csv"
    assert pmsi("report", swept.id, "--out", out, "--per-image", "--runs", swept.folder.parent)[0] == 0
    lines = lines_of(out.read_text())
    told = tell(swept)
    assert len(lines) == len(told.runs) * told.images
    for line in lines:
        i = told.report["keys"].index(line["image"])
        before, after = (told.answers(cell, line["run"], "mix")[i] for cell in (CLEAN, JITTER))
        assert line["clean_answer"] == told.report["classes"][before]
        assert line["flips_at color_jitter"] == ("1.0" if before != after else "")


def test_the_page_stands_alone_and_says_what_the_csv_says(swept, pmsi, tmp_path):
    out = tmp_path / "sweep.html"
    assert pmsi("report", swept.id, "--out", out, "--runs", swept.folder.parent)[0] == 0
    html = out.read_text()
    assert not re.search(r"<script|<link|@import|url\(|https?://", html)
    assert f"pmsi robustness {' '.join(tell(swept).runs)} --perturbations color_jitter=1" in html
    assert "prefers-color-scheme:dark" in html
    for svg in re.findall(r"<svg.*?</svg>", html, re.S):
        ElementTree.fromstring(svg)
    told = tell(swept)
    for id in told.runs:
        assert f"{100 * told.score(JITTER, id, 'mix')['accuracy']:.1f} %" in html
    first, second = told.runs
    tables = re.findall(r"<tbody>.*?</tbody>", html, re.S)
    for head in told.heads(second):
        test = told.test(JITTER, (first, head), (second, head))
        line = f"<td>{head}</td>(?:(?!</tr>).)*<td>{p_text(test['p'])}</td><td>{p_text(test['holm'])}</td></tr>"
        assert any(re.search(line, table) for table in tables), head
    assert "over the 2 cells of these two runs and this output alone" in html


def test_titles_are_text_and_never_markup(swept):
    told = tell(swept)
    html = as_html(told, titles={told.runs[0]: "<b>&"}, command="a < b", pictures=False)
    assert "<b>&amp;" not in html
    assert "&lt;b&gt;&amp;" in html
    assert "a &lt; b" in html


def test_a_picture_is_made_again_pixel_by_pixel(swept):
    told = tell(swept)
    dataset = told.dataset()
    for cell in (CLEAN, JITTER):
        hashes = stored(swept, cell)["runs"][told.runs[0]]["pixels"]
        made = [pixel_hash(np.asarray(told.shown(dataset, i, cell))) for i in range(3)]
        assert made == hashes[:3]


def test_an_unfinished_sweep_is_told_as_far_as_it_is(swept, tmp_path, pmsi):
    part = Run.create(tmp_path, swept.config)
    status, _, err = pmsi("report", part.id, "--out", tmp_path / "x.html", "--runs", tmp_path)
    assert status == 2
    assert "no finished cell yet" in err
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("SWEEP", "--out", "x.doc"), "Choose one of: .html, .csv"),
        (("SWEEP", "--out", "x.html", "--per-image"), "--per-image is for .csv"),
        (("TRAINED", "--out", "x.csv"), "is no sweep but of the task 'train'"),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_line(swept, pmsi, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    ids = {"SWEEP": swept.id, "TRAINED": tell(swept).runs[0]}
    status, out, err = pmsi("report", *(ids.get(word, word) for word in words), "--runs", swept.folder.parent)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not list(tmp_path.iterdir())


# Confusions


def test_a_confusion_matrix_is_scikit_learn_s():
    generator = np.random.default_rng(0)
    truth, answers = generator.integers(0, 7, (2, 300))
    expected = sklearn.confusion_matrix(truth, answers, labels=range(9))
    assert np.array_equal(confusion(truth, answers, 9), expected)


def test_pairs_come_fullest_first_and_open_their_images():
    truth, answers = np.array([0, 0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 1, 0, 2, 1])
    pairs = confused_pairs(confusion(truth, answers, 4))
    assert [(pair.row, pair.column, pair.count) for pair in pairs] == [(0, 1, 2), (2, 0, 1), (2, 1, 1)]
    assert behind(truth, answers, 0, 1) == [1, 2]


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


# Curves


def test_a_curve_s_points_are_where_their_numbers_say():
    line = [{"x": x, "y": y, "low": y - 0.1, "high": y + 0.1} for x, y in ((0, 1.0), (5, 0.5), (10, 0.0))]
    svg = ElementTree.fromstring(curves({"a & b": line}, {"a & b": "#000000"}, "k", "Accuracy"))
    places = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in svg.iter("circle")]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x1 == pytest.approx((x0 + x2) / 2)
    assert y1 == pytest.approx((y0 + y2) / 2)
    assert y0 < y2  # down is less
