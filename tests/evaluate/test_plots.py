"""Plots name the places that they mark."""

import base64
import math

import pytest

from xrj.evaluate import plots
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


@pytest.fixture
def axes(monkeypatch):
    """Give the axes of every figure that is drawn."""
    seen = []

    def keep(figure):
        figure.canvas.draw()
        seen.append(figure.axes[0])
        return "data:,"

    monkeypatch.setattr(plots, "svg_uri", keep)
    return seen


def shown(axis):
    """Return the numbers that an axis names, to which nothing may have to be added."""
    assert "+" not in axis.get_offset_text().get_text()
    return [float(tick.get_text().replace("\N{MINUS SIGN}", "-")) for tick in axis.get_ticklabels()]


@pytest.mark.parametrize("value", [1.0, 0.0, 0.3, 1 - 1e-7, -2.0, 1e6, 1e-9])
@pytest.mark.parametrize("other", [0.0, 1e-9])
def test_lines_of_equal_values_have_a_plain_axis_around_them(axes, value, other):
    lines = {"a": Line([1, 2, 3], [value, value, value * (1 + other)]), "b": Line([1], [value])}
    plot_lines("caption", lines, "x", "y")
    low, high = axes[0].get_ylim()
    assert low < value < high
    assert high - low <= max(0.12 * abs(value), 1.2 if value == 0 else 0)
    assert len(set(shown(axes[0].yaxis))) > 1


def test_bands_are_cut_to_what_is_possible(axes):
    plot_lines("c", {"a": Line([1, 2], [1.0, 0.5], [0.75, 0.75])}, "x", "y", bounds=(0, 1))
    low, high = axes[0].get_ylim()
    assert -0.1 < low < 0
    assert 1 < high < 1.1


@pytest.mark.parametrize("interval", [(), (0.97, 1.0), (-0.5, 1.25)])
@pytest.mark.parametrize("percent", [True, False])
def test_a_column_of_ones_has_an_axis_around_them(axes, interval, percent):
    rows = tuple(Row(name, {"x": Figure(1.0, 9, *interval)}) for name in "abc")
    column = Column("x", "X", 1, percent=percent, least=0, most=1)
    plot_column(ResultTable("t", "T", (column,), rows), "x")
    low, high = (end / (100 if percent else 1) for end in axes[0].get_xlim())
    least = min([*interval, 0.95])
    assert max(least, 0) - 0.1 < low < max(least, 0)
    assert 1 < high < 1.06
    assert len(set(shown(axes[0].xaxis))) > 1
    assert axes[0].get_ylim() == (2.5, -0.5)


def test_values_that_are_not_finite_leave_an_axis(axes):
    plot_lines("c", {"a": Line([1, 2], [math.nan, math.nan])}, "x", "y")
    assert axes[0].get_ylim() == (0, 1)
