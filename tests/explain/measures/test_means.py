"""Means and intervals against a plain bootstrap, and differences against subtraction."""

import numpy as np
import pytest

from pmsi.explain.measures.report import means, with_differences


def test_means_are_those_of_a_plain_bootstrap():
    values = np.random.default_rng(0).random(40)
    found = means([{"a": float(v), "b": 1.0} for v in values], seed=3)
    resampled = [np.random.default_rng((9, i)).choice(values, 40).mean() for i in range(4000)]
    assert found["a"]["mean"] == pytest.approx(values.mean())
    assert (found["a"]["low"], found["a"]["high"]) == pytest.approx(np.quantile(resampled, [0.025, 0.975]), abs=0.01)
    assert found["b"] == {"mean": 1.0, "low": pytest.approx(1.0), "high": pytest.approx(1.0)}
    assert means([{"a": float(v)} for v in values], seed=3)["a"] == pytest.approx(found["a"])


def test_an_image_without_a_number_does_not_count_for_it():
    values = np.random.default_rng(0).random(30)
    images = [{"a": float(v)} for v in values] + [{"b": 2.0}] * 30
    found = means(images, seed=3)
    assert found["a"]["mean"] == pytest.approx(values.mean())
    alone = means(images[:30], seed=3)["a"]
    assert (found["a"]["low"], found["a"]["high"]) == pytest.approx((alone["low"], alone["high"]), abs=0.02)
    assert found["b"] == {"mean": 2.0, "low": pytest.approx(2.0), "high": pytest.approx(2.0)}


def test_differences_are_paired():
    rng = np.random.default_rng(1)
    images = []
    for shared in rng.random(50):  # images differ much, the stages of one by 0.1
        images.append({"S3/energy": shared + 0.1, "S5/energy": shared, "random S3/energy": 0.3, "area": 0.2})
    compared = [with_differences(image, ("S3", "S5")) for image in images]
    assert compared[0].keys() == images[0].keys() | {"S3 - random S3/energy", "S3 - S5/energy"}
    found = means(compared, seed=0)
    gap = found["S3 - S5/energy"]
    assert (gap["low"], gap["mean"], gap["high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert found["S3/energy"]["high"] - found["S3/energy"]["low"] > 0.1
    assert found["S3 - random S3/energy"]["mean"] == pytest.approx(found["S3/energy"]["mean"] - 0.3)
    alone = with_differences({"S4/road": 0.5, "edges/road": 0.2}, ("S4",))
    assert {key: value for key, value in alone.items() if " - " in key} == {"S4 - edges/road": pytest.approx(0.3)}
