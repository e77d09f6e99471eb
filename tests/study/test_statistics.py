"""Each statistic against a formula of its own."""

import math

import numpy as np
import pandas as pd
import pytest

from xrj.measures.statistics import percentiles
from xrj.study.statistics import bootstrap_means, kappa, mixed_model


def ratings(values, **columns):
    frame = pd.DataFrame({"value": np.asarray(values, float), **columns})
    return frame.assign(item=frame["xray"].astype(str) + frame["method"])


def nested(seed, xrays=40, readers=3, effect=0.8):
    """Each X-ray under one method, rated by all readers."""
    rng = np.random.default_rng(seed)
    xray, reader = np.repeat(np.arange(xrays), readers), np.tile(np.arange(readers), xrays)
    first = xray % 2 == 0
    value = 2 + effect * first + rng.normal(0, 0.7, xrays)[xray] + rng.normal(0, 0.5, len(xray))
    value += np.array([-0.4, 0.1, 0.3])[reader]
    return ratings(value, method=np.where(first, "a", "b"), reader=reader.astype(str), xray=xray)


def fleiss(counts):
    """Return Fleiss' kappa by his formulas (1971)."""
    n, readers = counts.shape[0], counts.sum(axis=1)[0]
    share = counts.sum(axis=0) / (n * readers)
    observed = ((counts**2).sum(axis=1) - readers) / (readers * (readers - 1))
    return (observed.mean() - (share**2).sum()) / (1 - (share**2).sum())


def test_fleiss_kappa_by_hand():
    rng = np.random.default_rng(0)
    table = np.clip(rng.integers(1, 5, (30, 1)) + rng.integers(-1, 2, (30, 3)), 1, 4)
    frame = ratings(
        table.ravel(),
        method="a",
        reader=np.tile(["x", "y", "z"], 30),
        xray=np.repeat(np.arange(30), 3),
    )
    found = kappa(frame, 400, np.random.default_rng(0))
    counts = np.stack([(table == value).sum(axis=1) for value in range(1, 5)], axis=1)
    assert found.value == pytest.approx(fleiss(counts))
    assert (found.n, found.readers) == (30, 3)
    low, high = found.interval
    assert low < found.value < high
    assert 0.1 < high - low < 0.5


def test_the_interval_of_kappa_does_not_depend_on_the_names_of_items():
    """Names are drawn anew for each study; the same answers are to give the same interval."""
    rng = np.random.default_rng(1)
    frame = ratings(
        rng.integers(1, 5, 60),
        method=np.repeat(["a", "b"], 30),
        reader=np.tile(["x", "y"], 30),
        xray=np.repeat(np.arange(30), 2),
    )
    names = dict(zip(frame["item"].unique(), rng.permutation(30).astype(str), strict=True))
    renamed = frame.assign(item=frame["item"].map(names))
    one, other = (kappa(each, 200, np.random.default_rng(0)) for each in (frame, renamed))
    assert one.interval == other.interval


def test_kappa_is_undefined_where_all_answers_are_the_same():
    frame = nested(0).assign(value=1.0)
    found = kappa(frame, 10, np.random.default_rng(0))
    assert found.value is None
    assert "the same" in found.note
    alone = kappa(frame[frame["reader"] == "0"], 10, np.random.default_rng(0))
    assert "two readers" in alone.note
    assert kappa(frame[:0], 10, np.random.default_rng(0)).n == 0


def test_the_mixed_model_agrees_with_x_rays_means_where_all_readers_saw_all():
    frame = nested(1)
    found = mixed_model(frame, "a", "b")
    means = frame.groupby("xray").agg(value=("value", "mean"), method=("method", "first"))
    a, b = (means.loc[means["method"] == name, "value"].to_numpy() for name in "ab")
    error = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2 * (1 / len(a) + 1 / len(b)))
    assert found.note == ""
    assert found.difference == pytest.approx(a.mean() - b.mean(), abs=1e-6)
    assert found.interval[1] - found.difference == pytest.approx(1.96 * error, rel=0.01)


def test_the_mixed_model_recovers_its_parameters():
    found = [mixed_model(nested(seed, xrays=60), "a", "b") for seed in range(12)]
    assert np.mean([one.difference for one in found]) == pytest.approx(0.8, abs=0.15)
    assert np.mean([one.xray_variance for one in found]) == pytest.approx(0.49, rel=0.25)
    assert np.mean([one.residual_variance for one in found]) == pytest.approx(0.25, rel=0.2)
    assert sum(one.interval[0] < 0.8 < one.interval[1] for one in found) >= 9


