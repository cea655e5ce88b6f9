"""The report of a sweep against loops over invented predictions, image by image."""

import json
import math

import numpy as np
import pytest

from pmsi.base.errors import RunError
from pmsi.base.files import to_json
from pmsi.base.statistics import holm, wilson
from pmsi.robustness import Cell
from pmsi.robustness.report import BINS, report

stats = pytest.importorskip("scipy.stats")

CLASSES = ("ant", "bee", "cat", "dog")  # no test image is a dog
PRIMARY = {"a": "mix", "b": "classifier", "c": "mix"}
IMAGES = 40
CLEAN = Cell(None, 0.0)
JITTER = [Cell("color_jitter", level) for level in (0.25, 0.5, 1.0)]
NOISE = [Cell("gaussian_noise", 5.0)]
CELLS = [CLEAN, JITTER[2], JITTER[0], *NOISE, JITTER[1]]  # not in the order of severities
LABELS = [i % 3 for i in range(IMAGES)]


def invented(cell, seed):
    """Return one run's part of a file of predictions: right about as often as the severity allows."""
    generator = np.random.default_rng([seed, int(100 * cell.severity), cell.perturbation == "gaussian_noise"])

    def answers(skill):
        right = generator.random(IMAGES) < (0.9 if cell == CLEAN else skill)
        return np.where(right, LABELS, generator.integers(0, 4, IMAGES)).tolist()

    predicted = {"mix": answers(0.6), "S5": answers(0.5), "classifier": answers(0.6)}
    gains = np.random.default_rng(int(100 * cell.severity)).uniform(0.5, 1.5, IMAGES).tolist()
    factors = {"color_jitter": {"order": [["contrast"]] * IMAGES, "contrast": gains}, None: {}}
    drawn = factors.get(cell.perturbation, {"noise_seed": [*range(IMAGES)]})
    if seed == 2:
        del predicted["S5"]
    return {"pixels": ["0"] * IMAGES, "factors": drawn, "predicted": predicted}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "predictions").mkdir()
    for cell in CELLS:
        runs = {id: invented(cell, seed) for seed, id in enumerate(PRIMARY)}
        stored = {"keys": [f"{i}.jpg" for i in range(IMAGES)], "labels": LABELS, "runs": runs}
        (tmp_path / cell.file).write_text(json.dumps(stored))
    return tmp_path


@pytest.fixture
def found(folder):
    return report(folder, CELLS, PRIMARY, CLASSES)


def answers(cell, id, output=None):
    return invented(cell, [*PRIMARY].index(id))["predicted"][output or PRIMARY[id]]


def right(cell, id, output=None):
    return [answer == label for answer, label in zip(answers(cell, id, output), LABELS, strict=True)]


def test_it_is_json_and_names_its_images(found):
    assert json.loads(to_json(found)) == found
    assert found["keys"][7] == "7.jpg"
    assert (found["labels"], found["classes"], found["primary"]) == (LABELS, [*CLASSES], PRIMARY)


COMPARED = {
    ("a", "b"): [("mix", "classifier"), ("mix", "mix"), ("S5", "S5"), ("classifier", "classifier")],
    ("a", "c"): [("mix", "mix"), ("classifier", "classifier")],
    ("b", "c"): [("classifier", "mix"), ("mix", "mix"), ("classifier", "classifier")],
}
"""By two runs the outputs that are compared: those that predict, then each that both have. c has no S5."""


def test_each_two_runs_are_compared_in_each_cell_output_against_output(found):
    outputs = {}
    for each in found["comparisons"]:
        pair = (each["output_a"], each["output_b"])
        if pair not in (known := outputs.setdefault((each["a"], each["b"]), [])):
            known.append(pair)
    assert outputs == COMPARED


def test_p_is_the_binomial_test_s_and_adjusted_over_the_cells_of_its_runs_and_outputs_alone(found):
    comparisons = {
        (each["a"], each["b"], each["output_a"], each["output_b"], Cell.of(each)): each for each in found["comparisons"]
    }
    assert len(comparisons) == len(found["comparisons"]) == len(CELLS) * sum(map(len, COMPARED.values()))
    for (a, b), outputs in COMPARED.items():
        for of_a, of_b in outputs:
            p_values = []
            for cell in CELLS:
                each = comparisons[a, b, of_a, of_b, cell]
                pairs = [*zip(right(cell, a, of_a), right(cell, b, of_b), strict=True)]
                only_a, only_b = sum(x and not y for x, y in pairs), sum(y and not x for x, y in pairs)
                assert (each["only_a"], each["only_b"]) == (only_a, only_b)
                p_values.append(stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0)
                assert each["p"] == pytest.approx(p_values[-1])
            adjusted = [comparisons[a, b, of_a, of_b, cell]["holm"] for cell in CELLS]
            assert adjusted == pytest.approx(holm(p_values))


