"""The noise sweep: points of several seeds, their deviation, and tests of the paper's findings."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from xrj.evaluate.critics import Estimate
from xrj.evaluate.generators import KINDS, Judged
from xrj.evaluate.noise_sweep import sweep_table
from xrj.evaluate.results import p_value

DRAWS = {"resamples": 20, "seed": 0}
WIDTHS = (150, 200, 250)


def point(kind, width, seed, value):
    gaps = value + np.array([-0.5, 0.0, 0.5])
    estimate = Estimate(dict.fromkeys(("train", "val", "test"), gaps), (1,), (value,))
    name = f"noise/{kind}{width}-{seed}"
    found = dict.fromkeys(KINDS, estimate)
    judged = Judged(name, "a" * 64, seed, ["1", "2", "3"], found, {})
    return {"noise_kind": kind, "noise": width}, judged


def values(seeds):
    rng = np.random.default_rng(0)
    return {
        (kind, width): rng.normal(5 + (width > 200), 0.5, seeds)
        for kind in ("normal", "uniform")
        for width in WIDTHS
    }


def points(known):
    return [
        point(kind, width, seed, value)
        for (kind, width), several in known.items()
        for seed, value in enumerate(several)
    ]


def test_a_point_is_the_mean_of_its_seeds_with_their_deviation():
    known = values(4)
    table = sweep_table(points(known), **DRAWS)
    cells = table.row("normal, 150").cells
    assert cells["runs"] == "4"
    assert cells["wasserstein"].value == pytest.approx(known["normal", 150].mean())
    deviation = known["normal", 150].std(ddof=1)
    assert cells["wasserstein_deviation"].value == pytest.approx(deviation)
    assert all("bands" in plot.caption for plot in table.plots)


def test_the_papers_findings_are_tested_over_seeds_as_scipy_does():
    known = values(4)
    shuffled = points(known)
    shuffled[:4] = shuffled[3::-1]  # seeds of one point in another order than those of the rest
    table = sweep_table(shuffled, **DRAWS)
    sides = {
        "p, uniform against normal": lambda kind, _: kind == "uniform",
        "p, beyond 200 against up to 200": lambda _, width: width > 200,
    }
    for name, chosen in sides.items():
        means = [
            np.mean([of for key, of in known.items() if chosen(*key) == side], axis=0)
            for side in (True, False)
        ]
        expected = stats.ttest_ind(*means, equal_var=False).pvalue
        for kind in KINDS:
            assert table.row(name).cells[kind] == p_value(expected)


def without_a_seed(known):
    return points(known)[:-1]


def without_a_point(known):
    del known["uniform", 250]
    return points(known)


def without_known_seeds(known):
    return [(dims, replace(judged, seed=None)) for dims, judged in points(known)]


@pytest.mark.parametrize("made", [without_a_seed, without_a_point, without_known_seeds])
def test_nothing_is_tested_where_points_are_missing_or_seeds_unknown(made):
    table = sweep_table(made(values(2)), **DRAWS)
    assert not any(row.name.startswith("p, ") for row in table.rows)


def test_one_seed_has_neither_deviation_nor_bands_nor_tests():
    table = sweep_table(points(values(1)), **DRAWS)
    assert not any(row.name.startswith("p, ") for row in table.rows)
    assert {row.cells["wasserstein_deviation"] for row in table.rows} == {None}
    assert not any("bands" in plot.caption for plot in table.plots)