def test_x_rays_under_both_methods_have_a_variance_of_their_own():
    rng = np.random.default_rng(0)
    xray, method = np.repeat(np.arange(80), 6), np.tile(np.repeat([0, 1], 3), 80)
    value = 2 + 0.5 * (method == 0) + rng.normal(0, 0.6, 80)[xray]
    value += rng.normal(0, 0.8, (80, 2))[xray, method] + rng.normal(0, 0.4, len(xray))
    reader = np.tile(["x", "y", "z"], 160)
    frame = ratings(value, method=np.array(["a", "b"])[method], reader=reader, xray=xray)
    found = mixed_model(frame, "a", "b")
    assert found.note == ""
    assert found.xray_variance == pytest.approx(0.36, abs=0.2)
    assert found.item_variance == pytest.approx(0.64, rel=0.3)
    assert found.residual_variance == pytest.approx(0.16, rel=0.2)
    pairs = frame.groupby(["xray", "method"])["value"].mean().unstack()
    apart = pairs["a"] - pairs["b"]
    assert found.difference == pytest.approx(apart.mean(), abs=1e-6)
    width = found.interval[1] - found.difference
    assert width == pytest.approx(1.96 * apart.std(ddof=1) / math.sqrt(80), rel=0.02)


def test_the_mixed_model_says_when_it_cannot():
    frame = nested(2)
    assert "rated twice" in mixed_model(frame[frame["reader"] == "0"], "a", "b").note
    assert "no ratings" in mixed_model(frame[frame["method"] == "a"], "a", "b").note
    assert "equal" in mixed_model(frame.assign(value=2.0), "a", "b").note
    two = frame[frame["xray"] < 2].assign(value=[1.0, 1, 1, 2, 2, 2])
    found = mixed_model(two, "a", "b")
    assert found.note != ""


@pytest.mark.parametrize("k", [3, 40])
def test_the_bootstrap_varies_like_the_mean_of_x_rays(k):
    """Small strata, too: drawing k of k would give (k - 1) / k of the variance."""
    value = np.random.default_rng(k).normal(size=k)
    frame = ratings(value, method="a", reader="x", xray=np.arange(k))
    means = bootstrap_means(frame, ["a"], 20_000, np.random.default_rng(0))[:, 0]
    assert means.mean() == pytest.approx(value.mean(), abs=0.02)
    assert means.std() == pytest.approx(value.std(ddof=1) / math.sqrt(k), rel=0.03)


def test_the_bootstrap_draws_x_rays_and_not_ratings():
    frame = nested(3)
    wide = bootstrap_means(frame, ["a", "b"], 4000, np.random.default_rng(0)).std(axis=0)
    apart = frame.assign(xray=np.arange(len(frame)))
    narrow = bootstrap_means(apart, ["a", "b"], 4000, np.random.default_rng(0)).std(axis=0)
    assert (wide > 1.2 * narrow).all()
    of_a = frame[frame["method"] == "a"].groupby("xray")["value"].mean()
    assert wide[0] == pytest.approx(of_a.std(ddof=1) / math.sqrt(len(of_a)), rel=0.05)


def test_95_percent_intervals_hold_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(150):
        means = bootstrap_means(nested(seed), ["a", "b"], 300, rng)
        low, high = percentiles(means[:, 0] - means[:, 1])
        hits += low < 0.8 < high
    assert 0.88 <= hits / 150 <= 0.99


def test_the_bootstrap_keeps_each_readers_share():
    """A reader who rates high must not come more often in one resample than in another."""
    value = np.concatenate([np.ones(10), 4 * np.ones(10)])
    reader = np.repeat(["x", "y"], 10)
    frame = ratings(value, method="a", reader=reader, xray=np.arange(20))
    means = bootstrap_means(frame, ["a"], 100, np.random.default_rng(0))
    assert means == pytest.approx(np.full((100, 1), 2.5))
    assert percentiles(np.full(100, 2.5)) is None
    assert np.isnan(bootstrap_means(frame, ["b"], 5, np.random.default_rng(0))).all()
