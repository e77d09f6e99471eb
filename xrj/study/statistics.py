"""Statistics of ratings that respect readers and X-rays; t-tests are in `measures.statistics`.

All take ratings as a table with the columns value, method, reader and xray, without gaps.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.formula.api as formula
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from xrj.measures.statistics import Array, Interval, percentiles

BOUNDARY = 1e-6
"""Variance below which a mixed model has ended on the boundary of its parameters."""


@dataclass(frozen=True)
class Summary:
    """Of one method's ratings; sd and interval are None where they are undefined."""

    n: int
    mean: float
    sd: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Mixed:
    """The difference of two methods in a mixed-effects model.

    Attributes:
        difference: Fixed effect of the method; None when the model could not be fitted.
        interval: 95 %, Wald.
        p: Two-sided, Wald.
        xray_variance: Of the X-rays' random intercepts.
        item_variance: Of those of X-rays under a method; None where each has but one.
        residual_variance: Of what is left.
        note: Why the model is missing or not to be trusted; empty when it is.
    """

    difference: float | None = None
    interval: Interval | None = None
    p: float | None = None
    xray_variance: float | None = None
    item_variance: float | None = None
    residual_variance: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Kappa:
    """Fleiss' kappa over X-rays that all readers rated.

    Attributes:
        value: None when it is undefined.
        interval: 95 %, bootstrap over X-rays.
        n: X-rays.
        readers: Of each.
        note: Why it is undefined.
    """

    value: float | None
    interval: Interval | None
    n: int
    readers: int
    note: str = ""


def mixed_model(ratings: pd.DataFrame, first: str, second: str) -> Mixed:
    """Fit value ~ method + reader with a random intercept for each X-ray, by REML.

    Readers are fixed effects: a variance that is estimated from three of them is none. Where
    X-rays appear under both methods, each such item has a random intercept of its own, too.

    Args:
        ratings: See the module, and the column item: an X-ray under one method.
        first: The difference is this method's mean ...
        second: ... minus this one's.
    """
    table = ratings[ratings["method"].isin((first, second))]
    if table["method"].nunique() < 2:
        return Mixed(note="one of the methods has no ratings")
    if table["xray"].is_unique:
        return Mixed(note="no X-ray was rated twice, so X-rays cannot be told from chance")
    if not np.ptp(table["value"]):
        return Mixed(note="all ratings are equal")
    table = table.assign(is_first=(table["method"] == first).astype(float))
    terms = "value ~ is_first" + (" + C(reader)" if table["reader"].nunique() > 1 else "")
    several = (table.groupby("xray")["item"].nunique() > 1).any() and not table["item"].is_unique
    items = {"item": "0 + C(item)"} if several else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fit = formula.mixedlm(
                terms, table, groups="xray", re_formula="1", vc_formula=items
            ).fit()
            low, high = fit.conf_int().loc["is_first"]
            values = (float(fit.params["is_first"]), float(low), float(high))
            p = float(fit.pvalues["is_first"])
            between = (float(fit.cov_re.iloc[0, 0]), float(fit.vcomp[0]) if several else None)
        except (np.linalg.LinAlgError, ValueError) as error:
            return Mixed(note=f"did not converge ({str(error).splitlines()[0]})")
    if not all(map(math.isfinite, (*values, p))):
        return Mixed(note="did not converge (the standard error is not finite)")
    note = "" if fit.converged else "did not converge; do not rely on it"
    if fit.converged and sum(filter(None, between)) < BOUNDARY:
        note = "no variance between X-rays: as a linear model without them"
    elif fit.converged and fit.scale < BOUNDARY:
        note = "no variance within X-rays: each counts once"
    return Mixed(values[0], values[1:], p, *between, float(fit.scale), note)


def bootstrap_means(
    ratings: pd.DataFrame, methods: Sequence[str], resamples: int, rng: np.random.Generator
) -> Array:
    """Resample X-rays with all their ratings; return each method's mean, (resamples, methods).

    X-rays are drawn within strata: those that the same readers rated under the same methods. A
    stratum of k X-rays is resampled by k - 1 draws that weigh k / (k - 1) each (Rao and Wu, JASA
    1988), without which small strata vary too little.

    Args:
        ratings: See the module.
        methods: Columns of the result; NaN for one without ratings.
        resamples: Rows of the result.
        rng: Of the draws.
    """
    sums = ratings.pivot_table(
        index="xray", columns="method", values="value", aggfunc="sum", fill_value=0
    )
    counts = ratings.pivot_table(
        index="xray", columns="method", values="value", aggfunc="count", fill_value=0
    )
    pairs = ratings["reader"].astype(str) + "\0" + ratings["method"]
    stratum = pairs.groupby(ratings["xray"]).agg(lambda pair: "\n".join(sorted(pair)))
    weights = np.empty((resamples, len(sums)))
    for places in stratum.reset_index(drop=True).groupby(stratum.to_numpy()).indices.values():
        k = len(places)
        if k == 1:
            weights[:, places] = 1.0
        else:
            weights[:, places] = rng.multinomial(k - 1, np.full(k, 1 / k), resamples) * k / (k - 1)
    totals = weights @ sums.reindex(columns=list(methods), fill_value=0).to_numpy(float)
    numbers = weights @ counts.reindex(columns=list(methods), fill_value=0).to_numpy(float)
    with np.errstate(invalid="ignore"):
        means: Array = totals / numbers
    return means


def kappa(ratings: pd.DataFrame, resamples: int, rng: np.random.Generator) -> Kappa:
    """Return Fleiss' kappa of ratings in which each item was rated by the same readers.

    Args:
        ratings: See the module, and the column item: an X-ray under one method.
        resamples: Of the items, for the interval.
        rng: Of the draws.
    """
    ratings = ratings.sort_values(["xray", "method"])  # names of items are random, draws are not
    items = ratings["item"].unique()
    table = ratings.pivot(index="item", columns="reader", values="value").loc[items].to_numpy(float)
    n, readers = table.shape if table.size else (0, 0)
    if n < 2 or readers < 2:
        return Kappa(None, None, n, readers, "needs two X-rays that two readers have rated")
    counts, _ = aggregate_raters(table)
    if np.count_nonzero(counts.sum(axis=0)) < 2:
        return Kappa(None, None, n, readers, "undefined: all answers are the same")
    draws = [counts[rng.integers(n, size=n)] for _ in range(resamples)]
    varied = [draw for draw in draws if np.count_nonzero(draw.sum(axis=0)) > 1]
    interval = percentiles(np.array([fleiss_kappa(draw) for draw in varied]))
    return Kappa(float(fleiss_kappa(counts)), interval, n, readers)


def describe(values: Array, resampled: Array) -> Summary:
    """Return mean, standard deviation and the bootstrap interval of the mean.

    Args:
        values: At least one.
        resampled: Means of the resamples.
    """
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(len(values), float(values.mean()), sd, percentiles(resampled))
