"""Tests and intervals against SciPy, by hand, and by their coverage."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.api import OLS

from xrj.measures.statistics import (
    bootstrap_over_groups,
    compare,
    prediction_interval,
    t_test,
)
from xrj.seeding import numpy_rng


def test_students_t_test_by_hand():
    first, second = np.array([1.0, 2, 2, 4]), np.array([2.0, 3, 4, 4, 4])
    pooled = (3 * first.var(ddof=1) + 4 * second.var(ddof=1)) / 7
    t = (first.mean() - second.mean()) / math.sqrt(pooled * (1 / 4 + 1 / 5))
    found = t_test(first, second, equal_variances=True)
    assert (found.t, found.df) == pytest.approx((t, 7))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 7))


def test_welchs_t_test_by_hand():
    first, second = np.array([1.0, 2, 2, 4]), np.array([2.0, 3, 4, 4, 4])
    a, b = first.var(ddof=1) / 4, second.var(ddof=1) / 5
    t = (first.mean() - second.mean()) / math.sqrt(a + b)
    df = (a + b) ** 2 / (a**2 / 3 + b**2 / 4)
    found = t_test(first, second, equal_variances=False)
    assert (found.t, found.df) == pytest.approx((t, df))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), df))


def test_t_tests_without_variance_are_undefined():
    one = np.ones(5)
    for pair in ((one, one), (one, 2 * one), (one[:1], one), (one[:0], one)):
        assert t_test(*pair, equal_variances=True).p is None
    assert t_test(one, np.arange(5.0), equal_variances=True).p is not None
    undefined = np.array([1.0, np.nan, 2.0])
    assert t_test(undefined, np.arange(5.0), equal_variances=False).p is None


def test_both_t_tests_are_scipys():
    rng = np.random.default_rng(3)
    for n, m in ((4, 4), (3, 9), (20, 5)):
        a, b = rng.normal(0.4, 1, n), rng.normal(0, 2, m)
        found = compare(a.tolist(), b.tolist())
        assert found.difference == pytest.approx(a.mean() - b.mean())
        for ours, equal in ((found.student, True), (found.welch, False)):
            theirs = stats.ttest_ind(a, b, equal_var=equal)
            assert (ours.t, ours.p) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert compare([1.0], [2.0]).welch.p is None


def test_pairs_are_compared_as_scipy_does_and_several_values_of_one_by_their_mean():
    a, b = [1.0, 3.0, 2.0, 5.0], [1.5, 2.5, 5.5]
    found = compare(a, b, (["x", "x", "y", "z"], ["x", "y", "z"]))
    theirs = stats.ttest_rel([2.0, 2.0, 5.0], b)
    assert (found.paired.t, found.paired.p) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert found.best == found.paired
    assert compare(a, b).best == compare(a, b).welch
    assert compare([1.0, 2.0], [2.0, 3.0], (["x", "y"], ["x", "y"])).paired.p is None


def test_the_bootstrap_draws_whole_patients():
    """50 patients of 8 equal X-rays each are 50 values, not 400: the interval says so."""
    rng = np.random.default_rng(0)
    means = rng.normal(0, 1, 50)
    values, patients = np.repeat(means, 8), np.repeat(np.arange(50), 8)
    low, high = bootstrap_over_groups(values, patients, resamples=2000, seed=0)
    expected = 2 * 1.96 * means.std(ddof=1) / math.sqrt(50)
    assert high - low == pytest.approx(expected, rel=0.12)
    assert low < means.mean() < high
    apart = bootstrap_over_groups(values, np.arange(400), resamples=2000, seed=0)
    assert apart[1] - apart[0] < 0.5 * expected


def test_the_bootstrap_knows_when_it_says_nothing():
    assert bootstrap_over_groups([1.0, 2.0], ["a", "a"], resamples=100, seed=0) is None
    assert bootstrap_over_groups([1.0, 1.0], ["a", "b"], resamples=100, seed=0) is None


def test_the_interval_of_one_more_value_is_statsmodels():
    values = numpy_rng(3, "more").normal(2.0, 0.3, 5)
    fitted = OLS(values, np.ones(5)).fit().get_prediction([1.0])
    (expected,) = fitted.conf_int(obs=True, alpha=0.05)
    assert prediction_interval(list(values)) == pytest.approx(tuple(expected))
    assert prediction_interval([1.0]) is None
    assert prediction_interval([1.0, float("nan")]) is None
