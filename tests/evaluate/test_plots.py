"""Plots name the places that they mark."""

import base64

import pytest

from xrj.evaluate.figure import Figure
from xrj.evaluate.plots import COLOURS, Line, plot_column, plot_lines
from xrj.evaluate.results import Column, ResultTable, Row


def drawn(plot):
    return base64.b64decode(plot.source.partition(",")[2]).decode()


@pytest.mark.parametrize("marked", [True, False])
def test_marked_places_are_those_under_the_axis(marked):
    lines = {"a": Line([50, 100, 300], [1, 2, 3]), "b": Line([50, 200], [3, 1])}
    plot = plot_lines("caption", lines, "x", "y", marked=marked)
    svg = drawn(plot)
    assert (svg.count('id="xtick_') == len({50, 100, 200, 300})) == marked


def test_a_column_is_drawn_row_by_row_with_the_papers_figures():
    cells = [Figure(0.9, 9, 0.8, 0.95), Figure(0.7, 9), None, Figure(float("nan"), 0), "word"]
    rows = tuple(Row(f"r{place}", {"x": cell}) for place, cell in enumerate(cells))
    table = ResultTable("t", "T", (Column("x", "X", 1, percent=True),), rows)
    plot = plot_column(table, "x")
    assert drawn(plot).count('id="ytick_') == 2
    assert "ring" not in plot.caption
    paper = ResultTable("t", "T", table.columns, rows, paper={"r1": {"x": 0.6}, "r9": {"y": 0.1}})
    assert "ring" in plot_column(paper, "x").caption
    rings = [drawn(one).count(f"stroke: {COLOURS[1]}") for one in (plot, plot_column(paper, "x"))]
    assert rings[0] == 0 < rings[1]
    assert plot_column(table, "y") is None
    assert plot_column(ResultTable("t", "T", table.columns, rows[2:]), "x") is None
