"""Three distances between maps: against ranks counted by a loop, and against a linear programme."""

import numpy as np
import pytest
import scipy.optimize

from pmsi.base.errors import PMSIError
from pmsi.explain.measures.disagreement import Disagreement, farthest, map_distances
from pmsi.explain.measures.drift import GRID, drift, earth_movers_distance, peak_distance, spearman


def maps(shape, seed, power=3):
    return np.random.default_rng(seed).random(shape) ** power


def ranks(values):
    """By a loop: how many are smaller, and half of those that are equal."""
    return [sum(other < value for other in values) + sum(other == value for other in values) / 2 for value in values]


def test_rank_correlation_is_that_of_the_ranks_with_ties_and_without():
    a, b = maps((6, 5), 1), maps((6, 5), 51)
    for one, other in ((a, b), (np.floor(a * 4), np.floor(b * 4))):
        assert spearman(one, other) == pytest.approx(np.corrcoef(ranks(one.ravel()), ranks(other.ravel()))[0, 1])
    assert np.isnan(spearman(a, np.ones((6, 5))))
    assert spearman(a, -a) == pytest.approx(-1)


def test_the_peak_moves_in_sides_of_the_image():
    a, b = np.zeros((2, 4, 8))
    a[0, 1], b[3, 5] = 1, 2
    assert peak_distance(a, b) == pytest.approx(np.hypot(3 / 4, 4 / 8))
    a[0, 3] = 1  # of two peaks, their middle
    assert peak_distance(a, b) == pytest.approx(np.hypot(3 / 4, 3 / 8))


def programme(a, b):
    """The earth mover's distance by its definition: the cheapest of all ways to carry a's mass to where b has it."""
    places = (np.argwhere(np.ones(a.shape)) + 0.5) / a.shape
    cost = np.array([[np.hypot(*(p - q)) for q in places] for p in places])
    n = a.size
    leaves, arrives = np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))
    sums = np.concatenate([a.ravel() / a.sum(), b.ravel() / b.sum()])
    return scipy.optimize.linprog(cost.ravel(), A_eq=np.vstack([leaves, arrives]), b_eq=sums).fun


@pytest.mark.parametrize(("shape", "sparse"), [((1, 1), False), ((1, 7), True), ((3, 5), False), ((7, 7), True)])
def test_the_earth_mover_s_distance_is_that_of_the_linear_programme(shape, sparse):
    a, b = maps(shape, 0) + 1e-3, maps(shape, 9) + 1e-3
    if sparse:
        a, b = a * (a >= np.median(a)), b * (b >= np.median(b))
    whole = [np.floor(3 * values) + 1 for values in (a, b)]  # with many ways that cost the same
    for one, other in ((a, b), whole):
        assert earth_movers_distance(one, other) == pytest.approx(programme(one, other), abs=1e-6)


def test_fine_maps_are_gathered_into_cells():
    a, b = maps((28, 14), 3), maps((28, 14), 4)
    gathered = [m.reshape(GRID, 4, GRID, 2).sum(axis=(1, 3)) for m in (a, b)]
    assert earth_movers_distance(a, b) == pytest.approx(earth_movers_distance(*gathered))
    point = np.zeros((10, 10))
    point[0, 0] = 1
    odd = earth_movers_distance(point, np.roll(point, 1, axis=1))  # pixels of 0.7 cells: the second is in two of them
    assert odd == pytest.approx((1 - 0.3 / 0.7) / GRID)


def test_it_is_a_distance_between_forms():
    a, b, c = (maps((7, 7), seed) for seed in range(3))
    assert earth_movers_distance(a, a * 5) == pytest.approx(0, abs=1e-12)
    assert earth_movers_distance(a, b) == pytest.approx(earth_movers_distance(b, a))
    assert earth_movers_distance(a, c) <= earth_movers_distance(a, b) + earth_movers_distance(b, c) + 1e-12
    assert earth_movers_distance(a, np.zeros((7, 7))) == pytest.approx(earth_movers_distance(a, np.ones((7, 7))))
    corner = np.zeros((7, 7))
    corner[0, 0] = 1
    assert earth_movers_distance(corner, corner[::-1, ::-1]) == pytest.approx(np.hypot(6 / 7, 6 / 7))


def test_drift_is_all_three_and_shapes_must_agree():
    a, b = maps((8, 8), 0), maps((8, 8), 1)
    found = drift(a, b)
    assert (found.spearman, found.peak, found.earth) == (
        spearman(a, b),
        peak_distance(a, b),
        earth_movers_distance(a, b),
    )
    with pytest.raises(PMSIError, match=r"\(8, 8\) and \(4, 4\)"):
        drift(a, maps((4, 4), 0))


# How far two models are apart


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
