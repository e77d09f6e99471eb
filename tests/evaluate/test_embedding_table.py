"""Table 2: figures of runs that are known, tests between rivals, and the ends to read them by."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from xrj.evaluate.critics import Estimate
from xrj.evaluate.embedding_table import ARAE, EMBEDDING, embedding_table
from xrj.evaluate.generators import CEILING, FLOOR, KINDS, Judged
from xrj.evaluate.results import Plot, p_value, written

DRAWS = {"resamples": 20, "seed": 0}
STUDENT, WELCH = "p, Student (as the paper)", "p, Welch"
VALUES = {
    ARAE: {"wasserstein": (0.2, 0.3, 0.25), "alignment": (0.5, 0.4, 0.55)},
    EMBEDDING: {
        "wasserstein": (0.2, 1.0, 0.4, 0.9, 0.1),
        "alignment": (1.1, 0.3, 1.6, 0.2, 1.2),
    },
}
"""Estimates of the runs of each rival: other numbers of runs, other variances."""
CONSTANT = {"mismatch": 0.3, "sliced": 0.07, "label_seen": 0.6, "alike": 0.9}


def estimate(value):
    places = {"train": 2.0, "val": 1.0, "test": 0.0}
    gaps = {split: value + add + np.array([-0.1, 0.0, 0.1]) for split, add in places.items()}
    return Estimate(gaps, (1, 2), (value - 1, value))


def judged(name, constant=None, **values):
    found = {kind: estimate(value) for kind, value in values.items()}
    return Judged(name, "a" * 64, 0, ["1", "2", "3"], found, constant or {})


def rivals():
    return {
        name: [
            judged(
                f"{name} {run}",
                {key: value + 0.01 * run for key, value in CONSTANT.items()},
                **dict(zip(KINDS, several, strict=True)),
            )
            for run, several in enumerate(zip(*of_kind.values(), strict=True))
        ]
        for name, of_kind in VALUES.items()
    }


def ends():
    low = judged("first", wasserstein=0.01, alignment=0.02)
    return {FLOOR: low, CEILING: judged("first", alignment=9.0)}


def table_of(methods=None):
    return embedding_table(rivals() if methods is None else methods, ends(), **DRAWS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("row", "equal"), [(STUDENT, True), (WELCH, False)])
def test_the_rivals_are_tested_over_their_runs_as_scipy_does(kind, row, equal):
    sides = [VALUES[name][kind] for name in (ARAE, EMBEDDING)]
    expected, other = (
        p_value(stats.ttest_ind(*sides, equal_var=variances).pvalue)
        for variances in (equal, not equal)
    )
    assert table_of().row(row).cells[kind] == expected != other


def test_folds_that_both_rivals_share_are_tested_in_pairs():
    def of_folds(name, *values):
        several = [judged(name, wasserstein=value, alignment=2 * value) for value in values]
        return [replace(one, split=f"f{fold}") for fold, one in enumerate(several)]

    values = ((0.2, 0.5, 0.9), (0.3, 0.7, 0.95))
    methods = {ARAE: of_folds("a", *values[0]), EMBEDDING: of_folds("e", *values[1])[::-1]}
    expected = p_value(stats.ttest_rel(*values).pvalue)
    table = table_of(methods)
    assert table.row("p, paired over folds").cells == dict.fromkeys(KINDS, expected)
    assert "p, paired over folds" not in {row.name for row in table_of().rows}


def test_settings_in_which_rivals_were_trained_unlike_are_named():
    unlike = ["gan1.locality=60 but embedding_gan1.locality=0"]
    assert unlike[0] in embedding_table(rivals(), ends(), unlike, **DRAWS).note
    assert "not trained alike" not in table_of().note


def test_nothing_is_tested_without_a_rival():
    table = table_of({ARAE: rivals()[ARAE]})
    assert [row.name for row in table.rows] == [ARAE, FLOOR, CEILING]


@pytest.mark.parametrize("name", VALUES)
def test_a_rival_is_the_mean_of_its_runs_with_their_deviation(name):
    cells = table_of().row(name).cells
    runs = len(VALUES[name]["wasserstein"])
    assert cells["runs"] == str(runs)
    for kind, values in VALUES[name].items():
        assert cells[kind].value == pytest.approx(np.mean(values))
        assert cells[f"{kind}_deviation"].value == pytest.approx(np.std(values, ddof=1))
        assert cells[f"{kind}_val"].value == pytest.approx(np.mean(values) + 1)
        assert cells[f"{kind}_train"].value == pytest.approx(np.mean(values) + 2)
    for key, value in CONSTANT.items():
        assert cells[key].value == pytest.approx(value + 0.01 * (runs - 1) / 2)


def test_what_was_found_is_shown_beside_the_estimates():
    table = table_of()
    known = set(table.row(ARAE).cells)
    assert known >= {*KINDS, *CONSTANT}
    assert known == {column.key for column in table.columns}


def test_floor_and_ceiling_are_there_to_read_by_and_never_the_best():
    table = table_of()
    assert {row.name for row in table.rows if row.reference} == {FLOOR, CEILING}
    assert table.row(FLOOR).cells["alignment"].value == pytest.approx(0.02)
    assert table.row(CEILING).cells["alignment"].value == pytest.approx(9)
    assert table.row(CEILING).cells["wasserstein"] is None
    keys = [column.key for column in table.columns]
    best = {
        name: {key for key, cell in zip(keys, cells, strict=True) if cell.best}
        for name, cells in written(table)
    }
    assert best[ARAE] >= set(KINDS)
    assert not best[FLOOR] | best[CEILING]


def test_the_first_run_of_each_row_is_drawn_while_its_critics_learn(monkeypatch):
    drawn = []

    def plot_lines(caption, lines, x_title, y_title):
        drawn.append({name: tuple(line.y) for name, line in lines.items()})
        return Plot(caption, "")

    monkeypatch.setattr("xrj.evaluate.embedding_table.plot_lines", plot_lines)
    plots = table_of().plots
    first = {name: {kind: values[kind][0] for kind in KINDS} for name, values in VALUES.items()}
    first |= {FLOOR: dict(zip(KINDS, (0.01, 0.02), strict=True)), CEILING: {"alignment": 9.0}}
    assert [plot.caption.split()[0].lower() for plot in plots] == list(KINDS)
    assert drawn == [
        {name: (of[kind] - 1, of[kind]) for name, of in first.items() if kind in of}
        for kind in KINDS
    ]
