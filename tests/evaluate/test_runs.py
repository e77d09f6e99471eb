"""Several runs in one figure: means, intervals over patients, and splits that may not mix."""

import numpy as np
import pytest
from scipy import stats

from xrj.errors import HandoverError
from xrj.evaluate.runs import (
    Run,
    check_balance,
    check_splits,
    compare_runs,
    deviation,
    of_each,
    over_runs,
)


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


def test_a_patient_of_several_folds_is_drawn_as_often_in_each():
    """The same X-rays in two folds are as sure as in one, no surer; others are surer."""
    values = np.random.default_rng(2).normal(0, 1, 100)
    spans = {}
    for name, patients in {"same": "p", "others": "q"}.items():
        folds = [
            run("a", values, split="a", patients=[f"p{row}" for row in range(100)]),
            run("b", values, split="b", patients=[f"{patients}{row}" for row in range(100)]),
        ]
        found = over_runs(folds, ["x"], resamples=400, seed=0)["x"]
        spans[name] = found.high - found.low
    alone = over_runs([run("a", values)], ["x"], resamples=400, seed=0)["x"]
    assert spans["same"] == pytest.approx(alone.high - alone.low, rel=0.15)
    assert spans["others"] == pytest.approx(spans["same"] / np.sqrt(2), rel=0.15)


def test_a_resample_without_a_patient_of_some_fold_counts_as_undefined():
    folds = [run("a", [1.0, 2, 3, 4]), run("b", [5.0], split="b", patients=["z"])]
    figure = over_runs(folds, ["x"], resamples=200, seed=0)["x"]
    assert figure.value == pytest.approx((2.5 + 5) / 2)
    assert figure.low < figure.value < figure.high


def test_two_methods_are_compared_over_seeds_or_paired_by_fold():
    values = ([1.0, 2, 4], [1.2, 2.3, 4.1])
    folds, seeds = (
        [
            [
                run(f"{n}", [value], split=f"f{n}" if several else "s")
                for n, value in enumerate(side)
            ]
            for side in values
        ]
        for several in (True, False)
    )
    paired = compare_runs(folds[0], folds[1][::-1], "x")
    assert paired.best.p == pytest.approx(stats.ttest_rel(*values).pvalue)
    assert paired.welch.p == pytest.approx(stats.ttest_ind(*values, equal_var=False).pvalue)
    alone = compare_runs(*seeds, "x")
    assert alone.paired is None
    assert alone.best == alone.welch


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
