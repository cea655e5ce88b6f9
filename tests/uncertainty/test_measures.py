"""Calibration's measures, against torchmetrics, scikit-learn, torch, and plain loops."""

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss

from pmsi.uncertainty.measures import (
    Answers,
    aurc,
    brier,
    differences,
    ece,
    nll,
    numbers,
    reliability,
    restored,
    stored,
)
from pmsi.uncertainty.temperature import LEAST, fit_temperature, log_probabilities


def drawn(n=300, classes=7, scale=3.0, seed=0):
    """Logits and labels drawn by them: calibrated at temperature 1 before they are scaled."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 1.5
    p = np.exp(log_probabilities(logits))
    labels = np.array([rng.choice(classes, p=row) for row in p])
    return (logits * scale).astype(np.float32), labels


def answers(temperature=1.0, **about):
    logits, labels = drawn(**about)
    return Answers.of(log_probabilities(logits, temperature), labels)


def test_measures_are_those_of_other_libraries():
    from torchmetrics.functional.classification import binary_calibration_error

    import pmsi.base.vision  # noqa: F401 (torchvision, before torchmetrics imports it)

    logits, labels = drawn()
    found, p = Answers.of(log_probabilities(logits), labels), torch.tensor(logits).double().softmax(dim=1)
    assert nll(found) == pytest.approx(torch.nn.functional.nll_loss(p.log(), torch.tensor(labels)).item(), abs=1e-6)
    assert brier(found) == pytest.approx(
        brier_score_loss(labels, p.numpy(), labels=range(7), scale_by_half=False), abs=1e-6
    )
    # Spread evenly, probabilities are in the same bins whether these are equally wide or hold equally many.
    rng = np.random.default_rng(1)
    top = rng.permutation((np.arange(300) + 0.5) / 300)
    even = Answers(rng.random(300) < top**2, top, np.log(top), top)
    expected = binary_calibration_error(torch.tensor(even.top), torch.tensor(even.right).int(), n_bins=15)
    assert ece(even) == pytest.approx(expected.item(), abs=1e-6)


def test_calibration_error_and_risk_are_those_of_plain_loops():
    found = answers(n=101)
    order = sorted(range(101), key=lambda i: found.top[i])
    error, start = 0.0, 0
    for size in [7] * 11 + [6] * 4:
        images = order[start : start + size]
        start += size
        error += abs(sum(found.right[i] for i in images) - sum(found.top[i] for i in images)) / 101
    assert ece(found) == pytest.approx(error, abs=1e-9)
    risks = [sum(not found.right[i] for i in order[::-1][:count]) / count for count in range(1, 102)]
    assert aurc(found) == pytest.approx(sum(risks) / 101, abs=1e-9)
    apart = (one["images"] * abs(one["accuracy"] - one["confidence"]) for one in reliability(found))
    assert sum(apart) / 101 == pytest.approx(error)


def test_measures_depend_neither_on_the_order_of_images_nor_on_that_of_equal_ones():
    rng = np.random.default_rng(0)
    tied = Answers(rng.random(60) < 0.5, rng.choice([0.4, 0.9], 60), np.full(60, -1.0), np.full(60, 0.5))
    for of in (ece, aurc):
        assert of(tied) == pytest.approx(of(tied.take(rng.permutation(60))), abs=1e-12)


def test_the_temperature_that_made_logits_too_sure_is_found_again():
    logits, labels = drawn(n=4000, scale=3.0)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(3.0, rel=0.1)
    grid = np.linspace(0.9, 1.1, 41) * found
    losses = [nll(Answers.of(log_probabilities(logits, one), labels)) for one in grid]
    assert np.argmin(losses) == 20
    sure = np.eye(3, dtype=np.float32)[[0, 1, 2]]
    assert fit_temperature(sure, np.arange(3)) == pytest.approx(LEAST, rel=1e-3)


def test_intervals_hold_the_truth_and_pairs_find_a_difference_that_is_there():
    sharp, fitted = answers(n=400), answers(3.0, n=400)
    about = numbers(sharp, 0)
    truth = {name: of(answers(n=20_000, seed=9)) for name, of in {"nll": nll, "brier": brier, "ece": ece}.items()}
    assert all(about[name]["low"] < value < about[name]["high"] for name, value in truth.items())
    few = numbers(answers(n=60, scale=1.0), 0)["ece"]
    assert 0 <= few["low"] < few["value"] <= few["high"], "though draws of so few images come out larger"
    pair = differences(sharp, fitted, 0)
    assert pair["ece"]["high"] < 0
    assert pair["ece"]["p"] < 0.01
    assert pair["ece"]["value"] == ece(fitted) - ece(sharp)
    same = differences(sharp, sharp, 0)["nll"]
    assert (same["value"], same["low"], same["high"], same["p"]) == (0, 0, 0, 1)
    alike = differences(*(answers(n=400, seed=seed) for seed in (1, 2)), 0)["nll"]
    assert alike["low"] < 0 < alike["high"]


def test_what_is_stored_is_read_back():
    found = answers(n=20)
    again = restored(stored({"mix": found}))["mix"]
    assert nll(again) == pytest.approx(nll(found), rel=1e-6)
    assert (again.right == found.right).all()
