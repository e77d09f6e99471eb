"""Several runs in one figure: means, intervals over patients, and splits that may not mix."""

import numpy as np
import pytest

from xrj.errors import HandoverError
from xrj.evaluate.runs import Run, check_balance, check_splits, deviation, of_each, over_runs


def run(name, values, split="a" * 64, patients=None, seed=0):
    values = np.asarray(values, float)
    patients = [f"p{row}" for row in range(len(values))] if patients is None else patients
    return Run(name, split, seed, patients, lambda rows: {"x": float(values[rows].mean())})


def test_a_mean_over_runs_and_its_deviation():
    rng = np.random.default_rng(0)
    runs = [run(f"r{shift}", rng.normal(shift, 1, 200)) for shift in (0, 1, 2)]
    means = of_each(runs, "x")
    figure = over_runs(runs, ["x"], resamples=400, seed=0)["x"]
    assert figure.value == pytest.approx(np.mean(means))
    assert figure.n == 200
    assert deviation(runs, "x").value == pytest.approx(np.std(means, ddof=1))
    assert deviation(runs[:1], "x") is None
    # Independent values: the interval is that of a mean of 3 * 200 of them.
    assert figure.high - figure.low == pytest.approx(2 * 1.96 / np.sqrt(600), rel=0.2)


def test_runs_of_one_split_are_resampled_together():
    """Equal runs vary together, so several of them are no surer than one."""
    values = np.random.default_rng(1).normal(0, 1, 100)
    spans = [
        figure.high - figure.low
        for runs in ([run("a", values)], [run("a", values), run("b", values)])
        for figure in [over_runs(runs, ["x"], resamples=300, seed=0)["x"]]
    ]
    assert spans[0] == pytest.approx(spans[1])


def test_runs_of_one_split_need_the_same_xrays():
    """A row number means another X-ray in each of them."""
    for patients in (["p1", "p0"], ["p0"]):
        runs = [run("a", [1.0, 2.0]), run("b", [3.0] * len(patients), patients=patients)]
        with pytest.raises(HandoverError, match=r"^a and b: were measured on different X-rays"):
            over_runs(runs, ["x"], resamples=0, seed=0)


def test_folds_count_all_their_xrays():
    folds = [run("a", [1.0, 2, 3]), run("b", [5.0, 6], split="b" * 64)]
    figure = over_runs(folds, ["x"], resamples=100, seed=0)["x"]
    assert (figure.value, figure.n) == (pytest.approx((2 + 5.5) / 2), 5)
    assert figure.low < figure.value < figure.high


def test_measures_of_other_xrays_count_those():
    folds = [
        Run(split, split, 0, patients, lambda _rows: {"x": 1.0, "x_val": 2.0}, {"x_val": others})
        for split, patients, others in (("a", ["p", "q", "r"], 7), ("b", ["s"], 4))
    ]
    found = over_runs([*folds, folds[0]], ["x", "x_val"], resamples=0, seed=0)
    assert (found["x"].n, found["x_val"].n) == (4, 11)


def test_a_measure_of_some_xrays_counts_those_of_each_fold_once():
    """Captions that state their label are 6 and 8 of the first split's, 3 of the second's."""
    runs = [
        Run(name, split, 0, ["p"] * 9, lambda _rows: {"x": 1.0}, {"x": count})
        for name, split, count in (("a", "s", 6), ("b", "s", 8), ("c", "t", 3))
    ]
    assert over_runs(runs, ["x"], resamples=0, seed=0)["x"].n == 7 + 3


def test_without_variance_there_is_no_interval():
    figure = over_runs([run("a", [1.0, 1])], ["x"], resamples=100, seed=0)["x"]
    assert (figure.value, figure.low, figure.high) == (1.0, None, None)


def test_different_splits_are_refused_by_name():
    splits = [("one", "a" * 64), ("one", "a" * 64), ("two", "b" * 64)]
    with pytest.raises(HandoverError) as refused:
        check_splits(splits, folds=False)
    assert str(refused.value).startswith("one and two: their splits differ (aaaaaaaaaaaa and bbbb")
    assert "\n" not in str(refused.value)
    check_splits(splits, folds=True)
    check_splits(splits[:2], folds=False)


def test_methods_need_the_same_folds():
    a, b = run("one", [1.0, 2]), run("two", [1.0, 2], split="b" * 64)
    check_balance({"Ours": [a, b], "Theirs": [b, a]})
    with pytest.raises(HandoverError, match="two: 'Theirs' and 'Ours' are of different folds"):
        check_balance({"Ours": [a, b], "Theirs": [b]})
