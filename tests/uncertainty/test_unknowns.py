"""Scores that tell unknown images, against scikit-learn and plain loops."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from pmsi.uncertainty.scores import SCORES, nearest, threshold
from pmsi.uncertainty.separation import auroc, fpr, separation, separation_apart

RNG = np.random.default_rng(0)


def test_scores_are_those_of_torch_and_of_a_plain_loop():
    logits = RNG.normal(size=(9, 5)).astype(np.float32) * 40
    assert SCORES["energy"].of(logits) == pytest.approx(torch.tensor(logits).double().logsumexp(dim=1).numpy())
    assert SCORES["max_logit"].of(logits) == pytest.approx(logits.max(axis=1))
    features, known = (RNG.normal(size=(n, 4)).astype(np.float32) for n in (600, 30))
    features, known = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (features, known))
    expected = [sorted((float(a @ b) for b in known), reverse=True)[2] for a in features[:20]]
    assert nearest(features, known, 3)[:20] == pytest.approx(expected, abs=1e-6)
    assert nearest(features, known[:1], 3) == pytest.approx(features @ known[0], abs=1e-6)


@pytest.mark.parametrize("digits", [0, 6])
def test_auroc_and_false_positives_are_those_of_scikit_learn_also_with_ties(digits):
    known, unknown = (np.round(RNG.normal(loc, size=n), digits) for loc, n in ((1, 200), (0, 90)))
    labels, values = np.repeat([1, 0], [200, 90]), np.concatenate([known, unknown])
    assert auroc(known, unknown) == pytest.approx(roc_auc_score(labels, values), abs=1e-12)
    limit = threshold(known)
    assert (known >= limit).mean() >= 0.95 > (known > limit).mean()
    assert fpr(known, unknown) == pytest.approx(sum(value >= limit for value in unknown) / 90)


def test_intervals_are_about_the_same_images_for_both_models():
    known, unknown = RNG.normal(1, size=150), RNG.normal(0, size=150)
    one = separation((known, unknown), 0)["auroc"]
    assert one["low"] < one["value"] == auroc(known, unknown) < one["high"]
    better = (known + 0.05, unknown)
    apart = separation_apart((known, unknown), better, 0)["auroc"]
    assert apart["value"] == auroc(*better) - auroc(known, unknown)
    assert apart["low"] > 0, "the same images are drawn for both, so that a small difference is found"
    assert apart["p"] < 0.05
    assert separation_apart((known, unknown), (known, unknown), 0)["auroc"]["p"] == 1
