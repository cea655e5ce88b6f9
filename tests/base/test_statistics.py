"""Intervals and tests against statsmodels and scipy, against brute force, and against their own promises."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import contingency_tables, multitest
from statsmodels.stats.proportion import proportion_confint

from pmsi.base.errors import PMSIError
from pmsi.base.statistics import by_bin, holm, mcnemar, mean_std, paired_bootstrap, proportion, survival, wilson


def test_wilson_is_statsmodels():
    generator = np.random.default_rng(0)
    for n in (1, 2, *generator.integers(3, 6000, 12).tolist()):
        confidence = float(generator.uniform(0.5, 0.999))
        for successes in {0, n, 1, int(generator.integers(0, n + 1))}:
            expected = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
            assert wilson(successes, n, confidence) == pytest.approx(expected, abs=1e-12)
    assert wilson(0, 0) == (0.0, 1.0)


def answers(both, only_a, only_b, neither):
    rows = [(1, 1)] * both + [(1, 0)] * only_a + [(0, 1)] * only_b + [(0, 0)] * neither
    order = np.random.default_rng(0).permutation(len(rows))
    table = np.array(rows, dtype=bool).reshape(-1, 2)[order]
    return table[:, 0], table[:, 1]


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 1), (5, 5), (3, 11), (0, 40), (700, 600)])
def test_mcnemar_is_the_sum_of_binomial_coefficients(only_a, only_b):
    """In whole numbers: of 1300 disagreements a float could not hold the coefficients."""
    a, b = answers(30, only_a, only_b, 4)
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1))
    assert mcnemar(a, b) == pytest.approx(min(1.0, float(Fraction(2 * tail, 2**n))), rel=1e-9)
    assert mcnemar(b.tolist(), a.tolist()) == mcnemar(a, b)
    assert mcnemar(*answers(0, only_a, only_b, 0)) == mcnemar(a, b), "images on which both agree do not count"


def test_mcnemar_is_statsmodels():
    """Random pairs of models: alike, of different skill, and of every size; the table is counted by a plain loop."""
    generator = np.random.default_rng(0)
    for n in (1, 2, 7, 60, 942):
        for skill_a, skill_b in ((0.5, 0.5), (0.7, 0.75), (0.2, 0.9), (1.0, 1.0), (0.0, 1.0)):
            a, b = generator.random(n) < skill_a, generator.random(n) < skill_b
            table = np.zeros((2, 2), dtype=int)
            for right_a, right_b in zip(a, b, strict=True):
                table[int(not right_a), int(not right_b)] += 1
            if table[0, 1] + table[1, 0]:  # of no difference statsmodels makes 0 / 0
                assert mcnemar(a, b) == pytest.approx(contingency_tables.mcnemar(table, exact=True).pvalue, rel=1e-9)
            else:
                assert mcnemar(a, b) == 1.0


# Several tests


def test_holm_is_statsmodels():
    """Few calls: each of statsmodels' collects garbage, which takes half a second beside torch."""
    smooth = np.random.default_rng(0).beta(0.3, 2, 95)
    for p_values in (smooth[:1], smooth, np.append(smooth.round(2), [1.0, 1.0])):
        assert holm(p_values) == pytest.approx(multitest.multipletests(p_values, method="holm")[1], abs=1e-15)
    assert holm([]) == []


# Shares


def test_a_proportion_has_wilsons_interval():
    found = proportion([True, False, True, True])
    assert (found.count, found.n, found.value) == (3, 4, 0.75)
    assert (found.low, found.high) == wilson(3, 4)
    assert math.isnan(proportion([]).value)


def test_survival_is_kaplan_and_meiers():
    levels = (1, 2, 3, 5)
    fell = np.random.default_rng(0).choice([*levels, math.inf], 80, p=[0.1, 0.3, 0.1, 0.1, 0.4])
    never = np.isinf(fell)
    curve = stats.ecdf(stats.CensoredData(uncensored=fell[~never], right=np.full(never.sum(), max(levels)))).sf
    found = survival(fell, levels)
    assert [step.value for step in found] == pytest.approx(curve.evaluate(levels))
    assert all(step.n == 80 for step in found)
    assert [step.value for step in survival([math.inf], levels)] == [1.0] * 4


def test_a_bin_counts_what_lies_in_it():
    """By a loop: a value on an edge is of the bin above, the last edge of the last bin."""
    generator = np.random.default_rng(1)
    values, edges = generator.integers(-10, 11, 200) / 8, np.arange(-8, 9, 2) / 8  # many lie on an edge
    hits = generator.random(200) < 0.4
    for i, found in enumerate(by_bin(values, hits, edges)):
        last = i == len(edges) - 2
        inside = [edges[i] <= x < edges[i + 1] or (last and x == edges[-1]) for x in values]
        assert (found.count, found.n) == (sum(hits[inside]), sum(inside))
    with pytest.raises(PMSIError, match="the same images"):
        by_bin([0.1], [True, False], edges)


# The bootstrap


def test_bootstrap_of_a_tiny_set_has_the_quantiles_of_all_its_samples():
    a, b = np.array([1, 0, 0, 1, 0], dtype=bool), np.array([1, 1, 1, 0, 1], dtype=bool)
    gains = b.astype(int) - a.astype(int)
    means = [np.mean(sample) for sample in itertools.product(gains, repeat=5)]
    found = paired_bootstrap(a, b, seed=1, confidence=0.8, resamples=20_000)
    assert found.value == pytest.approx(0.4)
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.1, 0.9]), abs=1e-9)


def test_bootstrap_agrees_with_scipys():
    a, b = answers(300, 60, 25, 40)
    expected = stats.bootstrap(
        (b.astype(float), a.astype(float)),
        lambda x, y, axis: x.mean(axis) - y.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(3),
    ).confidence_interval
    found = paired_bootstrap(a, b, seed=0)
    assert found.value == pytest.approx(b.mean() - a.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.005)


def test_bootstrap_is_its_seeds():
    a, b = answers(50, 20, 9, 8)
    assert paired_bootstrap(a, b, seed=5) == paired_bootstrap(a, b, seed=5)
    drawn = {(found.low, found.high) for found in (paired_bootstrap(a, b, seed=s, resamples=500) for s in range(8))}
    assert len(drawn) > 1
    assert paired_bootstrap(a, a, seed=0) == paired_bootstrap(b, b, seed=1)  # no difference, no width


def test_mean_and_deviation():
    values = [0.861, 0.874, 0.866]
    assert mean_std(values) == pytest.approx((np.mean(values), stats.tstd(values)))
    assert mean_std([0.5]) == pytest.approx((0.5, math.nan), nan_ok=True)


def test_bad_input_is_refused():
    for arguments in ((-1, 3), (4, 3), (0, -1), (1, 3, 0.0), (1, 3, 1.0), (1, 3, 95)):
        with pytest.raises(PMSIError, match="expected a"):
            wilson(*arguments)
    for p_values in ([0.1, 1.2], [-0.1], [math.nan], [[0.1]]):
        with pytest.raises(PMSIError, match="from 0 to 1"):
            holm(p_values)
    with pytest.raises(PMSIError, match=r"\(2,\) and \(3,\)"):
        mcnemar([True, False], [True, False, True])
    for empty in (lambda: paired_bootstrap([], [], seed=0), lambda: mean_std([])):
        with pytest.raises(PMSIError, match="at least one"):
            empty()
