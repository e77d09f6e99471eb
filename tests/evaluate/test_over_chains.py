"""Tables of single chains as means over several."""

import math
from dataclasses import replace

import pytest
from scipy import stats

from xrj.evaluate.figure import Figure
from xrj.evaluate.over_chains import mean_tables
from xrj.evaluate.results import Column, Provenance, ResultTable, Row

COLUMNS = (Column("share", "Share", percent=True), Column("way", "Way"), Column("said", "Said"))

COMMAND = "python infer.py task=evaluate name=a evaluate.seeds=[b]"


def table(seed, share, way, *further):
    cells = {"share": Figure(share, 10, 0.0, 1.0), "way": way, "said": "word"}
    origin = Provenance((f"split {seed}",), (seed,), "command", "commit", "tokens", {})
    rows = (Row("ours", cells), *(Row(name, {"share": Figure(0.5, 3)}) for name in further))
    return [ResultTable("key", "Title", COLUMNS, rows, "Note.", provenance=origin)]


def test_a_figure_is_the_mean_over_chains_with_students_interval():
    shares, ways = (0.9, 0.8, 1.0), (1.0, 2.0, 6.0)
    made = {
        f"c{seed}": table(seed, share, Figure(way, 5))
        for seed, (share, way) in enumerate(zip(shares, ways, strict=True))
    }
    (found,) = mean_tables(made, COMMAND)
    assert found.provenance.command == COMMAND
    cells = found.row("ours").cells
    low, high = stats.t.interval(0.95, 2, loc=3, scale=stats.sem(ways))
    assert cells["way"].value == pytest.approx(3)
    assert (cells["way"].low, cells["way"].high) == pytest.approx((low, high))
    assert cells["way"].n == 15
    assert cells["share"].value == pytest.approx(0.9)
    assert cells["share"].high == 1  # Student's would be 1.15
    assert cells["said"] == "word"
    assert "Means over 3 chains (c0, c1, c2)" in found.note
    assert found.note.endswith("said of c0. Note.")
    assert not found.row("ours").reference
    assert found.provenance.splits == ("split 0", "split 1", "split 2")
    assert found.provenance.seeds == (0, 1, 2)


def test_what_a_chain_could_not_measure_does_not_count_for_it():
    made = {
        "a": table(0, 0.5, Figure(math.nan, 0)),
        "b": table(1, 0.5, Figure(2.0, 4)),
        "c": table(2, 0.5, None),
    }
    way = mean_tables(made, COMMAND)[0].row("ours").cells["way"]
    assert (way.value, way.n, way.low) == (2.0, 4, None)
    made = {"a": table(0, 0.5, None), "b": table(1, 0.5, None)}
    assert mean_tables(made, COMMAND)[0].row("ours").cells["way"] is None


def test_rows_are_those_of_all_chains():
    made = {"a": table(0, 0.5, None, "rival"), "b": table(1, 0.5, None)}
    assert [row.name for row in mean_tables(made, COMMAND)[0].rows] == ["ours"]
    made["b"] = table(1, 0.5, None, "rival")
    rival = mean_tables(made, COMMAND)[0].row("rival").cells
    assert rival == {"share": Figure(0.5, 6)}  # all agree


def test_xrays_that_chains_share_count_once():
    first, second, third = (table(0, share, None)[0] for share in (0.2, 0.4, 0.9))
    origin = replace(third.provenance, splits=("another",))
    made = {"a": [first], "b": [second], "c": [replace(third, provenance=origin)]}
    assert mean_tables(made, COMMAND)[0].row("ours").cells["share"].n == 20


def test_one_chain_is_left_as_it_is():
    alone = table(0, 0.5, None)
    assert mean_tables({"a": alone}, COMMAND) == alone


def test_a_reference_of_single_chains_is_one_of_the_means():
    made = {}
    for seed in (0, 1):
        (one,) = table(seed, 0.5, None, "floor")
        rows = (one.rows[0], replace(one.rows[1], reference=True))
        made[f"c{seed}"] = [replace(one, rows=rows)]
    (found,) = mean_tables(made, COMMAND)
    assert [row.reference for row in found.rows] == [False, True]
