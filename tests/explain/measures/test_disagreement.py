"""How far the maps of two models are apart, on maps whose distance is known by heart."""

import numpy as np
import pytest

from pmsi.explain.measures.disagreement import Disagreement, farthest, map_distances


def at(row, column, side=7):
    values = np.zeros((side, side), dtype=np.float32)
    values[row, column] = 2.0
    return values


def test_maps_are_apart_as_far_as_their_evidence_and_a_blank_one_has_no_correlation():
    found = map_distances({"S3": at(0, 0), "S4": at(3, 3), "S5": at(1, 1)}, {"S3": at(0, 0) * 5, "S4": at(3, 5)})
    assert {key.partition("/")[0] for key in found} == {"S3", "S4"}
    assert (found["S3/earth"], found["S3/peak"]) == pytest.approx((0, 0))
    assert (found["S4/earth"], found["S4/peak"]) == pytest.approx((2 / 7, 2 / 7))
    found = map_distances({"S3": np.zeros((7, 7))}, {"S3": at(1, 1)})
    assert "S3/spearman" not in found
    assert found["S3/earth"] > 0


def test_models_of_other_resolutions_are_compared_on_the_finer_grid():
    coarse, fine = np.kron(at(2, 2, 5), np.ones((1, 1))), np.kron(at(2, 2, 5), np.ones((4, 4)))
    assert map_distances({"S5": coarse}, {"S5": fine})["S5/peak"] == pytest.approx(0, abs=1e-6)
    assert map_distances({"S5": coarse}, {"S5": np.roll(fine, 8, axis=0)})["S5/peak"] == pytest.approx(0.4, abs=0.05)


def test_the_farthest_come_first_and_equals_by_key():
    found = [Disagreement(key, "x", ("x", "y"), {"S3/earth": d, "S3/peak": 9 - d})
             for key, d in (("b", 0.2), ("c", 0.5), ("a", 0.2), ("d", 0.1))]  # fmt: skip
    assert [one.key for one in farthest(found, "S3", 3)] == ["c", "a", "b"]
    assert found[0].earth == {"S3": 0.2}
