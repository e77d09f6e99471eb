"""Plots name the places that they mark."""

import base64

import pytest

from xrj.evaluate.plots import Line, plot_lines


@pytest.mark.parametrize("marked", [True, False])
def test_marked_places_are_those_under_the_axis(marked):
    lines = {"a": Line([50, 100, 300], [1, 2, 3]), "b": Line([50, 200], [3, 1])}
    plot = plot_lines("caption", lines, "x", "y", marked=marked)
    svg = base64.b64decode(plot.source.partition(",")[2]).decode()
    assert (svg.count('id="xtick_') == len({50, 100, 200, 300})) == marked