def test_classes_lose_what_their_images_lose(found):
    assert [Cell.of(each) for each in found["class_drops"]] == CELLS[1:]
    for each in found["class_drops"]:
        for id in PRIMARY:
            for label in range(4):
                mine = [i for i in range(IMAGES) if LABELS[i] == label]
                before, after = (sum(right(cell, id)[i] for i in mine) for cell in (CLEAN, Cell.of(each)))
                expected = pytest.approx((before - after) / len(mine)) if mine else None
                assert each["runs"][id][label] == expected


def first_flip(cells, id, i):
    """Return the smallest severity with another answer than the clean one; None where there is none."""
    return next((cell.severity for cell in cells if answers(cell, id)[i] != answers(CLEAN, id)[i]), None)


def test_each_image_has_the_severity_that_flips_it(found):
    for id in PRIMARY:
        for name, cells in (("color_jitter", JITTER), ("gaussian_noise", NOISE)):
            assert found["flips"][id][name] == [first_flip(cells, id, i) for i in range(IMAGES)]
    assert {0.25, 0.5, 1.0, None} == set(found["flips"]["a"]["color_jitter"])


def test_survival_counts_the_clean_hits_that_no_severity_yet_has_flipped(found):
    for id in PRIMARY:
        hits = [i for i in range(IMAGES) if right(CLEAN, id)[i]]
        for step, level in zip(found["survival"][id]["color_jitter"], (0.25, 0.5, 1.0), strict=True):
            left = sum((first_flip(JITTER, id, i) or math.inf) > level for i in hits)
            assert (step["severity"], step["survived"], step["n"]) == (level, left, len(hits))
            assert (step["low"], step["high"]) == wilson(left, len(hits))
            assert step["share"] == left / len(hits)


def test_accuracy_is_told_against_what_was_drawn(found):
    assert [(Cell.of(each), each["factor"]) for each in found["factors"]] == [
        (cell, "contrast") for cell in CELLS if cell in JITTER
    ]
    for each in found["factors"]:
        cell = Cell.of(each)
        gains = np.array(invented(cell, 0)["factors"]["contrast"])
        counts, edges = np.histogram(gains, BINS)
        assert each["edges"] == pytest.approx(edges)
        for id in PRIMARY:
            assert [share["n"] for share in each["runs"][id]] == counts.tolist()
            hits = np.histogram(gains[right(cell, id)], edges)[0]
            assert [share["correct"] for share in each["runs"][id]] == hits.tolist()
            expected = [hit / n if n else None for hit, n in zip(hits, counts, strict=True)]
            assert [share["accuracy"] for share in each["runs"][id]] == expected


def test_errors_are_told_over_those_of_the_first_run(found):
    wrong = {id: sum(not hit for cell in JITTER for hit in right(cell, id)) for id in PRIMARY}
    assert found["relative_error"]["over"] == "a"
    assert found["relative_error"]["perturbations"]["color_jitter"] == {
        id: pytest.approx(errors / wrong["a"]) for id, errors in wrong.items()
    }


def test_a_first_run_without_errors_is_no_measure(folder):
    for cell in (CLEAN, *NOISE):
        stored = json.loads((folder / cell.file).read_text())
        stored["runs"]["a"]["predicted"]["mix"] = LABELS
        (folder / cell.file).write_text(json.dumps(stored))
    found = report(folder, [CLEAN, *NOISE], PRIMARY, CLASSES)
    assert found["relative_error"]["perturbations"]["gaussian_noise"] == dict.fromkeys(PRIMARY)


def test_an_unfinished_sweep_is_reported_as_far_as_it_is(folder):
    (folder / JITTER[1].file).unlink()
    (folder / NOISE[0].file).write_text("{")
    found = report(folder, CELLS, PRIMARY, CLASSES)
    assert {Cell.of(each) for each in found["comparisons"]} == {CLEAN, JITTER[0], JITTER[2]}
    assert [step["severity"] for step in found["survival"]["b"]["color_jitter"]] == [0.25, 1.0]
    (folder / CLEAN.file).unlink()
    with pytest.raises(RunError, match="Resume the sweep"):
        report(folder, CELLS, PRIMARY, CLASSES)
