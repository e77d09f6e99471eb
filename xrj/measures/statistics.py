"""Intervals and tests of what was measured: bootstrap over groups, Student's and Welch's t-test."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from xrj.seeding import numpy_rng

Interval = tuple[float, float]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Test:
    """A t-test of a difference of means; what is undefined is None."""

    __test__ = False  # no test of pytest's

    t: float | None
    df: float | None
    p: float | None


@dataclass(frozen=True)
class Comparison:
    """Two sets of runs: the difference of their means, first minus second, and t-tests of it.

    Attributes:
        difference: Of the means.
        student: With equal variances.
        welch: Without.
        paired: Over pairs, such as folds that both share; None where nothing is paired.
    """

    difference: float
    student: Test
    welch: Test
    paired: Test | None = None

    @property
    def best(self) -> Test:
        """The test of what is known: the paired one where there are pairs, otherwise Welch's."""
        return self.paired or self.welch


def t_test(first: Array, second: Array, *, equal_variances: bool) -> Test:
    """Compare two means, two-tailed: Student's test, or Welch's without equal variances."""
    known = np.isfinite(first).all() and np.isfinite(second).all()
    if not known or min(len(first), len(second)) < 2 or not (np.ptp(first) or np.ptp(second)):
        return Test(None, None, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one side's values are all equal
        result = stats.ttest_ind(first, second, equal_var=equal_variances)
    return Test(float(result.statistic), float(result.df), float(result.pvalue))


def paired_t_test(first: Array, second: Array) -> Test:
    """Compare the means of paired values, two-tailed."""
    differences = first - second
    if not np.isfinite(differences).all() or len(differences) < 2 or not np.ptp(differences):
        return Test(None, None, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # differences are nearly equal
        result = stats.ttest_rel(first, second)
    return Test(float(result.statistic), float(result.df), float(result.pvalue))


def compare(
    first: Sequence[float],
    second: Sequence[float],
    pairs: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Comparison:
    """Compare the means of two sets of runs, at least one each.

    Args:
        first: Values of the one.
        second: Of the other.
        pairs: To which pair each value of both belongs, such as its fold; several values of one
            stand for their mean. None: nothing is paired.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    paired = None
    if pairs is not None:
        means = [
            np.array([values[np.asarray(of) == key].mean() for key in sorted(set(pairs[0]))])
            for values, of in zip((a, b), pairs, strict=True)
        ]
        paired = paired_t_test(*means)
    return Comparison(
        float(a.mean() - b.mean()),
        t_test(a, b, equal_variances=True),
        t_test(a, b, equal_variances=False),
        paired,
    )


def percentiles(values: Array) -> Interval | None:
    """Return the middle 95 % of bootstrap values; None when some are undefined or all equal."""
    if not len(values) or not np.isfinite(values).all() or not np.ptp(values):
        return None
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def prediction_interval(values: Sequence[float]) -> Interval | None:
    """Return where one more value would lie in 95 % of cases, as mean +- t s sqrt(1 + 1 / n).

    Source: Hahn & Meeker, Statistical Intervals, 1991, section 4.8.

    Args:
        values: Of n runs that differ in nothing but chance.

    Returns:
        None where there are fewer than two or one is undefined.
    """
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return None
    reach = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) * np.sqrt(1 + 1 / n)
    return float(np.mean(values) - reach), float(np.mean(values) + reach)


def bootstrap_over_groups(
    values: ArrayLike,
    groups: Sequence[object],
    *,
    resamples: int,
    seed: int,
) -> Interval | None:
    """Return the 95 % percentile interval of a mean, by resampling whole groups.

    Rows of one patient are not independent, so patients are drawn, each with all of its rows.

    Args:
        values: Of each row.
        groups: The group of each row, such as its patient.
        resamples: Of the groups.
        seed: Of the draws.

    Returns:
        None where there are fewer than two groups, or resamples are undefined or all equal.
    """
    _, owner = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    number = int(owner.max()) + 1 if len(owner) else 0
    if number < 2:
        return None
    rng = numpy_rng(seed, "bootstrap")
    values = np.asarray(values, np.float64)
    sums, counts = np.bincount(owner, values, number), np.bincount(owner, minlength=number)
    draws = rng.multinomial(number, np.full(number, 1 / number), resamples)
    return percentiles((draws @ sums) / (draws @ counts))


def resampled_groups(
    groups: Sequence[object], rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of one resample of the groups after the other, without end."""
    _, owner = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    rows = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])
    while True:
        yield np.concatenate([rows[group] for group in rng.integers(len(rows), size=len(rows))])
